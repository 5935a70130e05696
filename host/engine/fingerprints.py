"""Short names for models and conditionings, equal when what they compute is equal."""

from __future__ import annotations

import hashlib

import comfy.model_sampling
import torch
from torch import Tensor

from ...inversion.trajectory import Trajectory
from ..errors import GraftError

SAMPLED_WEIGHTS = 24

SHOWN_BESIDE = ("guidance", "attention_mask", "t5xxl_ids", "t5xxl_weights", "reference_latents", "reference_latents_method")
"""What a network is shown of a prompt beside its text states, in families that have any of it."""


def model_fingerprint(model) -> str:
    """Of a ModelPatcher: what its network predicts, its shapes, a sample of its weights, and every LoRA or weight patch with
    its strength."""
    digest = hashlib.sha256()
    digest.update(_prediction(model.get_model_object("model_sampling")).encode())
    state = model.model_state_dict("diffusion_model.")
    names = sorted(state)
    for name in names:
        digest.update(f"{name}{tuple(state[name].shape)}".encode())
    for name in names[:: max(1, len(names) // SAMPLED_WEIGHTS)]:
        # A loaded model has its LoRAs merged in; the weights as they came from the file are in the backup then.
        backup = model.backup.get(name)
        _add_sample(digest, state[name] if backup is None else backup.weight)
    for name in sorted(model.patches):
        for strength, patch, strength_model, *_ in model.patches[name]:
            digest.update(f"{name} {strength} {strength_model}".encode())
            for tensor in _tensors(patch):
                _add_sample(digest, tensor)
    return digest.hexdigest()[:16]


def _prediction(sampling) -> str:
    """What the network predicts. Nodes that shift the schedule of a flow put another object in place, which asks the network the
    same as long as the timestep of a noise level is the same."""
    if isinstance(sampling, comfy.model_sampling.CONST):
        return f"flow {float(sampling.timestep(torch.tensor(0.5))):.6g} {getattr(sampling, 'noise_scale', 1.0):.6g}"
    return " ".join(kind.__name__ for kind in type(sampling).__mro__)


def require_made_with(fingerprint: str, trajectory: Trajectory, name: str) -> None:
    """Raises `GraftError` if the trajectory that came through the input `name` was made with another model than that of the
    fingerprint, or other LoRAs."""
    if trajectory.model != fingerprint:
        raise GraftError(
            f"{name}: it was made with another model or other LoRAs (fingerprint {trajectory.model}, this model's is {fingerprint}); "
            "put LoRAs before Invert Image and the sampler alike, or invert again with this model"
        )


def conditioning_fingerprint(conditioning: list) -> str:
    """Of a CONDITIONING: its text states and pooled outputs, and whatever else of it its family's network is shown."""
    digest = hashlib.sha256()
    for states, options in conditioning:
        for tensor in (states, options.get("pooled_output")):
            if tensor is not None:
                _add_whole(digest, tensor)
        for name in SHOWN_BESIDE:
            value = options.get(name)
            if value is not None:
                digest.update(name.encode())
                for part in value if isinstance(value, list | tuple) else [value]:
                    _add_whole(digest, part)
    return digest.hexdigest()[:16]


def _add_whole(digest, value: Tensor | float | str) -> None:
    if isinstance(value, Tensor):
        digest.update(f"{tuple(value.shape)}".encode())
        digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())
    else:
        digest.update(f"{value}".encode())


def _add_sample(digest, tensor: Tensor) -> None:
    flat = tensor.detach().flatten()
    chosen = flat[:: max(1, flat.numel() // 64)][:64]
    digest.update(chosen.to("cpu", torch.float32).contiguous().numpy().tobytes())


def _tensors(patch) -> list[Tensor]:
    """The tensors inside a weight patch, which is a tuple or an adapter object holding one."""
    if isinstance(patch, Tensor):
        return [patch]
    if isinstance(patch, list | tuple):
        return [tensor for part in patch for tensor in _tensors(part)]
    return _tensors(getattr(patch, "weights", ()))
