"""The diffusion model: UNet and text encoder on the cached latents."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from comfy.clip_model import CLIPEncoder
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.ops import disable_weight_init
from comfy.sd1_clip import SDTokenizer
from evaluation.report import Sheet, contact_sheet
from graft.inversion.solvers import sample_ddim
from graft.miniature.network import LATENT_CHANNELS, LATENT_SCALE, TEXT, UNET
from graft.miniature.world import Scene, Wording, prompt_of, sample_scene, sample_wording
from torch import nn

from .autoencoder import build_vae
from .trainer import DEVICE, Trainer, batch_indices, for_training, initialise

HIGHEST_WEIGHT = 20.0


class Tokens:
    """Prompts as CLIP token rows (77), and their words numbered densely: only words of the world get an embedding."""

    def __init__(self) -> None:
        self.tokenizer, self.rows = SDTokenizer(embedding_size=128), {}
        vocabulary = (
            "a an photo drawing of and nothing on at grass sand snow night striped ball cube cone star red orange yellow green blue purple"
        )
        used = {token for token, _ in self.tokenizer.tokenize_with_weights(vocabulary)[0]}
        self.known = torch.tensor(sorted(used))
        self.position = {int(token): index for index, token in enumerate(self.known)}

    def __call__(self, prompts: list[str]) -> torch.Tensor:
        """(B, 77) positions in `known`."""
        for prompt in prompts:
            if prompt not in self.rows:
                row = [self.position[token] for token, _ in self.tokenizer.tokenize_with_weights(prompt)[0]]
                self.rows[prompt] = torch.tensor(row)
        return torch.stack([self.rows[prompt] for prompt in prompts])


class TextEncoder(nn.Module):
    """ComfyUI's CLIP layers with a small embedding table, run without its in-place sums, which autograd refuses."""

    def __init__(self, words: int) -> None:
        super().__init__()
        width = TEXT["hidden_size"]
        sizes = (TEXT["num_hidden_layers"], width, TEXT["num_attention_heads"], TEXT["intermediate_size"], TEXT["hidden_act"])
        self.token_embedding = nn.Embedding(words, width)
        self.position_embedding = nn.Embedding(TEXT["max_position_embeddings"], width)
        self.encoder = initialise(CLIPEncoder(*sizes, torch.float32, "cpu", disable_weight_init))
        self.final_layer_norm = nn.LayerNorm(width)
        nn.init.normal_(self.token_embedding.weight, std=0.5)
        nn.init.normal_(self.position_embedding.weight, std=0.1)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        x = self.token_embedding(rows) + self.position_embedding.weight
        mask = torch.full((rows.shape[1],) * 2, float("-inf"), dtype=x.dtype, device=x.device).triu_(1)
        for layer in self.encoder.layers:
            x = x + layer.self_attn(layer.layer_norm1(x), mask, plain_attention)
            x = x + layer.mlp(layer.layer_norm2(x))
        return self.final_layer_norm(x)


def plain_attention(q, k, v, heads, mask=None, **_):
    """Softmax attention in the operands' own precision: on CPUs its backward pass is several times faster than the
    fused kernel's at these sizes. (B, N, H*D) each."""
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
    scores = q @ (k * k.shape[-1] ** -0.5).transpose(-1, -2)
    return ((scores if mask is None else scores + mask).softmax(-1) @ v).transpose(1, 2).flatten(-2)


def build_unet() -> nn.Module:
    model = initialise(UNetModel(**UNET, dtype=torch.float32, operations=disable_weight_init))
    for name, parameter in model.named_parameters():
        if name.endswith(("out_layers.3.weight", "out_layers.3.bias", "proj_out.weight", "proj_out.bias")) or name.startswith("out.2"):
            nn.init.zeros_(parameter)
    return model


def alphas_cumprod() -> torch.Tensor:
    """Stable Diffusion's schedule, (1000,)."""
    return torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, dim=0).float()


@dataclass(frozen=True)
class Batch:
    """Latents (B, C, h, w), their prompts and timesteps (B,). The last 2 * `pairs` rows are pairs, first partners first."""

    latents: torch.Tensor
    prompts: list[str]
    timesteps: torch.Tensor
    pairs: int


class Examples:
    """Batches by step: scenes, and pairs of scenes whose things look alike."""

    def __init__(self, work: Path) -> None:
        self.encoded, self.drawn = _load(work, "")
        self.pair_encoded, self.pair_drawn = _load(work, "pair_")

    def batch(self, step: int, size: int) -> Batch:
        """A quarter of the rows are scenes; the others are pairs, whose prompts mostly leave the look to be seen."""
        rng, pairs = np.random.default_rng(step), 3 * size // 8
        chosen = batch_indices("diffusion", step, len(self.encoded), size - 2 * pairs)
        prompts = [_prompt(rng, self.drawn[i], sample_wording(rng), 0.125) for i in chosen]
        first = 2 * batch_indices("pairs", step, len(self.pair_encoded) // 2, pairs)
        both = torch.cat([first, first + 1])
        wordings = [replace(sample_wording(rng), **({"colour": False, "pattern": False} if rng.random() < 0.75 else {})) for _ in both]
        prompts += [_prompt(rng, self.pair_drawn[i], wordings[row], 0.125 if row < pairs else 0.5) for row, i in enumerate(both)]
        # A look is open at high noise levels only. A quarter of the partners are at the same level, as two parts of one picture
        # are; the others are seen more clearly.
        noisy = 0.4 + 0.6 * _stratified(rng, pairs)
        clearer = torch.from_numpy(np.where(rng.random(pairs) < 0.25, 1.0, rng.random(pairs)))
        times = torch.cat([_stratified(rng, size - 2 * pairs), noisy, noisy * clearer])
        return Batch(
            torch.cat([self.encoded[chosen], self.pair_encoded[both]]).float() * LATENT_SCALE, prompts, (times * 1000).long(), pairs
        )


def _load(work: Path, prefix: str) -> tuple[torch.Tensor, list]:
    return torch.from_numpy(np.load(work / f"{prefix}latents.npy")), pickle.loads((work / f"{prefix}scenes.pkl").read_bytes())


def _prompt(rng: np.random.Generator, scene: Scene, wording: Wording, dropped: float) -> str:
    return "" if rng.random() < dropped else prompt_of(scene, wording)


def _stratified(rng: np.random.Generator, count: int) -> torch.Tensor:
    """(count,) in [0, 1), one in each of as many equal parts."""
    return (torch.from_numpy(rng.permutation(count)) + torch.from_numpy(rng.random(count))) / count


def diffusion(work: Path, steps: int = 12_000, size: int = 32, rate: float = 8e-4) -> None:
    """UNet and text encoder on the cached latents: eps-prediction, SD's schedule.

    Pairs see each other in self-attention, as two parts of one wide picture would. In a large model an object spans
    far more cells than a convolution reaches, and attention learns to carry its look from cell to cell; here it would not.
    The shipped weights saw 8500 steps of scenes alone, counting errors of eps, and 3050 of this.
    """
    torch.manual_seed(3)
    tokens, examples = Tokens(), Examples(work)
    unet, text = for_training(build_unet()), for_training(TextEncoder(len(tokens.known)))
    trainer = Trainer({"unet": unet, "text": text}, rate=rate, steps=steps, average=0.99, checkpoint=work / "diffusion.pt")
    schedule = alphas_cumprod()

    def predict(noisy: torch.Tensor, timesteps: torch.Tensor, prompts: list[str], pairs: int = 0) -> torch.Tensor:
        context = text(tokens(prompts).to(DEVICE))
        inputs = noisy.to(DEVICE, torch.bfloat16), timesteps.to(DEVICE).float()
        return unet(*inputs, context=context, transformer_options={"optimized_attention_override": partial(_attention, pairs)}).float()

    while trainer.unfinished:
        batch = examples.batch(trainer.step, size)
        level = schedule[batch.timesteps][:, None, None, None]
        noise = torch.randn(batch.latents.shape, generator=torch.Generator().manual_seed(trainer.step))
        noisy = level.sqrt() * batch.latents + (1 - level).sqrt() * noise
        predicted = predict(noisy, batch.timesteps, batch.prompts, batch.pairs)
        # Errors count as errors of v (Salimans and Ho 2022): those of eps alone would leave layout and colour, which the
        # noisiest levels decide, to chance. Bounded, since the last levels hold next to no picture.
        weight = (1 / level).clamp(max=HIGHEST_WEIGHT)
        trainer.update(((predicted - noise.to(DEVICE)).square() * (weight / weight.mean()).to(DEVICE)).mean())
        if trainer.step % 1000 == 0:
            with trainer.averaged():
                sample_sheet(work, predict, trainer.step)


def _attention(pairs: int, _, query, key, value, heads, **_options) -> torch.Tensor:
    """Self-attention in which the last `pairs` rows and the `pairs` rows before them also attend to their partners."""
    if not pairs or key.shape[1] != query.shape[1]:
        return plain_attention(query, key, value, heads)
    alone = len(query) - 2 * pairs
    linked = [torch.cat([part[alone:], part[alone:].roll(pairs, dims=0)], dim=1) for part in (key, value)]
    parts = plain_attention(query[:alone], key[:alone], value[:alone], heads), plain_attention(query[alone:], *linked, heads)
    return torch.cat(parts)


@torch.no_grad()
def sample_sheet(work: Path, predict: Callable, step: int, count: int = 24, guidance: float = 3.0) -> None:
    """Writes diffusion-<step>.png: pictures from prompts of scenes outside the training set, 20 DDIM steps."""
    rng = np.random.default_rng(step)
    prompts = [prompt_of(sample_scene(rng)) for _ in range(count)]
    timesteps = torch.arange(951, 0, -50)
    sigmas = torch.cat([((1 - alphas_cumprod()) / alphas_cumprod()).sqrt()[timesteps], torch.zeros(1)])
    timestep_of = dict(zip(sigmas.tolist(), timesteps.tolist(), strict=False))

    def denoise(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        inputs = (x / (1 + sigma**2).sqrt()).repeat(2, 1, 1, 1)
        times = torch.full((2 * count,), timestep_of[float(sigma)])
        plain, guided = predict(inputs, times, [""] * count + prompts).cpu().chunk(2)
        return x - sigma * (plain + guidance * (guided - plain))

    noise = torch.from_numpy(rng.standard_normal((count, LATENT_CHANNELS, 16, 16), dtype=np.float32))
    latents = sample_ddim(denoise, noise * sigmas[0], sigmas) / LATENT_SCALE
    vae = build_vae()
    vae.load_state_dict(torch.load(work / "vae_normalised.pt", weights_only=True))
    pictures = (vae.decode(latents).permute(0, 2, 3, 1) + 1) / 2
    rows = {str(first): pictures[first : first + 12] for first in range(0, count, 12)}
    contact_sheet(Sheet("samples", rows)).save(work / f"diffusion-{step}.png")
