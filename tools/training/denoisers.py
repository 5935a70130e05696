"""The UNet and the flow transformer, trained alike on the VAE's latents and the text encoder's states."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import comfy.model_management
import numpy as np
import torch
from comfy.ldm.flux.model import Flux
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.ops import disable_weight_init
from evaluation.report import Sheet, contact_sheet
from graft.miniature.network import FLOW_SHIFT, LATENT_SCALE, LATENT_SHIFT, SHAPES, UNET_SCALE, Shapes
from graft.miniature.scenes.prompts import prompt_of
from graft.miniature.scenes.sampling import EVALUATION_SEEDS, sample_scene
from torch import Tensor, nn

from .autoencoder import load_vae
from .batches import Material, close_ups, whole_pictures
from .layouts import THING_WEIGHT, Reading
from .pictures import Shards
from .text_encoder import Encoded, encode_prompts, load_text_encoder, plain_attention
from .trainer import SAVED_EVERY, Machine, Trainer, averages_of, initialise, save_part, silence

LEVELS = 0.6, 1.3
"""Mean and deviation of the logarithm of the noise's strength over the picture's."""
THING_SEEN = 4.0
"""The noise's strength over the picture's at which half of what errors count more for where things are is left."""
READING, READING_WEIGHT = "reading", 0.1
"""The name in a network of what reads where things are, and what it counts beside the error."""
CLOSE_EVERY, CLOSE_EVERY_LATER = 2, 4
"""Every so many steps close-ups are seen: until the rate falls, and then. They teach what things look like, whole pictures where and
how many there are."""
SAMPLES = 24


@dataclass(frozen=True)
class Noised:
    """What a network is shown (B, C, h, w), the level as it is told it (B,), what it shall say, and the noise's strength over the
    picture's (B,)."""

    shown: Tensor
    level: Tensor
    target: Tensor
    strength: Tensor

    def weights(self, things: Tensor) -> Tensor:
        """(B, h, w), of mean 1, how much each cell's error counts. `things` (B, h, w) is the part of each that things cover."""
        more = (THING_WEIGHT - 1) / (1 + (self.strength / THING_SEEN).square())
        weights = 1 + more[:, None, None] * things
        return weights / weights.mean()


class Denoiser(Protocol):
    """What the two kinds of model do not share. Latents have unit deviation; `share` (B,) in [0, 1) is where in the schedule rows are,
    from clear to noise."""

    name: str
    network: nn.Module
    close_ups: int
    """How many take it about as long as a whole picture."""

    def noised(self, latents: Tensor, share: Tensor, noise: Tensor) -> Noised: ...
    def half_way(self) -> tuple[nn.Module, int]:
        """A layer after which the network should know what is where, and the channels of its output."""

    def cells(self, state: Tensor, text: int) -> Tensor:
        """(B, C, h, w): that layer's output on the picture's grid; `text` tokens are none of the picture's."""

    def predict(self, shown: Tensor, level: Tensor, prompts: Encoded, attention: Callable) -> Tensor: ...
    def sample(self, predict: Callable[[Tensor, Tensor], Tensor], noise: Tensor, steps: int) -> Tensor: ...


class UNet:
    """SD2.x's kind: the network predicts v = sqrt(kept) noise - sqrt(1 - kept) latent (Salimans and Ho 2022), at one of 1000 timesteps of
    Stable Diffusion's schedule."""

    name = "unet"
    close_ups = 3

    def __init__(self, shapes: Shapes = SHAPES) -> None:
        self.network = initialise(UNetModel(**shapes.unet, dtype=torch.float32, operations=disable_weight_init))
        silence(self.network, "out_layers.3", "proj_out", "out.2")
        self.alphas = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, dim=0).float()

    def noised(self, latents: Tensor, share: Tensor, noise: Tensor) -> Noised:
        # Log-normal levels (Karras et al. 2022, table 1), around those at which things take shape. Even timesteps would spend
        # most rows where little but the scene's layout is to be seen.
        sigmas = UNET_SCALE * torch.exp(LEVELS[0] + LEVELS[1] * torch.special.ndtri(share.clamp(1e-4, 1 - 1e-4)))
        timesteps = torch.searchsorted(((1 - self.alphas) / self.alphas).sqrt(), sigmas).clamp(max=999)
        kept = self.alphas[timesteps]
        clear, noisy = kept.sqrt()[:, None, None, None], (1 - kept).sqrt()[:, None, None, None]
        scaled, strength = latents * UNET_SCALE, ((1 - kept) / kept).sqrt() / UNET_SCALE
        return Noised(clear * scaled + noisy * noise, timesteps.float(), clear * noise - noisy * scaled, strength)

    def half_way(self) -> tuple[nn.Module, int]:
        return self.network.output_blocks[8][-1], self.network.model_channels  # from half the grid to all of it

    def cells(self, state: Tensor, text: int) -> Tensor:
        return state

    def predict(self, shown: Tensor, level: Tensor, prompts: Encoded, attention: Callable) -> Tensor:
        options = {"optimized_attention_override": partial(attention, 0)}
        return self.network(shown, level, context=prompts.states, transformer_options=options)

    def sample(self, predict: Callable[[Tensor, Tensor], Tensor], noise: Tensor, steps: int) -> Tensor:
        """DDIM (Song et al. 2021, equation 12 with no noise added)."""
        timesteps = torch.linspace(999, 0, steps + 1).long()
        x = noise
        for now, after in pairwise(timesteps):
            kept, kept_after = self.alphas[now], self.alphas[after]
            velocity = predict(x, now.float().expand(len(x)))
            clear, eps = kept.sqrt() * x - (1 - kept).sqrt() * velocity, kept.sqrt() * velocity + (1 - kept).sqrt() * x
            x = kept_after.sqrt() * clear + (1 - kept_after).sqrt() * eps
        return clear / UNET_SCALE


class Transformer:
    """Flux's kind: the network predicts the velocity noise - latent, at a sigma in (0, 1)."""

    name = "transformer"
    close_ups = 2

    def __init__(self, shapes: Shapes = SHAPES) -> None:
        self.network = initialise(Flux(**shapes.transformer, dtype=torch.float32, operations=disable_weight_init))
        silence(self.network, "_mod.lin", "modulation.lin", "adaLN_modulation.1", "final_layer.linear")
        for norm in self.network.modules():
            # The blocks add to their input in place, which autograd refuses where a norm remembers it.
            if isinstance(norm, nn.LayerNorm):
                norm.register_forward_pre_hook(lambda _, inputs: (inputs[0].clone(),))

    def noised(self, latents: Tensor, share: Tensor, noise: Tensor) -> Noised:
        # Logit-normal levels (Esser et al. 2024, section 3.1), shifted as the schedule that the model is sampled with.
        sigma = torch.sigmoid(FLOW_SHIFT + torch.special.ndtri(share.clamp(1e-4, 1 - 1e-4)))
        rows = sigma[:, None, None, None]
        return Noised((1 - rows) * latents + rows * noise, sigma, noise - latents, sigma / (1 - sigma))

    def half_way(self) -> tuple[nn.Module, int]:
        blocks = self.network.single_blocks
        return blocks[len(blocks) // 3], self.network.hidden_size

    def cells(self, state: Tensor, text: int) -> Tensor:
        side = round((state.shape[1] - text) ** 0.5)
        return state[:, text:].unflatten(1, (side, side)).permute(0, 3, 1, 2)

    def predict(self, shown: Tensor, level: Tensor, prompts: Encoded, attention: Callable) -> Tensor:
        options = {"optimized_attention_override": partial(attention, prompts.states.shape[1])}
        with _rotary_positions_with_a_gradient():
            return self.network(shown, level, prompts.states, prompts.pooled, transformer_options=options)

    def sample(self, predict: Callable[[Tensor, Tensor], Tensor], noise: Tensor, steps: int) -> Tensor:
        """Euler's method down the shifted schedule."""
        times, x = torch.linspace(1, 0, steps + 1), noise
        shift = float(np.exp(FLOW_SHIFT))
        sigmas = shift * times / (1 + (shift - 1) * times)
        for sigma, after in pairwise(sigmas):
            x = x + (after - sigma) * predict(x, sigma.expand(len(x)))
        return x


@contextmanager
def _rotary_positions_with_a_gradient() -> Iterator[None]:
    before, comfy.model_management.in_training = comfy.model_management.in_training, True
    try:
        yield
    finally:
        comfy.model_management.in_training = before


def train(
    work: Path,
    machine: Machine,
    kind: Callable[[Shapes], Denoiser],
    steps: int = 20_000,
    size: int = 32,
    rate: float = 8e-4,
    shapes: Shapes = SHAPES,
    looked_every: int = 1000,
) -> None:
    """Pairs see each other in self-attention, as two parts of one wide picture would. In a large model an object spans far more cells
    than a convolution reaches, and attention learns to carry its look from cell to cell; here it would not."""
    torch.manual_seed(3)
    tokens, text = load_text_encoder(work, machine, shapes)
    vae, key = load_vae(work, machine, shapes)
    denoiser = kind(shapes)
    layer, channels = denoiser.half_way()
    reading, states = Reading(channels), []
    denoiser.network.add_module(READING, reading)
    machine.place(denoiser.network)
    trainer = Trainer(
        denoiser.network,
        machine=machine,
        rate=rate,
        steps=steps,
        average=0.998,
        checkpoint=work / f"{denoiser.name}.pt",
        start=work / "model" / f"{denoiser.name}.safetensors",
    )

    def predict(shown: Tensor, level: Tensor, prompts: list[str], pairs: int = 0) -> Tensor:
        encoded = encode_prompts(tokens, text, prompts, machine)
        return denoiser.predict(machine.floats(shown), level.to(machine.device), encoded, partial(linked_attention, pairs)).float()

    material = None
    while trainer.unfinished:
        if material is None or trainer.step % SAVED_EVERY == 0:
            material = Material(Shards.of(work), key)
        if trainer.step % (CLOSE_EVERY if trainer.left > 1 else CLOSE_EVERY_LATER) == 1:
            batch = close_ups(material, trainer.step, size * denoiser.close_ups)
        else:
            batch = whole_pictures(material, trainer.step, size)
        noise = torch.randn(batch.latents.shape, generator=torch.Generator().manual_seed(trainer.step))
        noised = denoiser.noised(batch.latents, batch.share, noise)
        hook = layer.register_forward_hook(lambda _, __, state: states.append(state))
        predicted = predict(noised.shown, noised.level, batch.prompts, batch.pairs)
        hook.remove()
        errors = (predicted - noised.target.to(machine.device)).square().mean(dim=1)
        loss = (errors * noised.weights(batch.layout.covered).to(machine.device)).mean()
        state = denoiser.cells(states.pop(), shapes.text["max_position_embeddings"])
        trainer.update(loss + READING_WEIGHT * reading.loss(state, batch.layout))
        if trainer.step % looked_every == 0 or not trainer.unfinished:
            with trainer.averaged():
                look(work, denoiser, predict, vae, machine, trainer.step, material.grid)


def linked_attention(pairs: int, text: int, _, query, key, value, heads, skip_reshape=False, **_options) -> Tensor:
    """Attention in which the last `pairs` rows and the `pairs` rows before them also attend to the pictures of their partners. The first
    `text` tokens are no picture's, nor are the keys of cross-attention."""
    if skip_reshape:
        query, key, value = (part.transpose(1, 2).flatten(2) for part in (query, key, value))
    if not pairs or key.shape[1] != query.shape[1]:
        return plain_attention(query, key, value, heads)
    alone = len(query) - 2 * pairs
    linked = [torch.cat([part[alone:], part[alone:, text:].roll(pairs, dims=0)], dim=1) for part in (key, value)]
    parts = plain_attention(query[:alone], key[:alone], value[:alone], heads), plain_attention(query[alone:], *linked, heads)
    return torch.cat(parts)


@torch.no_grad()
def look(work: Path, denoiser: Denoiser, predict: Callable, vae: nn.Module, machine: Machine, step: int, size: tuple[int, ...]) -> None:
    """Writes <name>-<step>.png: pictures from prompts of scenes outside the training set, 20 steps, guidance 3."""
    count, guidance = SAMPLES, 3.0
    rng = np.random.default_rng(EVALUATION_SEEDS.start)
    prompts = [prompt_of(sample_scene(rng)) for _ in range(count)]

    def guided(x: Tensor, level: Tensor) -> Tensor:
        plain, prompted = predict(x.repeat(2, 1, 1, 1), level.repeat(2), [""] * count + prompts).cpu().chunk(2)
        return plain + guidance * (prompted - plain)

    noise = torch.from_numpy(rng.standard_normal((count, *size), dtype=np.float32))
    latents = denoiser.sample(guided, noise, 20) / LATENT_SCALE + LATENT_SHIFT
    pictures = ((vae.decode(machine.floats(latents)).float().cpu().permute(0, 2, 3, 1) + 1) / 2).clamp(0, 1)
    rows = {str(first): pictures[first : first + 8] for first in range(0, count, 8)}
    contact_sheet(Sheet("samples", rows)).save(work / f"{denoiser.name}-{step}.png")


def export(work: Path, name: str) -> None:
    averages, step = averages_of(work / f"{name}.pt")
    own = {key: value for key, value in averages.items() if not key.startswith(READING)}
    save_part(work / "model" / f"{name}.safetensors", own, step)
