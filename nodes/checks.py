"""What may come in through an input: one check for each type of input, for every node of Graft.

A check is given the input's name, what came through it and the input's schema. It returns the value as nodes use it, or raises
`GraftError` that says what was seen and what to do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from numbers import Real
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..composition.frames import Frame
from ..host.engine.pictures import between_nodes
from ..host.engine.requirements import require_channels, require_descending, require_text_of, require_vae_of
from ..host.errors import GraftError
from ..host.samplers.perceptual import PerceptualLoss
from ..inversion.trajectory import Trajectory

Check = Callable[[str, Any, io.Input], Any]

BRIGHTEST = 16.0
"""Pictures lie in [0, 1]. Some nodes give a little more and light sources far more, but what is beyond this counts to 255."""
OVERSHOOT = 0.25
"""So far beyond [0, 1] masks may lie, as enlarging makes them; they are clamped."""
NEARLY = 1.5 / 255
"""What lies so near to 0 or 1 in a mask is that: files such as WebP with transparency are read up to a step of 8 bits beside it."""


def received(
    inputs: Iterable[io.Input], values: dict, empty_in_some: frozenset[str] = frozenset(), preset: frozenset[str] = frozenset()
) -> dict:
    """The values of a node's inputs, each checked by its type, then with the model beside it.

    `empty_in_some` are the mask inputs of which some masks of a batch may be empty, `preset` the inputs that may be left out.
    """
    inputs = list(inputs)
    checked = _each(inputs, values, preset)
    flat = list(_flat(inputs, checked))
    for name, kind, value in flat:
        if kind == "MASK":
            require_painted(name, value.flatten(0, 1)[None] if name in empty_in_some else value)
    for model in _models(flat):
        for name, kind, value in flat:
            if kind in BESIDE_A_MODEL:
                BESIDE_A_MODEL[kind](model, value, name)
    return checked


def _each(inputs: Iterable[io.Input], values: dict, preset: frozenset[str] = frozenset()) -> dict:
    checked = dict(values)
    for input in inputs:
        if values.get(input.id) is not None:
            checked[input.id] = CHECKS[input.get_io_type()](input.id, values[input.id], input)
        elif input.optional or (input.id not in values and input.id in preset):
            continue
        elif input.id not in values and getattr(input, "default", None) is not None:
            checked[input.id] = input.default
        else:
            raise GraftError(f"{input.id}: {_missing(input)}")
    return checked


def _missing(input: io.Input) -> str:
    if isinstance(input, io.DynamicCombo.Input):  # The host leaves out a choice that its list has not.
        return f"it is none of its choices; they are {', '.join(option.key for option in input.options)}"
    return "nothing came through it; a loader may have found none in its file; connect another"


def _flat(inputs: Iterable[io.Input], checked: dict) -> Iterator[tuple[str, str, Any]]:
    """Name, type and value of every input that something came through, those of chosen options too."""
    for input in inputs:
        value = checked.get(input.id)
        if isinstance(input, io.DynamicCombo.Input) and value is not None:
            yield from _flat(_chosen(input, value).inputs, value)
        elif value is not None:
            yield input.id, input.get_io_type(), value


def _models(flat: Iterable[tuple[str, str, Any]]) -> list:
    return [value if kind == "MODEL" else value.model_patcher for _, kind, value in flat if kind in ("MODEL", "GUIDER")]


def _numbers(name: str, value: Any, what: str, dimensions: tuple[int, ...], remedy: str) -> Tensor:
    """A tensor of finite numbers, and not an empty one."""
    if not isinstance(value, Tensor):
        raise GraftError(f"{name}: it is {_kind(value)}, no {what}; {remedy}")
    if value.dim() not in dimensions or not value.numel():
        raise GraftError(f"{name}: it has the shape {tuple(value.shape)}, which is no {what}; {remedy}")
    return value


def _require_finite(name: str, values: Tensor, what: str) -> tuple[float, float]:
    """The lowest and the highest value."""
    low, high = (float(end) for end in values.aminmax())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise GraftError(f"{name}: some of its values are not finite (NaN or infinite); look where the {what} comes from")
    return low, high


def picture(name: str, value: Any, _: io.Input) -> Tensor:
    """(B, H, W, 3), float32, where the host keeps pictures: of three channels, or of four, whose last one, alpha, is left out."""
    image = _numbers(name, value, "picture", (4,), "connect an IMAGE")
    if image.shape[-1] not in (3, 4):
        raise GraftError(
            f"{name}: it has {image.shape[-1]} channels; a picture has red, green and blue, and may have alpha; make it RGB first"
        )
    if not image.is_floating_point():
        raise GraftError(f"{name}: its values are whole numbers ({_short(image.dtype)}), a picture's lie from 0 to 1; divide them by 255")
    image = image[..., :3].float()
    low, high = _require_finite(name, image, "picture")
    if max(-low, high) > BRIGHTEST:
        raise GraftError(f"{name}: its values lie from {low:.4g} to {high:.4g}, a picture's from 0 to 1; divide them by 255")
    return between_nodes(image)


def mask(name: str, value: Any, _: io.Input) -> Tensor:
    """(B, H, W), float32 in [0, 1], where the host keeps pictures: of a mask (H, W), (B, H, W) or (B, 1, H, W), as nodes give either."""
    given = _numbers(name, value, "mask", (2, 3, 4), "connect a MASK")
    if given.dim() == 4 and given.shape[1] != 1:
        raise GraftError(
            f"{name}: it has the shape {tuple(given.shape)}, which is no mask but a picture; put Convert Image to Mask before it"
        )
    given = given.reshape(-1, *given.shape[-2:]).float()
    low, high = _require_finite(name, given, "mask")
    if low < -OVERSHOOT or high > 1 + OVERSHOOT:
        raise GraftError(f"{name}: its values lie from {low:.4g} to {high:.4g}, a mask's from 0 to 1; scale it")
    return between_nodes(given.clamp(0, 1).masked_fill(given < NEARLY, 0.0).masked_fill(given > 1 - NEARLY, 1.0))


def require_painted(name: str, masks: Tensor) -> None:
    for number, painted in enumerate(masks.flatten(1).any(dim=1).tolist(), start=1):
        if not painted:
            height, width = masks.shape[1:]
            which = "it is empty" if len(masks) == 1 else f"number {number} of its {len(masks)} masks is empty"
            raise GraftError(
                f"{name}: {which}, nothing is painted on its {width} x {height} pixels; right click the picture in Load Image, choose Open in "
                "Mask Editor and paint the place"
            )


def latent(name: str, value: Any, _: io.Input) -> dict:
    samples = value.get("samples") if isinstance(value, dict) else value
    samples = _numbers(name, samples, "latent", (4, 5), "connect a LATENT of pictures")
    if not samples.is_floating_point():
        raise GraftError(f"{name}: its values are whole numbers ({_short(samples.dtype)}); connect a VAE Encode or an empty latent")
    _require_finite(name, samples, "latent")
    if isinstance(held := value.get("noise_mask"), Tensor) and held.numel():
        _require_finite(f"{name}, its noise mask", held.float(), "mask")
    return value


def sigmas(name: str, value: Any, _: io.Input) -> Tensor:
    if not isinstance(value, Tensor):
        raise GraftError(f"{name}: it is {_kind(value)}, no schedule; connect a scheduler's output")
    require_descending(value, name)
    return value


def conditioning(name: str, value: Any, _: io.Input) -> list:
    if not isinstance(value, list | tuple) or not value:
        raise GraftError(f"{name}: there is no prompt in it; connect an encoded prompt")
    for entry in value:
        if not isinstance(entry, list | tuple) or len(entry) != 2 or not isinstance(entry[1], dict):
            raise GraftError(f"{name}: it holds {_kind(entry)}, no encoded prompt; connect a CONDITIONING")
        states, options = entry
        _require_finite(name, _numbers(name, states, "encoded prompt", (3,), "connect a CONDITIONING"), "prompt")
        pooled = options.get("pooled_output")
        if isinstance(pooled, Tensor) and pooled.numel():
            _require_finite(name, pooled, "prompt")
    return value


def number(name: str, value: Any, input: io.Input) -> float | int:
    if not isinstance(value, Real) or isinstance(value, bool):
        raise GraftError(f"{name}: it is {_kind(value)}, no number; connect a number")
    whole = input.get_io_type() == "INT"
    if not math.isfinite(value) or (whole and value != int(value)):
        raise GraftError(f"{name}: it is {value}, which is no {'whole' if whole else 'finite'} number; write another")
    low, high = (getattr(input, end, None) for end in ("min", "max"))
    if (low is not None and value < low) or (high is not None and value > high):
        raise GraftError(f"{name}: it is {value}; it must lie from {low} to {high}")
    return int(value) if whole else float(value)


def choice(name: str, value: Any, input: io.Input) -> str:
    options = [option for option in input.options or () if isinstance(option, str)]
    # The list of files is as old as the graph: loaders say themselves what they do not find.
    if not isinstance(value, str) or (input.default is not None and value not in options):
        raise GraftError(f"{name}: {_quoted(value)} is not one of {', '.join(options)}")
    return value


def chosen_option(name: str, value: Any, input: io.DynamicCombo.Input) -> dict:
    """The value of a choice with the inputs that its option brings, as a dict."""
    option = _chosen(input, value)
    for inner in option.inputs:
        if inner.id not in value and not inner.optional and getattr(inner, "default", None) is None:
            raise GraftError(f"{inner.id}: nothing is connected; {name} {option.key} needs it")
    return _each(option.inputs, value)


def _chosen(input: io.DynamicCombo.Input, value: Any) -> io.DynamicCombo.Option:
    key = value.get(input.id) if isinstance(value, dict) else value
    for option in input.options:
        if isinstance(value, dict) and option.key == key:
            return option
    raise GraftError(f"{input.id}: {_quoted(key)} is not one of {', '.join(option.key for option in input.options)}")


def text(name: str, value: Any, _: io.Input) -> str:
    if not isinstance(value, str):
        raise GraftError(f"{name}: it is {_kind(value)}, no text; connect a text")
    return value


def switch(name: str, value: Any, _: io.Input) -> bool:
    if value not in (True, False):
        raise GraftError(f"{name}: it is {_quoted(value)}, neither true nor false")
    return bool(value)


def with_methods(what: str, *methods: str) -> Check:
    """Of objects that are known by what they can do."""

    def check(name: str, value: Any, _: io.Input) -> Any:
        if not all(hasattr(value, method) for method in methods):
            raise GraftError(f"{name}: it is {_kind(value)}, no {what}; connect a {what}")
        return value

    return check


def of_class(what: str, kind: type) -> Check:
    def check(name: str, value: Any, _: io.Input) -> Any:
        if not isinstance(value, kind):
            raise GraftError(f"{name}: it is {_kind(value)}, no {what}; connect a {what}")
        return value

    return check


def vae(name: str, value: Any, input: io.Input) -> Any:
    value = with_methods("VAE", "decode")(name, value, input)
    if getattr(value, "first_stage_model", value) is None:
        raise GraftError(f"{name}: its file holds no VAE that ComfyUI knows; connect another with Load VAE")
    return value


CHECKS: dict[str, Check] = {
    "IMAGE": picture,
    "MASK": mask,
    "LATENT": latent,
    "SIGMAS": sigmas,
    "CONDITIONING": conditioning,
    "GRAFT_TRAJECTORY": of_class("trajectory", Trajectory),
    "GRAFT_FRAME": of_class("frame", Frame),
    "GRAFT_PERCEPTUAL_LOSS": of_class("perceptual loss", PerceptualLoss),
    "MODEL": with_methods("model", "model_options", "get_model_object"),
    "CLIP": with_methods("text encoder", "tokenize"),
    "VAE": vae,
    "NOISE": with_methods("noise", "generate_noise", "seed"),
    "GUIDER": with_methods("guider", "model_patcher", "sample"),
    "SAMPLER": with_methods("sampler", "sample"),
    "INT": number,
    "FLOAT": number,
    "STRING": text,
    "BOOLEAN": switch,
    "COMBO": choice,
    "COMFY_DYNAMICCOMBO_V3": chosen_option,
}
"""By the type of the input. A test asks for one for every input of every node."""


def _guided_by(model, guider, name: str) -> None:
    for entries in getattr(guider, "original_conds", {}).values():
        require_text_of(model, [(entry.get("cross_attn"), entry) for entry in entries], name)


BESIDE_A_MODEL: dict[str, Callable[[Any, Any, str], None]] = {
    "CONDITIONING": require_text_of,
    "VAE": require_vae_of,
    "GUIDER": _guided_by,
    "GRAFT_TRAJECTORY": lambda model, trajectory, name: require_channels(model, trajectory.clean, name, "use the model it was made with"),
}
"""What has to fit the model that comes through another input of the node."""


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


def _short(dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _quoted(value: Any) -> str:
    written = repr(value) if isinstance(value, str | int | float | bool) else _kind(value)
    return written if len(written) <= 80 else f"{written[:80]}..."
