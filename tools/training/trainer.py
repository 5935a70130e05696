"""What the trainings share: low-precision weights with float32 masters, checkpoints, logs, batches by seed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

SAVED_EVERY = 100
"""Steps between checkpoints; new scenes are looked for as often, so that a training that was stopped goes on as it would have."""
WARM_UP = 200
SMALLEST_MATRIX = 32
"""The shorter side of weights that are trained as a matrix."""


@dataclass(frozen=True)
class Machine:
    """Where a training runs, and the precision of its forward and backward passes."""

    device: torch.device
    dtype: torch.dtype

    @classmethod
    def of(cls, device: str | None = None) -> Machine:
        """CUDA where there is one and nothing else is asked for. bfloat16 where the machine multiplies it at least as fast as float32: CPUs
        without instructions of their own for it take some forty times longer."""
        place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        if place.type != "cpu":
            return cls(place, torch.bfloat16)
        return cls(place, min((torch.bfloat16, torch.float32), key=_seconds_of_a_product))

    def place(self, module: nn.Module) -> nn.Module:
        return module.to(self.device, self.dtype)

    def floats(self, values: Tensor) -> Tensor:
        return values.to(self.device, self.dtype)


def _seconds_of_a_product(dtype: torch.dtype) -> float:
    factor = torch.ones(256, 256, dtype=dtype)
    spent = []
    for _ in range(10):
        started = time.perf_counter()
        factor @ factor
        spent.append(time.perf_counter() - started)
    return min(spent)


class Trainer:
    """Trains a module through float32 masters, with averaged weights, warm-up and a linear final decay of the rate. Matrices are trained with
    Muon where bfloat16 is fast, in which it makes them orthogonal; all else with Adam.

    `checkpoint` holds masters, averages, optimiser state and the step, and is replaced in one go; a training that finds it goes on bit
    for bit. Without one, `start` (a file of `save_part`) gives the weights and the step, of the parameters whose names begin with `within`;
    the optimiser warms up anew. `<checkpoint>.log` gets a line of JSON now and then.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        machine: Machine,
        rate: float,
        steps: int,
        average: float,
        checkpoint: Path,
        start: Path | None = None,
        within: str = "",
    ):
        self.parameters = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
        self.masters = {name: parameter.detach().float().clone() for name, parameter in self.parameters.items()}
        self.averages = {name: master.clone() for name, master in self.masters.items()}
        # Muon takes matrices: a convolution's weights are one of (out, in x height x width).
        chosen = _matrices(module) & self.masters.keys() if machine.dtype == torch.bfloat16 else set()
        self.trained = {name: master.flatten(1) if name in chosen else master for name, master in self.masters.items()}
        matrices, others = ([values for name, values in self.trained.items() if (name in chosen) is wanted] for wanted in (True, False))
        self.optimisers = [torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.99), weight_decay=0.0, fused=True)]
        if matrices:
            self.optimisers.append(torch.optim.Muon(matrices, lr=rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"))
        self.rate, self.steps, self.average, self.cool, self.checkpoint = rate, steps, average, 0.35, checkpoint
        self.step, self.warmed_from, self.losses, self.started = 0, 0, [], time.time()
        if checkpoint.exists():
            self._resume(torch.load(checkpoint, weights_only=True, map_location=machine.device))
        elif start and start.exists():
            self._start(start, within)
        self._publish(self.masters)

    def _resume(self, state: Mapping) -> None:
        self.step, self.warmed_from = state["step"], state["warmed_from"]
        if len(state["optimisers"]) == len(self.optimisers):
            for optimiser, known in zip(self.optimisers, state["optimisers"], strict=True):
                optimiser.load_state_dict(known)
        else:  # from a machine of another kind
            self.warmed_from = self.step
        for name in self.masters:
            self.masters[name].copy_(state["masters"][name])
            self.averages[name].copy_(state["averages"][name])

    def _start(self, part: Path, within: str) -> None:
        """Parameters that the file lacks, such as heads that were not exported, start as they are."""
        exported, self.step = load_part(part)
        tensors = {within + name: tensor for name, tensor in exported.items()}
        self.warmed_from = self.step
        for name in self.masters.keys() & tensors.keys():
            self.masters[name].copy_(tensors[name])
            self.averages[name].copy_(tensors[name])

    def _publish(self, values: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            torch._foreach_copy_(list(self.parameters.values()), list(values.values()))

    def update(self, loss: Tensor) -> None:
        """One optimiser step on `loss`."""
        loss.backward()
        for name, parameter in self.parameters.items():
            trained = self.trained[name]
            trained.grad = None if parameter.grad is None else parameter.grad.float().view(trained.shape)
            parameter.grad = None
        norm = nn.utils.clip_grad_norm_(list(self.trained.values()), 1.0)
        warm = min(1.0, (self.step - self.warmed_from + 1) / WARM_UP)
        for optimiser in self.optimisers:
            optimiser.param_groups[0]["lr"] = self.rate * warm * min(1.0, max(self.left, 0.01))
            optimiser.step()
        self.step += 1
        weight = 1 - min(self.average, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.averages.values()), list(self.masters.values()), weight)
        self._publish(self.masters)
        self.losses.append(loss.item())
        if self.step % 50 == 0 or not self.unfinished:
            self.note(loss=sum(self.losses) / len(self.losses), norm=norm.item())
            self.losses = []
        if self.step % SAVED_EVERY == 0 or not self.unfinished:
            self.save()

    def note(self, **values: float) -> None:
        line = {"step": self.step, "seconds": round(time.time() - self.started, 1)} | {k: float(f"{v:.5g}") for k, v in values.items()}
        print(json.dumps(line), flush=True)
        with self.checkpoint.with_suffix(".log").open("a") as log:
            log.write(json.dumps(line) + "\n")

    def save(self) -> None:
        state = {"step": self.step, "warmed_from": self.warmed_from, "masters": self.masters, "averages": self.averages}
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state | {"optimisers": [optimiser.state_dict() for optimiser in self.optimisers]}, partial)
        partial.replace(self.checkpoint)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the module has the averaged weights."""
        self._publish(self.averages)
        try:
            yield
        finally:
            self._publish(self.masters)

    @property
    def unfinished(self) -> bool:
        return self.step < self.steps

    @property
    def left(self) -> float:
        """Over 1 at the full rate, then the part of it that is left."""
        return (self.steps - self.step) / (self.steps * self.cool)


def _matrices(module: nn.Module) -> set[str]:
    """Weights of linear layers and convolutions between others: not where a picture's three channels go in or out, nor embeddings."""
    layers = {f"{name}.weight": layer for name, layer in module.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)}
    return {name for name, layer in layers.items() if min(layer.weight.flatten(1).shape) >= SMALLEST_MATRIX}


def averages_of(checkpoint: Path) -> tuple[dict[str, Tensor], int]:
    """The averaged weights of a training, float32, and its step."""
    if not checkpoint.exists():
        raise SystemExit(f"{checkpoint} is not there: nothing was trained here that could be exported")
    state = torch.load(checkpoint, weights_only=True, map_location="cpu")
    return state["averages"], state["step"]


def save_part(path: Path, tensors: Mapping[str, Tensor], step: int) -> None:
    """Weights in half precision: what is shipped, and what a training can start from elsewhere."""
    halves = {name: value.half() if value.is_floating_point() else value.to(torch.int32) for name, value in tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file({name: value.contiguous() for name, value in halves.items()}, partial, metadata={"step": str(step)})
    partial.replace(path)
    print(f"{path.name}: step {step}, {path.stat().st_size / 2**20:.1f} MiB", flush=True)


def load_part(path: Path) -> tuple[dict[str, Tensor], int]:
    """What `save_part` wrote, in float32, and the step."""
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dictionary)
        step = int((file.metadata() or {}).get("step", 0))
    return {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}, step


def batch_indices(stage: str, step: int, count: int, size: int) -> Tensor:
    generator = torch.Generator().manual_seed(hash_of(stage) * 1_000_003 + step)
    return torch.randint(count, (size,), generator=generator)


def hash_of(text: str) -> int:
    return int.from_bytes(text.encode()[:4], "little") % 9973


def initialise(module: nn.Module) -> nn.Module:
    """ComfyUI's layers leave their weights uninitialised; this gives them torch's initialisation."""
    for layer in module.modules():
        for kind in (nn.Conv2d, nn.Linear, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm):
            if isinstance(layer, kind):
                kind.reset_parameters(layer)
    return module


def silence(module: nn.Module, *endings: str) -> None:
    """Zeros in the parameters with these endings: branches that say nothing when the training begins."""
    for name, parameter in module.named_parameters():
        if name.removesuffix(".weight").removesuffix(".bias").endswith(endings):
            nn.init.zeros_(parameter)
