"""The faces: pictures to train on, their judge, and the pixel-space model."""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DModel
from evaluation.report import Sheet, contact_sheet
from graft.miniature.face_judge import WEIGHTS, FaceJudge
from graft.miniature.faces import ATTRIBUTES, render, sample_face
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from .pictures import as_input
from .trainer import Machine, Trainer, averages_of, batch_indices

FOLDER = WEIGHTS.parent / "face_model"

UNET = {
    "sample_size": 64,
    "block_out_channels": (24, 48, 96, 192),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D", "UpBlock2D", "UpBlock2D"),
    "attention_head_dim": 32,
    "norm_num_groups": 8,
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
}
"""The layout of ddpm-celebahq-256, small: a bottleneck of 8 x 8 cells, its channels the widest, attention beside it."""

SCHEDULER = {
    "beta_schedule": "linear",
    "beta_start": 1e-4,
    "beta_end": 2e-2,
    "num_train_timesteps": 1000,
    "prediction_type": "v_prediction",
    "clip_sample": False,
    "set_alpha_to_one": True,
    "timestep_spacing": "trailing",
}


def faces(work: Path, count: int = 12_000) -> None:
    """Renders `count` faces: pictures (N, 64, 64, 3) uint8 and the numbers of their attributes' values (N, 9)."""
    if (work / "faces_labels.npy").exists():
        return
    shards = max(1, count // 500)
    with ProcessPoolExecutor() as pool:
        parts = list(pool.map(_render_shard, range(shards), [count // shards] * shards))
    np.save(work / "faces_pictures.npy", np.concatenate([part[0] for part in parts]))
    np.save(work / "faces_labels.npy", np.concatenate([part[1] for part in parts]))


def _render_shard(shard: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([22, shard])
    drawn = [sample_face(rng) for _ in range(count)]
    labels = [[values.index(getattr(face, name)) for name, values in ATTRIBUTES.items()] for face in drawn]
    return np.stack([np.round(render(face) * 255).astype(np.uint8) for face in drawn]), np.array(labels)


def load_pictures(work: Path) -> Tensor:
    """(N, 3, 64, 64) uint8."""
    return torch.from_numpy(np.load(work / "faces_pictures.npy")).permute(0, 3, 1, 2)


def judge(work: Path, machine: Machine, steps: int = 3000, size: int = 32, rate: float = 2e-3) -> None:
    """The judge, on pictures jittered in brightness, blur and noise, so that it reads generated pictures too; then its weights
    in miniature/face_judge.safetensors, float16. It says how many of the last 1000 faces it reads rightly."""
    torch.manual_seed(6)
    model = machine.place(FaceJudge())
    trainer = Trainer(model, machine=machine, rate=rate, steps=steps, average=0.995, checkpoint=work / "face_judge.pt")
    pictures, labels = load_pictures(work), torch.from_numpy(np.load(work / "faces_labels.npy"))
    held_out = pictures[-1000:], labels[-1000:]
    while trainer.unfinished:
        chosen = batch_indices("face judge", trainer.step, len(pictures) - 1000, size)
        rng = torch.Generator().manual_seed(trainer.step)
        x = pictures[chosen].contiguous().float() / 255
        gain, lift, grain = (torch.rand(3, size, 1, 1, 1, generator=rng) - 0.5).unbind()
        x = x * (1 + 0.12 * gain) + 0.05 * lift + 0.06 * (grain + 0.5) * torch.randn(x.shape, generator=rng)
        if trainer.step % 3 == 0:
            x = functional.avg_pool2d(functional.pad(x, (0, 1, 0, 1), mode="replicate"), 2, stride=1)
        logits = model(machine.floats(x))
        trainer.update(sum(functional.cross_entropy(logits[name].float().cpu(), labels[chosen, i]) for i, name in enumerate(ATTRIBUTES)))
        if trainer.step % 500 == 0:
            with trainer.averaged():
                trainer.note(**_right(model, machine, *held_out))
    save_file({name: value.half().contiguous() for name, value in trainer.averages.items()}, WEIGHTS)


@torch.no_grad()
def _right(model: FaceJudge, machine: Machine, pictures: Tensor, labels: Tensor) -> dict[str, float]:
    """Percent of the faces whose attribute is read rightly, by attribute."""
    logits = [model(machine.floats(part.contiguous().float() / 255)) for part in pictures.split(100)]
    return {
        name: 100 * float((torch.cat([part[name] for part in logits]).argmax(dim=1).cpu() == labels[:, i]).float().mean())
        for i, name in enumerate(ATTRIBUTES)
    }


def diffusion(work: Path, machine: Machine, steps: int = 9000, size: int = 16, rate: float = 1.5e-3) -> None:
    """The pixel-space model: v-prediction on DDPM's linear schedule.

    In a large model the bottleneck h decides what is drawn; a network this small leaves that to its skips, and injected content
    has no effect. So its coarse skips are closed. The shipped weights saw their first 1600 steps with open skips, 700 of them at a
    rate of 1e-3, and the first 1800 with timesteps spread more evenly.
    """
    torch.manual_seed(7)
    model = _without_coarse_skips(machine.place(UNet2DModel(**UNET)))
    trainer = Trainer(model, machine=machine, rate=rate, steps=steps, average=0.995, checkpoint=work / "face_diffusion.pt")
    pictures, schedule = load_pictures(work), DDIMScheduler(**SCHEDULER).alphas_cumprod
    while trainer.unfinished:
        x = as_input(pictures[batch_indices("faces", trainer.step, len(pictures), size)], machine)
        rng = torch.Generator().manual_seed(trainer.step)
        timesteps = _spread(size, rng)
        noise, level = torch.randn(x.shape, generator=rng).to(x.device), schedule[timesteps][:, None, None, None].to(x.device)
        noisy, velocity = level.sqrt() * x + (1 - level).sqrt() * noise, level.sqrt() * noise - (1 - level).sqrt() * x
        predicted = model(machine.floats(noisy), timesteps.to(machine.device)).sample.float()
        trainer.update((predicted - velocity).square().mean())
        if trainer.step % 500 == 0:
            with trainer.averaged():
                sample_sheet(work, model, trainer.step)


def _without_coarse_skips(model: UNet2DModel) -> UNet2DModel:
    """Closes the skips at 8 x 8 and 16 x 16 cells: the decoder weighs them with zeros, which stay zeros in training."""
    width = UNET["block_out_channels"][-1]
    for block in model.up_blocks[:2]:
        for resnet in block.resnets:
            kept = (torch.arange(resnet.in_channels, device=resnet.norm1.weight.device) < width).float()
            width = resnet.out_channels
            for parameter, open_part in (
                (resnet.norm1.weight, kept),
                (resnet.norm1.bias, kept),
                (resnet.conv_shortcut.weight, kept[None, :, None, None]),
            ):
                parameter.data.mul_(open_part)
                parameter.register_hook(lambda gradient, open_part=open_part: gradient * open_part.to(gradient))
    return model


def _spread(size: int, rng: torch.Generator) -> Tensor:
    """(size,) timesteps, spread over every batch: 15 % below 150, where only edges are left to find, and 20 % from 700 on, where next
    to nothing of a picture is left."""
    share = (torch.randperm(size, generator=rng) + torch.rand(size, generator=rng)) / size
    return torch.from_numpy(np.interp(share.numpy(), (0, 0.15, 0.8, 1), (0, 150, 700, 1000))).long().clamp(max=999)


@torch.no_grad()
def sample_sheet(work: Path, model: UNet2DModel, step: int, count: int = 24) -> None:
    """Writes faces-<step>.png: 20 DDIM steps from noise."""
    scheduler = DDIMScheduler(**SCHEDULER)
    scheduler.set_timesteps(20)
    x = torch.randn((count, 3, 64, 64), generator=torch.Generator().manual_seed(0)).to(model.device)
    for timestep in scheduler.timesteps:
        x = scheduler.step(model(x.to(model.dtype), timestep).sample.float(), timestep, x).prev_sample
    drawn = (x.cpu().permute(0, 2, 3, 1) + 1) / 2
    contact_sheet(Sheet("samples", {str(first): drawn[first : first + 12] for first in range(0, count, 12)})).save(
        work / f"faces-{step}.png"
    )


def export(work: Path) -> None:
    """Writes miniature/face_model as diffusers keeps models, with the averaged weights in float16."""
    model = UNet2DModel(**UNET)
    model.load_state_dict(averages_of(work / "face_diffusion.pt")[0])
    model.half().save_pretrained(FOLDER)
    DDIMScheduler(**SCHEDULER).save_pretrained(FOLDER)
    print(json.dumps({path.name: path.stat().st_size for path in sorted(FOLDER.iterdir())}))
