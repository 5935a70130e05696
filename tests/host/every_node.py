"""Every live node with inputs as a graph would bring them, on tiny models: what a node gives, and what a run with it makes."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator

import comfy.samplers
import torch
from comfy_api.latest import io
from graft.composition.frames import Frame
from graft.host.engine.plan import PLAN_KEY
from graft.host.engine.trajectory_files import save
from graft.host.samplers.perceptual import PerceptualLoss
from graft.host.samplers.sampling import GraftSampler
from graft.inversion.trajectory import Trajectory
from graft.nodes import GraftExtension
from tiny_models import GivenNoise, make_flow_model, make_guider, noise, random_trajectory, sample_from, schedule, worded
from torch import Tensor

NODES = {node.define_schema().node_id: node for node in asyncio.run(GraftExtension().get_node_list())}
PROMPT, NEGATIVE = worded(1, "a cat on a mat"), worded(2, "a dog on a mat")
STEPS = 2


class BlockVAE:
    """8 x 8 blocks to their mean, as three channels and a fourth that is empty."""

    latent_channels, downscale_ratio = 4, 8

    def encode(self, pixels: Tensor) -> Tensor:
        means = torch.nn.functional.avg_pool2d(pixels.movedim(-1, 1), 8)
        return torch.cat([means, means.new_zeros(len(means), 1, *means.shape[2:])], dim=1)

    def decode(self, latent: Tensor) -> Tensor:
        return torch.nn.functional.interpolate(latent[:, :3], scale_factor=8).movedim(1, -1)


def picture(size: int = 128) -> Tensor:
    return torch.rand(1, size, size, 3, generator=torch.Generator().manual_seed(3))


def box() -> Tensor:
    mask = torch.zeros(1, 128, 128)
    mask[:, 32:96, 32:96] = 1
    return mask


def good(input: io.Input, model, clip) -> object:
    """What a graph would bring through an input."""
    by_name = {
        "object_mask": lambda: box() * torch.nn.functional.pad(torch.ones(1, 32, 32), [48] * 4),
        "source_words": lambda: "cat",
        "target_words": lambda: "dog",
        "words": lambda: "dog",
        "source_conditioning": lambda: PROMPT,
        "conditioning": lambda: PROMPT,
        "file": lambda: save(random_trajectory(model, PROMPT, steps=STEPS), "cat"),
        "folder": lambda: "faces",
        "iterations": lambda: 2,
        "draws": lambda: 2,
        "lowest_timestep": lambda: 100,
        "text": lambda: "a dog",
        "filename_prefix": lambda: "cat",
    }
    by_type = {
        "MODEL": lambda: model,
        "CLIP": lambda: clip,
        "VAE": BlockVAE,
        "IMAGE": picture,
        "MASK": box,
        "CONDITIONING": lambda: NEGATIVE if input.id in ("positive", "negative") else PROMPT,
        "GRAFT_TRAJECTORY": lambda: random_trajectory(model, PROMPT, steps=STEPS),
        "GRAFT_PERCEPTUAL_LOSS": lambda: PerceptualLoss("latent", None),
        "GRAFT_FRAME": lambda: Frame.of((128, 128), 128, 64),
        "LATENT": lambda: {"samples": noise(5)},
        "SIGMAS": lambda: schedule(model, STEPS),
        "NOISE": lambda: GivenNoise(noise(5)),
        "GUIDER": lambda: make_guider(model, NEGATIVE, PROMPT),
        "SAMPLER": lambda: comfy.samplers.sampler_object("euler"),
    }
    if input.id in by_name:
        return by_name[input.id]()
    return by_type[input.get_io_type()]() if input.get_io_type() in by_type else input.default


def good_inputs(inputs, model, clip, options: dict) -> dict:
    """For all inputs; `options` are the chosen ones of choices that bring inputs of their own."""
    given = {}
    for input in inputs:
        if isinstance(input, io.DynamicCombo.Input):
            option = next(option for option in input.options if option.key == options.get(input.id, input.options[0].key))
            given[input.id] = {input.id: option.key, **good_inputs(option.inputs, model, clip, options)}
        else:
            given[input.id] = good(input, model, clip)
    return given


def model_for(node_id: str, sd1):
    return make_flow_model() if node_id == "GraftFlowEdit" else sd1


def places() -> list[tuple[str, str, dict, io.Input]]:
    """Every node with every input, and the options that bring it."""

    def walk(inputs, options):
        for input in inputs:
            yield input, options
            if isinstance(input, io.DynamicCombo.Input):
                for option in input.options:
                    yield from walk(option.inputs, {**options, input.id: option.key})

    found = {}
    for node_id, node in NODES.items():
        for input, options in walk(node.define_schema().inputs, {}):
            found.setdefault((node_id, input.id), (node_id, input.id, options, input))
    return list(found.values())


PLACES = places()


def changed_at(given: dict, name: str, change) -> dict:
    """The inputs with one changed, wherever a choice has put it."""
    if name in given:
        return {**given, name: change(given[name])}
    return {key: changed_at(value, name, change) if isinstance(value, dict) and key in value else value for key, value in given.items()}


def carried_out(node, given: dict, model) -> list:
    """What the node gives, and what a run with the model it gives makes."""
    outputs = [value for value in node.EXECUTE_NORMALIZED(**given).result or () if value is not None]
    for value in outputs:
        if plan := getattr(value, "model_options", {}).get("transformer_options", {}).get(PLAN_KEY):
            source = random_trajectory(model, PROMPT, steps=STEPS)
            sampler = GraftSampler("ddim")
            if "h" in plan.hooks:
                sampler = NODES["GraftAsymmetricSampler"].EXECUTE_NORMALIZED(
                    preset={"preset": "released"}, timesteps="the model's", injections="grid", boosts="every step"
                )[0]
            outputs.append(sample_from(value, source.latents[0], source.sigmas, NEGATIVE, PROMPT, sampler=sampler))
    return outputs


def ways() -> list[tuple[str, dict]]:
    """Every node with every choice of the inputs that bring others."""
    found = {(node_id, tuple(options.items())) for node_id, _, options, _ in PLACES if options}
    alone = {(node_id, ()) for node_id in NODES if node_id not in {node for node, _ in found}}
    return [(node_id, dict(options)) for node_id, options in sorted(found | alone)]


def inputs_of(node_id: str, options: dict, model, clip, **changes) -> dict:
    """Good inputs of a node, but for `changes`."""
    given = good_inputs(NODES[node_id].define_schema().inputs, model, clip, options)
    for name, value in changes.items():
        given = changed_at(given, name, lambda _, value=value: value)
    return given


def asked(node_id: str, options: dict, model, clip, **changes) -> list:
    """What a node gives, asked with good inputs but for `changes`, and what a run makes of it."""
    return carried_out(NODES[node_id], inputs_of(node_id, options, model, clip, **changes), model)


def digest(outputs: list) -> str:
    """Equal where all tensors, texts and numbers in what a node gave are equal to the bit."""
    found = hashlib.sha256()
    for part in _contents(outputs):
        found.update(part)
    return found.hexdigest()


def _contents(value) -> Iterator[bytes]:
    if isinstance(value, Tensor):
        yield f"{value.dtype}{tuple(value.shape)}".encode()
        yield value.contiguous().flatten().view(torch.uint8).numpy().tobytes()
    elif isinstance(value, Trajectory):
        yield from _contents([value.latents, value.sigmas, value.bottlenecks, value.solver, value.conditioning])
    elif isinstance(value, dict):
        yield from _contents([part for name in sorted(map(str, value)) for part in (name, value.get(name))])
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _contents(part)
    elif isinstance(value, str | int | float):
        yield repr(value).encode()
