"""The diffusion model: UNet and text encoder on the cached latents."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import torch
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.ops import disable_weight_init
from graft.miniature.network import LATENT_SCALE, UNET
from graft.miniature.world import prompt_of, sample_wording
from torch import nn

from .trainer import Trainer, batch_indices, initialise


class Tokens:
    """Prompts as CLIP token rows (77), and their words numbered densely: only words of the world get an embedding."""

    def __init__(self) -> None:
        from comfy.sd1_clip import SDTokenizer

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
        from comfy.clip_model import CLIPEncoder
        from comfy.ops import disable_weight_init
        from graft.miniature.network import TEXT

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


def diffusion(work: Path, steps: int = 16_000, size: int = 32, rate: float = 8e-4) -> None:
    """UNet and text encoder on the cached latents: eps-prediction, SD's schedule, one prompt in eight dropped."""
    torch.manual_seed(3)
    tokens = Tokens()
    modules = {"unet": build_unet().to(torch.bfloat16), "text": TextEncoder(len(tokens.known)).to(torch.bfloat16)}
    trainer = Trainer(modules, rate=rate, steps=steps, average=0.999, checkpoint=work / "diffusion.pt")
    encoded, drawn = torch.from_numpy(np.load(work / "latents.npy")), pickle.loads((work / "scenes.pkl").read_bytes())
    schedule = alphas_cumprod()
    attention = {"optimized_attention_override": lambda _, *operands, **options: plain_attention(*operands, **options)}
    while trainer.unfinished:
        chosen = batch_indices("diffusion", trainer.step, len(encoded), size)
        rng = np.random.default_rng(trainer.step)
        prompts = ["" if rng.random() < 0.125 else prompt_of(drawn[i], sample_wording(rng)) for i in chosen]
        strata = (torch.from_numpy(rng.permutation(size)) + torch.from_numpy(rng.random(size))) / size
        timesteps = (strata * 1000).long()
        level = schedule[timesteps][:, None, None, None]
        noise = torch.from_numpy(rng.standard_normal((size, *encoded.shape[1:]), dtype=np.float32))
        noisy = level.sqrt() * encoded[chosen].float() * LATENT_SCALE + (1 - level).sqrt() * noise
        context = modules["text"](tokens(prompts))
        predicted = modules["unet"](noisy.bfloat16(), timesteps.float(), context=context, transformer_options=attention)
        trainer.update((predicted.float() - noise).square().mean())
