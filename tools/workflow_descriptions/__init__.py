"""The shipped workflows, described in the language of the package graph: one file per method.

Each file has `graphs()`, which returns its workflows; build_workflows.py finds the files by itself. What several need is here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from graph import Choice, Graph, Group, Node, Output, Place

from .notes import WITHDRAWN

HUGGING_FACE = "https://huggingface.co"
CHECKPOINT = "v1-5-pruned-emaonly-fp16.safetensors"
CONTROL_NET = "control_v11p_sd15_canny_fp16.safetensors"
SKETCH_ADAPTER = "t2iadapter_sketch_sd15v2.pth"
ADDRESSES = {
    CHECKPOINT: f"{HUGGING_FACE}/Comfy-Org/stable-diffusion-v1-5-archive/resolve/main/{CHECKPOINT}?download=true",
    CONTROL_NET: f"{HUGGING_FACE}/comfyanonymous/ControlNet-v1-1_fp16_safetensors/resolve/main/{CONTROL_NET}",
    SKETCH_ADAPTER: f"{HUGGING_FACE}/TencentARC/T2I-Adapter/resolve/main/models/{SKETCH_ADAPTER}?download=true",
}
"""Where files of models are to be had, so that the editor offers those that are missing. SD2.1 is no longer published by its makers."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint, the side of the pictures it is made for, in pixels, and what its workflows' notes call it."""

    file: str
    side: int
    name: str


FOR_SDXL = "For SDXL choose its checkpoint, and 1024 pixels wherever it says 512; the settings are a first guess there."
SD15 = Checkpoint(CHECKPOINT, 512, f"SD1.5; any other SD1.x or SD2.x works too. {FOR_SDXL}")
SD21 = Checkpoint("v2-1_512-ema-pruned.safetensors", 512, f"SD2.1-base, as in the paper; SD1.x works too. {WITHDRAWN} {FOR_SDXL}")

PAPERS = (
    "Free-Prompt-Editing",
    "FreeCompose removal",
    "FreeCompose harmonisation",
    "InjectFusion",
    "MasaCtrl",
    "Prompt-to-Prompt replace",
    "SpecRef 1 cat to dog",
    "TF-ICON cross-domain",
)
"""Of the workflows that follow a paper, those that the template browser lists, beside the numbered tasks."""
MODELS = (
    "Edit Picture by Prompt with Flux.2 klein",
    "Edit Picture by Prompt with Qwen-Image",
    "Edit Picture by Prompt with Z-Image",
    "Keep Outside Mask after Qwen-Image-Edit",
)
"""Of those on flow models, likewise."""
TASK = re.compile(r"(Try )?\d ")
"""How the titles of tasks begin, and those of the same tasks on the miniature."""
EXAMPLE = "graft_car_on_beach.png"
"""The picture that workflows open with which have no other."""
SCALE = 3.0
"""How much larger than it is a picture of the miniature is shown."""


def is_listed(title: str) -> bool:
    """Whether the template browser shows a workflow; the others are for whoever opens their file."""
    return title in (*PAPERS, *MODELS) or TASK.match(title) is not None


@dataclass(frozen=True)
class Model:
    """What a checkpoint brings."""

    unet: Output
    clip: Output
    vae: Output


def load_checkpoint(graph: Graph, file: str = CHECKPOINT, at: Place | None = None) -> Model:
    loaded = graph.add("CheckpointLoaderSimple", at=at, ckpt_name=file, properties=models("checkpoints", file))
    return Model(loaded["MODEL"], loaded["CLIP"], loaded["VAE"])


def models(folder: str, file: str) -> dict[str, list]:
    """The property of a loader by which the editor offers a missing file; empty where nobody publishes it any more."""
    return {"models": [{"name": file, "url": ADDRESSES[file], "directory": folder}]} if file in ADDRESSES else {}


def load_miniature(graph: Graph, at: Place = Place(column=0)) -> Model:  # noqa: B008
    loaded = graph.add("GraftLoadMiniature", at=at)
    return Model(loaded["model"], loaded["clip"], loaded["vae"])


@dataclass(frozen=True)
class Drawn:
    """A thing of a drawn scene: its kind, its colour where one dominates the kind, where it touches the ground, as parts of the picture's
    width and height, and its larger side, as a part of the shorter one."""

    kind: str
    colour: str | None = None
    x: float = 0.5
    y: float = 0.85
    size: float = 0.45
    mirrored: bool = False

    def inputs(self, name: str) -> dict[str, str | float]:
        """What Miniature Scene takes for its "first" or "second" thing. The colour of a kind that has its own stays at its default."""
        coloured = {} if self.colour is None else {f"{name}_colour": self.colour}
        return {f"{name}_kind": self.kind, **coloured} | {
            f"{name}_{field}": getattr(self, field) for field in ("x", "y", "size", "mirrored")
        }


def draw(graph: Graph, *things: Drawn, title: str | None = None, **inputs: str | int | Choice) -> Node:
    """A Miniature Scene of one thing or two."""
    described = {key: value for name, thing in zip(("first", "second"), things, strict=False) for key, value in thing.inputs(name).items()}
    return graph.add("GraftMiniatureScene", title=title, at=Place(column=0), **described, **inputs)


def encode(graph: Graph, model: Model, title: str, text: str | Output) -> Output:
    """A prompt that nodes can find words in."""
    return graph.add("GraftEncodePrompt", title=title, clip=model.clip, text=text, at=Place(column=0))["conditioning"]


def steps_of(graph: Graph, model: Model, steps: int | Output) -> Output:
    """The papers' schedule."""
    return graph.add("BasicScheduler", model=model.unet, scheduler="ddim_uniform", steps=steps, denoise=1.0)[0]


def invert(
    graph: Graph, model: Model, picture: Output, prompt: Output, sigmas: Output, title: str | None = None, solver: str = "DDIM"
) -> Output:
    """The trajectory of a picture; by plain DDIM inversion, as in most of the papers, or by another solver."""
    inverted = graph.add(
        "GraftInvertImage",
        title=title,
        model=model.unet,
        vae=model.vae,
        image=picture,
        conditioning=prompt,
        sigmas=sigmas,
        solver=solver,
        iterations=1,
    )
    return inverted["trajectory"]


def load_square(graph: Graph, title: str, side: int) -> tuple[Output, Output]:
    """A picture of the user's and what is painted on it, both cut to the same square."""
    loaded = graph.add("LoadImage", title=title, at=Place(column=0), image=EXAMPLE)
    square = Choice("scale dimensions", width=side, height=side, crop="center")
    picture, mask = (
        graph.add("ResizeImageMaskNode", title=f"Resize the {name}", input=loaded[output], resize_type=square, scale_method=method)[0]
        for name, output, method in (("picture", "IMAGE", "lanczos"), ("mask", "MASK", "area"))
    )
    return picture, mask


def load_picture(graph: Graph, title: str, side: int) -> Output:
    """A picture of the user's, cut to a square."""
    loaded = graph.add("LoadImage", title=title, at=Place(column=0), image=EXAMPLE)
    square = {"width": side, "height": side, "crop": "center"}
    return graph.add("ImageScale", title="Cut to a square", image=loaded["IMAGE"], upscale_method="lanczos", **square, at=Place(column=1))[
        "IMAGE"
    ]


@dataclass(frozen=True)
class Fitted:
    """A picture and its mask at the size that a model is made for, and the `frame` by which keep() brings back what was made of them."""

    original: Output
    picture: Output
    mask: Output
    frame: Output


def fit(graph: Graph, picture: Output, title: str | None = None, **inputs: Output | int) -> Fitted:
    """A picture at its longer side `size` in pixels, or at the size of the picture `like`; with its `mask`, if it has one."""
    fitted = graph.add("GraftFitPicture", title=title, image=picture, **inputs)
    return Fitted(picture, fitted["image"], fitted["mask"], fitted["frame"])


def keep(
    graph: Graph,
    fitted: Fitted,
    edited: Output,
    mask: Output | None = None,
    feather: int | Output = 0,
    grow: int | Output = 0,
    **settings: str,
) -> Output:
    """The original with the edited part in it, at its own size; without a mask all of the edited picture."""
    masked = {} if mask is None else {"mask": mask}
    return graph.add(
        "GraftKeepOutsideMask", image=fitted.original, edited=edited, frame=fitted.frame, feather=feather, grow=grow, **masked, **settings
    )["image"]


def record(graph: Graph, model: Model, prompt: Output, negative: Output) -> tuple[Output, Group]:
    """The trajectory of a generation as in the papers (512 px, 50 DDIM steps, guidance 7.5), shown as "1 source", and its box."""
    with graph.group("2 Generate the source") as box:
        noise = graph.add("RandomNoise", noise_seed=42)
        guider = graph.add("CFGGuider", model=model.unet, positive=prompt, negative=negative, cfg=7.5)
        sampler = graph.add("GraftSampler", solver="DDIM")
        sigmas = steps_of(graph, model, steps=50)
        latent = graph.add("EmptyLatentImage", width=512, height=512, batch_size=1)
        recorded = graph.add(
            "GraftRecordTrajectory", noise=noise[0], guider=guider[0], sampler=sampler[0], sigmas=sigmas, latent_image=latent[0]
        )
        decoded = graph.add("VAEDecode", samples=recorded["latent"], vae=model.vae)
        graph.add("PreviewImage", title="1 source", images=decoded[0])
    return recorded["trajectory"], box


def sampling(
    graph: Graph,
    model: Model,
    edited: Output,
    trajectory: Output,
    prompt: Output,
    negative: Output,
    cfg: float | Output,
    sampler: Output | None = None,
) -> dict[str, Output]:
    """What SamplerCustomAdvanced takes: the model with its edits, from where the trajectory starts, along its noise levels; by default with DDIM."""
    start = graph.add("GraftStartFromTrajectory", model=model.unet, trajectory=trajectory)
    sampler = sampler or graph.add("GraftSampler", solver="DDIM")[0]
    guider = graph.add("CFGGuider", model=edited, positive=prompt, negative=negative, cfg=cfg)
    return {
        "noise": start["noise"],
        "guider": guider[0],
        "sampler": sampler,
        "sigmas": start["sigmas"],
        "latent_image": start["latent"],
    }


def sample(
    graph: Graph,
    model: Model,
    edited: Output,
    trajectory: Output,
    prompt: Output,
    negative: Output,
    cfg: float | Output,
    sampler: Output | None = None,
) -> Output:
    """The picture that the model with its edits makes from where the trajectory starts."""
    sampled = graph.add("SamplerCustomAdvanced", **sampling(graph, model, edited, trajectory, prompt, negative, cfg, sampler))
    return graph.add("VAEDecode", samples=sampled["output"], vae=model.vae)["IMAGE"]


def show_enlarged(graph: Graph, picture: Output, title: str, save_as: str | None = None, scale: float = SCALE) -> Node:
    """Show one of the miniature's pictures, `scale` times as large; with `save_as` it is saved under that prefix too."""
    enlarged = graph.add("ImageScaleBy", title="Enlarge", image=picture, upscale_method="lanczos", scale_by=scale)
    return show(graph, enlarged[0], title, save_as)


def show(graph: Graph, picture: Output, title: str, save_as: str | None = None) -> Node:
    """Show pictures as they are; with `save_as` they are saved under that prefix too."""
    if save_as is None:
        return graph.add("PreviewImage", title=title, images=picture)
    return graph.add("SaveImage", title=title, images=picture, filename_prefix=save_as)
