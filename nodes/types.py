"""Link types and inputs that several families share."""

from __future__ import annotations

from collections.abc import Callable

from comfy_api.latest import io, ui

from ..attention.masks import feathered, vanished
from ..composition.outlines import reduced
from ..host.errors import GraftError
from ..host.families.layer import Layers
from ..host.families.layers import GRIDS, all_layers, layers_at, named_layers

TrajectoryType = io.Custom("GRAFT_TRAJECTORY")

SOLVERS = {"DDIM": "ddim", "DPM-Solver++ 2M": "dpmpp_2m", "Midpoint": "midpoint"}
"""Names of the solvers in the UI."""

QUARTER = "quarter (paper)"
MAP_LEVELS = {QUARTER: GRIDS["quarter"], "half": GRIDS["half"], "full": GRIDS["full"]}
"""Grids of the attention maps in which words are looked for, as parts of the latent's side: how often it is halved."""


SOURCE_PROMPT = (
    "The prompt the trajectory was made with: the empty prompt for an inverted picture, its own prompt for a recorded generation."
)
SOURCE_WORDS = "The source's prompt, from Encode Prompt: the one the trajectory was made with."


def source_inputs(source: str, prompt: str) -> list:
    """The model, and the stream that an edit looks at; `source` and `prompt` are the tooltips of its trajectory and its prompt."""
    return [
        io.Model.Input("model", tooltip="The model that will sample the new picture."),
        TrajectoryType.Input("source", tooltip=source),
        io.Conditioning.Input("source_conditioning", tooltip=prompt),
    ]


def window_inputs(end: float, start: float = 0.0) -> list:
    """Start and end percent of an edit, as ComfyUI counts them."""
    tip = "0 is the noisiest step, 1 the finished picture."
    return [
        io.Float.Input("start_percent", default=start, min=0.0, max=1.0, step=0.01, tooltip=f"When the edit starts. {tip}", advanced=True),
        io.Float.Input("end_percent", default=end, min=0.0, max=1.0, step=0.01, tooltip=f"When the edit stops. {tip}"),
    ]


def closed(start: float | None, end: float | None) -> bool:
    """Whether a window of `window_inputs` holds no step, or may hold none: None is a number that only a run can tell."""
    return start is None or end is None or end <= start


def previewed(image, cls) -> ui.PreviewImage:
    """What a node shows of its pictures (B, H, W, 3) in the editor, no larger than it can be seen there: to write a picture of 4000 x 3000
    pixels takes longer than to make it."""
    return ui.PreviewImage(reduced(image), cls=cls)


def skip_input(tooltip: str, optional: bool = False) -> io.Float.Input:
    """The part of a trajectory's steps before the start."""
    return io.Float.Input("skip", default=0.0, min=0.0, max=0.99, step=0.01, tooltip=tooltip, optional=optional, advanced=True)


def layers_input(custom: str, tooltip: str) -> io.DynamicCombo.Input:
    """Which self-attention layers an edit touches; `custom` is the paper's choice in SD1.x."""
    text = io.String.Input(
        "custom_layers",
        default=custom,
        tooltip="Layers, separated by commas. Numbers and ranges count from 0 in the order of execution: 3, 10-15. input, middle, output are parts "
        "of the network; full, half, quarter, eighth are grids, by their part of the latent's side; words side by side mean what all of them name: "
        "output half. not takes layers away: all, not middle.",
        advanced=True,
    )
    options = [io.DynamicCombo.Option("paper", []), io.DynamicCombo.Option("all", []), io.DynamicCombo.Option("custom", [text])]
    return io.DynamicCombo.Input("layers", options=options, tooltip=tooltip, extra_dict={"advanced": True})


def chosen_layers(network, layers: dict | None, paper: Callable[..., Layers]) -> Layers:
    """The layers that a `layers_input` names; `paper` finds the method's own."""
    match (layers or {"layers": "paper"})["layers"]:
        case "paper":
            return paper(network)
        case "all":
            return all_layers(network)
        case "custom":
            return named_layers(network, layers["custom_layers"])
    raise GraftError(f"layers: {layers['layers']!r} is not one of paper, all, custom")


def mask_on_layers_inputs() -> list:
    """How a picture's mask becomes masked tokens of a layer."""
    return [
        io.Float.Input(
            "mask_threshold",
            default=0.1,
            min=0.0,
            max=1.0,
            step=0.01,
            tooltip="A token is masked where the mask covers more of it than this.",
            advanced=True,
        ),
        io.Combo.Input(
            "interpolation",
            options=["area", "bilinear"],
            default="area",
            tooltip="How the mask is brought to the size of a layer. area: the part of a token that it covers. bilinear: the released code's, "
            "which looks at a few pixels of each token and misses what is thin.",
            advanced=True,
        ),
    ]


def map_grid_input(optional: bool = False) -> io.Combo.Input:
    return io.Combo.Input(
        "word_map_grid",
        options=list(MAP_LEVELS),
        default=QUARTER,
        optional=optional,
        tooltip="Attention maps in which words are looked for, by their part of the latent's side. quarter: 16 x 16 at 512 pixels, as in the "
        "papers. Finer maps for small objects and for pictures far smaller than 512 pixels.",
        advanced=True,
    )


def map_layers(network, word_map_grid: str) -> Layers:
    return layers_at(network, MAP_LEVELS[word_map_grid])


def soft_edged(name: str, mask, radius: int):
    """A mask (B, H, W) with a soft edge 2 `radius` pixels wide, inwards. Raises `GraftError` where that leaves nothing of it."""
    soft = feathered(mask, radius)
    for lost in mask[vanished(mask, soft)]:
        width, height = (int(lost.any(dim=dim).sum()) for dim in (0, 1))
        raise GraftError(
            f"feather: a soft edge {2 * radius} pixels wide leaves nothing of the {name}, {width} x {height} pixels; make it narrower"
        )
    return soft


def faded_outwards(mask, radius: int):
    """A mask (B, H, W) that fades outwards over 2 `radius` pixels: 1 wherever it was, bit for bit 0 beyond."""
    return mask if radius == 0 else 1 - feathered(1 - mask, radius)
