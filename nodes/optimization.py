"""Nodes that change a latent step by step instead of sampling it, and that show where a model would."""

from __future__ import annotations

from collections.abc import Sequence

from comfy_api.latest import io

from ..host.engine.masks import require_aspect
from ..host.engine.pictures import encode
from ..host.errors import GraftError
from ..host.families.layers import fine_decoder_layers, require_unet
from ..host.inspection.unnaturalness import explained, shown, unnaturalness_map
from ..host.samplers.guided import Prompts
from ..host.samplers.latent_optimization import Editor, MaskedKeys, Optimization, SourceKeys, optimize
from ..host.samplers.perceptual import PerceptualLoss
from ..optimization.descent import Descent
from .node import GraftNode
from .types import mask_on_layers_inputs

PerceptualLossType = io.Custom("GRAFT_PERCEPTUAL_LOSS")

REMOVAL, HARMONISATION, TEXT, SKETCH, PLAIN = "removal", "harmonisation", "text composition", "sketch composition", "prompts only"
"""Names of the stages in the UI; the last has nothing but Delta Denoising Score."""
RULES = {"Adam (paper)": "adam", "SGD": "sgd"}
MEASURES = {"unexpected": "unexpected", "all (paper)": "all"}
"""What the unnaturalness map counts, in the UI."""


def _weight(name: str, default: float, tooltip: str) -> io.Float.Input:
    return io.Float.Input(name, default=default, min=0.0, max=1000.0, step=0.01, tooltip=tooltip)


def _timestep(name: str, default: int, tooltip: str) -> io.Int.Input:
    return io.Int.Input(name, default=default, min=0, max=1000, tooltip=tooltip, advanced=True)


def _pace(iterations: int, timesteps: tuple[int, int] = (50, 950), polish: int = 0) -> list:
    """How long a stage takes, and at which noise levels."""
    return [
        io.Int.Input("iterations", default=iterations, min=1, max=5000, tooltip="Steps. Each asks the model about both pictures."),
        _timestep("lowest_timestep", timesteps[0], "Noise is drawn from this timestep on, of 1000; 0 is the clean picture."),
        _timestep(
            "highest_timestep",
            timesteps[1],
            "Noise is drawn up to this timestep; it and the one before are left out, as in the paper's code.",
        ),
        io.Int.Input(
            "polish_iterations",
            default=polish,
            min=0,
            max=5000,
            tooltip="So many iterations at the end draw timesteps 50 to 150, which settle details.",
            advanced=True,
        ),
    ]


def _background() -> io.Float.Input:
    return _weight(
        "background_weight", 0.3, "How much the picture outside the mask shall look as it did. Above 0 it needs a perceptual loss."
    )


def _outside(default: float) -> io.Float.Input:
    return io.Float.Input(
        "outside_weight",
        default=default,
        min=0.0,
        max=1.0,
        step=0.01,
        tooltip="How much the prompts count outside the mask. Adam minds it only beside a perceptual loss, and at 0.",
        advanced=True,
    )


def _source_keys() -> io.Int.Input:
    return io.Int.Input(
        "source_keys_until",
        default=400,
        min=0,
        max=5000,
        tooltip="T: before this iteration the new picture reads the source's keys and values, which keeps things what they are.",
        advanced=True,
    )


def _stages() -> list[io.DynamicCombo.Option]:
    # The editor cannot make a node whose first option has sockets and no widget: the pace comes first.
    removal = [
        *_pace(150),
        io.Mask.Input("mask", tooltip="The object to remove, with its shadow if that shall go too."),
        _background(),
        _outside(0.2),
        io.Int.Input(
            "mask_start", default=4, min=0, max=5000, tooltip="From this iteration on nothing under the mask is seen.", advanced=True
        ),
        *mask_on_layers_inputs(),
    ]
    harmonisation = [
        *_pace(200),
        io.Mask.Input("mask", tooltip="The pasted object; or, with outside_weight 0, whatever shall change."),
        _background(),
        _weight("foreground_weight", 0.1, "How much the object shall look as it did. Above 0 it needs a perceptual loss."),
        _outside(1.0),
    ]
    stages = {
        REMOVAL: removal,
        HARMONISATION: harmonisation,
        TEXT: [*_pace(500), _source_keys()],
        SKETCH: [*_pace(200, (100, 600), 50), _source_keys()],
        PLAIN: _pace(200),
    }
    return [io.DynamicCombo.Option(name, inputs) for name, inputs in stages.items()]


class OptimizeLatent(GraftNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GraftOptimizeLatent",
            display_name="Optimize Latent",
            category="Graft/optimization",
            description="FreeCompose: changes a picture step by step from what one prompt says to what another says (Delta Denoising Score). Removes an "
            "object, harmonises a pasted one, composes by text or sketch. Works with every model; removal and composition need an SD1.x, SD2.x or SDXL one.",
            search_aliases=[
                "FreeCompose",
                "DDS",
                "delta denoising score",
                "object removal",
                "harmonisation",
                "inpaint",
                "erase",
                "score distillation",
            ],
            inputs=[
                io.Model.Input("model", tooltip="The model whose idea of pictures is followed."),
                io.Conditioning.Input(
                    "positive",
                    tooltip='What the picture shall show, with its own ControlNet if any. For harmonisation "A harmonious scene."',
                ),
                io.Conditioning.Input(
                    "source_conditioning",
                    tooltip="What the picture shows now, with its own ControlNet if any. For harmonisation the empty prompt.",
                ),
                io.Conditioning.Input("negative", tooltip="What guidance compares with, usually the empty prompt."),
                io.Latent.Input("latent_image", tooltip="The picture, encoded."),
                io.Int.Input(
                    "seed", default=0, min=0, max=0xFFFFFFFFFFFFFFFF, control_after_generate=True, tooltip="Seed of noise and timesteps."
                ),
                io.DynamicCombo.Input(
                    "stage", options=_stages(), tooltip="What is done, with the paper's numbers. prompts only: nothing but the prompts."
                ),
                io.Float.Input("guidance", default=7.5, min=1.0, max=100.0, step=0.1, tooltip="How strongly the prompts are followed."),
                io.Combo.Input(
                    "optimizer", options=list(RULES), default="Adam (paper)", tooltip="How a gradient becomes a step.", advanced=True
                ),
                io.Float.Input(
                    "learning_rate",
                    default=0.05,
                    min=0.0001,
                    max=10.0,
                    step=0.0001,
                    tooltip="Length of a step. Adam moves a cell by about as much per iteration.",
                    advanced=True,
                ),
                io.Float.Input(
                    "prompt_weight",
                    default=10.0,
                    min=0.0,
                    max=1000.0,
                    step=0.1,
                    tooltip="Weight of the prompts beside the perceptual loss.",
                    advanced=True,
                ),
                io.Float.Input(
                    "plateau",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Stops early once 20 iterations change the picture by less than this part of its change so far. 0: never.",
                    advanced=True,
                ),
                PerceptualLossType.Input("perceptual", optional=True, tooltip="What keeps the picture's look, from Perceptual Loss."),
            ],
            outputs=[io.Latent.Output(display_name="latent", tooltip="The changed picture, encoded.")],
        )

    @classmethod
    def execute(
        cls,
        model,
        positive,
        source_conditioning,
        negative,
        latent_image,
        seed,
        guidance,
        optimizer,
        learning_rate,
        prompt_weight,
        plateau,
        stage,
        perceptual=None,
    ) -> io.NodeOutput:
        if "noise_mask" in latent_image:
            raise GraftError(
                "latent_image: it carries a noise mask, which limits sampling; connect the latent without it and give the stage a mask"
            )
        latent, mask = latent_image["samples"], stage.get("mask")
        if mask is not None:
            _require_region(mask, latent)
        settings = Optimization(
            iterations=stage["iterations"],
            guidance=guidance,
            descent=Descent(RULES[optimizer], learning_rate),
            timesteps=(stage["lowest_timestep"], stage["highest_timestep"]),
            polish=stage["polish_iterations"],
            scale=prompt_weight,
            mask=mask,
            outside=stage.get("outside_weight", 1.0),
            plateau=plateau,
        )
        losses = _losses(stage, mask, perceptual)
        prompts = Prompts(positive, source_conditioning, negative)
        optimized = optimize(model, prompts, latent, seed, settings, _editors(model, stage, mask), losses)
        return io.NodeOutput({**latent_image, "samples": optimized})


def _require_region(mask, latent) -> None:
    """Raises `GraftError` unless a mask holds a part of the picture."""
    require_aspect("mask", mask, latent.shape)
    if bool((mask >= 1).flatten(1).all(dim=1).any()):
        raise GraftError("mask: it covers the whole picture, and there is nothing left to go by; paint over the object alone")


def _editors(model, stage: dict, mask) -> Sequence[Editor]:
    match stage["stage"]:
        case "removal":
            layers = fine_decoder_layers(require_unet(model))
            return [MaskedKeys(mask, layers, stage["mask_start"], stage["mask_threshold"], stage["interpolation"])]
        case "text composition" | "sketch composition" if stage["source_keys_until"] > 0:
            return [SourceKeys(fine_decoder_layers(require_unet(model)), stage["source_keys_until"])]
    return []


def _losses(stage: dict, mask, perceptual: PerceptualLoss | None) -> Sequence[tuple[PerceptualLoss, list]]:
    """What shall look as it did, and how much."""
    weights = {"background_weight": stage.get("background_weight", 0.0), "foreground_weight": stage.get("foreground_weight", 0.0)}
    asked = [name for name, weight in weights.items() if weight > 0]
    if not asked:
        return []
    if perceptual is None:
        raise GraftError(f"perceptual: {' and '.join(asked)} above 0 needs a loss; connect Perceptual Loss, or set the weight to 0")
    regions = {"background_weight": 1 - mask, "foreground_weight": mask}
    return [(perceptual, [(regions[name], weights[name]) for name in asked])]


def _every() -> io.Int.Input:
    return io.Int.Input(
        "every",
        default=1,
        min=1,
        max=100,
        tooltip="Counted every so many iterations, and so many times as much: faster, less even.",
        advanced=True,
    )


class PerceptualLossNode(GraftNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        vae = io.Vae.Input(
            "vae",
            tooltip="The model's VAE. A TAESD, which Load VAE makes too, takes a small part of the memory and time, and is less exact.",
        )
        return io.Schema(
            node_id="GraftPerceptualLoss",
            display_name="Perceptual Loss",
            category="Graft/optimization",
            description="Keeps the look of a picture while Optimize Latent changes it.",
            search_aliases=["FreeCompose", "LPIPS", "perceptual loss", "feature loss", "keep background"],
            inputs=[
                io.DynamicCombo.Input(
                    "network",
                    options=[
                        # The editor cannot make a node whose first option has sockets and no widget.
                        io.DynamicCombo.Option("vae", [_every(), vae]),
                        io.DynamicCombo.Option("lpips", [_every(), vae]),
                        io.DynamicCombo.Option("latent", [_every()]),
                    ],
                    tooltip="What compares the pictures. vae: the VAE's own encoder, nothing to download. lpips: the paper's, with files that you put "
                    "into models/lpips. latent: latents are compared and no pictures; fastest, for want of memory.",
                )
            ],
            outputs=[PerceptualLossType.Output(display_name="perceptual", tooltip="For Optimize Latent.")],
        )

    @classmethod
    def execute(cls, network) -> io.NodeOutput:
        return io.NodeOutput(PerceptualLoss(network["network"], network.get("vae"), network["every"]))


class UnnaturalnessMap(GraftNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GraftUnnaturalnessMap",
            display_name="Unnaturalness Map",
            category="Graft/optimization",
            description="Shows where a model does not believe a picture: pasted objects, seams, wrong shadows. Works with every model.",
            search_aliases=["FreeCompose", "diffusion prior", "forgery", "detect paste", "splicing", "heat map", "anomaly"],
            inputs=[
                io.Model.Input("model", tooltip="The model that is asked. It must know pictures of this kind."),
                io.Conditioning.Input("conditioning", tooltip="What the picture shows; the empty prompt will do."),
                io.Vae.Input("vae", tooltip="Encodes the picture."),
                io.Image.Input("image", tooltip="The picture, or a batch."),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=False,
                    tooltip="Seed of the noise that is drawn.",
                ),
                io.Int.Input("draws", default=18, min=1, max=1000, tooltip="How often the model is asked. More is steadier."),
                _timestep("lowest_timestep", 100, "The lowest noise level, of 1000: there details count."),
                _timestep("highest_timestep", 300, "The highest noise level, of 1000: there whole objects count."),
                io.Combo.Input(
                    "measure",
                    options=list(MEASURES),
                    default="unexpected",
                    tooltip="unexpected: what the model would change beyond what the noise explains. all: everything it would change, as in the paper; "
                    "every object with much detail stands out then.",
                    advanced=True,
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="heat_map",
                    tooltip="The map over the picture, to look at. Below it the noise levels, as sigmas and in percent of the run, and what colours mean: "
                    "0 is what fits, 1 what does not. Pictures narrower than 256 pixels are enlarged.",
                ),
                io.Mask.Output(
                    display_name="mask",
                    tooltip="The map alone, as large as the picture: 1 where the model would change the picture as much as its parts differ.",
                ),
            ],
        )

    @classmethod
    def execute(cls, model, conditioning, vae, image, seed, draws, lowest_timestep, highest_timestep, measure) -> io.NodeOutput:
        timesteps = lowest_timestep, highest_timestep
        heat = unnaturalness_map(model, conditioning, encode(vae, image), timesteps, draws, seed, MEASURES[measure])
        heated, mask = shown(heat, image)
        return io.NodeOutput(explained(heated, model, timesteps, draws, MEASURES[measure]), mask)


NODES = [OptimizeLatent, PerceptualLossNode, UnnaturalnessMap]
