"""What the trainings share: low-precision weights with float32 masters, checkpoints, logs, batches by seed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Trainer:
    """Low-precision weights trained through float32 masters, with Adam, EMA, warm-up and a linear final decay.

    `checkpoint` holds masters, averages, optimiser state and the step; `log` gets a line of JSON now and then.
    """

    def __init__(self, modules: dict[str, nn.Module], *, rate: float, steps: int, average: float, checkpoint: Path, cool=0.35):
        self.parameters = {f"{key}.{name}": p for key, m in modules.items() for name, p in m.named_parameters() if p.requires_grad}
        self.masters = {name: p.detach().float().clone() for name, p in self.parameters.items()}
        self.averages = {name: p.clone() for name, p in self.masters.items()}
        self.optimiser = torch.optim.AdamW(list(self.masters.values()), lr=rate, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
        self.rate, self.steps, self.average, self.cool, self.checkpoint = rate, steps, average, cool, checkpoint
        self.step, self.losses, self.started = 0, [], time.time()
        if checkpoint.exists():
            state = torch.load(checkpoint, weights_only=True, map_location=DEVICE)
            self.step = state["step"]
            self.optimiser.load_state_dict(state["optimiser"])
            for name in self.masters:
                self.masters[name].copy_(state["masters"][name])
                self.averages[name].copy_(state["averages"][name])
        self._publish(self.masters)

    def _publish(self, values: dict[str, torch.Tensor]) -> None:
        with torch.no_grad():
            torch._foreach_copy_(list(self.parameters.values()), list(values.values()))

    def update(self, loss: torch.Tensor) -> None:
        """One optimiser step on `loss`."""
        loss.backward()
        for name, parameter in self.parameters.items():
            self.masters[name].grad = None if parameter.grad is None else parameter.grad.float()
            parameter.grad = None
        norm = nn.utils.clip_grad_norm_(list(self.masters.values()), 1.0)
        warm = min(1.0, (self.step + 1) / 200)
        left = (self.steps - self.step) / (self.steps * self.cool)
        self.optimiser.param_groups[0]["lr"] = self.rate * warm * min(1.0, max(left, 0.01))
        self.optimiser.step()
        self.step += 1
        weight = 1 - min(self.average, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.averages.values()), list(self.masters.values()), weight)
        self._publish(self.masters)
        self.losses.append(loss.item())
        if self.step % 50 == 0:
            self.note(loss=sum(self.losses) / len(self.losses), norm=norm.item())
            self.losses = []
        if self.step % 100 == 0 or self.step >= self.steps:
            self.save()

    def note(self, **values: float) -> None:
        line = {"step": self.step, "seconds": round(time.time() - self.started, 1)} | {k: float(f"{v:.5g}") for k, v in values.items()}
        print(json.dumps(line), flush=True)
        with self.checkpoint.with_suffix(".log").open("a") as log:
            log.write(json.dumps(line) + "\n")

    def save(self) -> None:
        state = {"step": self.step, "masters": self.masters, "averages": self.averages, "optimiser": self.optimiser.state_dict()}
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.checkpoint)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the modules have the averaged weights."""
        self._publish(self.averages)
        try:
            yield
        finally:
            self._publish(self.masters)

    @property
    def unfinished(self) -> bool:
        return self.step < self.steps


def batch_indices(stage: str, step: int, count: int, size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(hash_of(stage) * 1_000_003 + step)
    return torch.randint(count, (size,), generator=generator)


def hash_of(text: str) -> int:
    return int.from_bytes(text.encode()[:4], "little") % 9973


def for_training(module: nn.Module) -> nn.Module:
    """On the training device, in the precision of the forward and backward passes."""
    return module.to(DEVICE, torch.bfloat16)


def initialise(module: nn.Module) -> nn.Module:
    """ComfyUI's layers leave their weights uninitialised; this gives them torch's initialisation."""
    for layer in module.modules():
        for kind in (nn.Conv2d, nn.Linear, nn.GroupNorm, nn.LayerNorm):
            if isinstance(layer, kind):
                kind.reset_parameters(layer)
    return module
