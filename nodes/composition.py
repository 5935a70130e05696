"""Nodes that put a reference picture into another one."""

import torch
from comfy_api.latest import io

from ..composition.outlines import outlined
from ..composition.placement import Place, place_reference, require_batch, require_size
from ..host.edits.composition import composed_start
from ..host.errors import GraftError
from ..host.samplers.sampling import NoFreshNoise
from .node import GraftNode
from .types import TrajectoryType, previewed, skip_input, soft_edged

FITS = {"object": "object", "whole picture (paper)": "whole picture"}
"""Names of the fits in the UI."""
SURROUNDS = {"black (paper)": "black", "average colour": "average colour"}
"""Names of the canvas's colours in the UI."""
CROSS_DOMAIN, SAME_DOMAIN = "cross-domain", "same-domain"
REGION_COLOUR, OBJECT_COLOUR = (0.25, 0.85, 1.0), (1.0, 0.55, 0.1)


def _place_input() -> io.DynamicCombo.Input:
    return io.DynamicCombo.Input(
        "place",
        options=[
            # The editor cannot make a node whose first option has sockets and no widget.
            io.DynamicCombo.Option(
                "numbers",
                [
                    io.Float.Input(
                        "center_x",
                        default=0.5,
                        min=-0.5,
                        max=1.5,
                        step=0.01,
                        tooltip="The middle, from the main picture's left (0) to its right (1).",
                    ),
                    io.Float.Input(
                        "center_y",
                        default=0.5,
                        min=-0.5,
                        max=1.5,
                        step=0.01,
                        tooltip="The middle, from the main picture's top (0) to its bottom (1).",
                    ),
                    io.Float.Input(
                        "size",
                        default=0.5,
                        min=0.01,
                        max=2.0,
                        step=0.01,
                        tooltip="The long side, as a part of the main picture's shorter side.",
                    ),
                ],
            ),
            io.DynamicCombo.Option(
                "mask",
                [
                    io.Mask.Input(
                        "mask",
                        tooltip="Painted on the main picture: the box around it says where and how large. Its shape does not count.",
                    )
                ],
            ),
        ],
        tooltip="How you say where it goes. What lies beyond the main picture's border is cut off.",
    )


def _rotation_input() -> io.Float.Input:
    return io.Float.Input(
        "rotation",
        default=0.0,
        min=-360.0,
        max=360.0,
        step=1.0,
        tooltip="Degrees, clockwise, about the middle.",
        advanced=True,
    )


class PlaceReference(GraftNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GraftPlaceReference",
            display_name="Place Reference",
            category="Graft/composition",
            description="Puts an object from a reference picture where it shall be in the main picture, and shows how it will lie: for TF-ICON, "
            "for FreeCompose, or as a plain paste.",
            search_aliases=["TF-ICON", "FreeCompose", "paste object", "insert object", "image composition", "collage", "place object"],
            inputs=[
                io.Image.Input("image", tooltip="The main picture, or a batch of pictures of one size."),
                io.Image.Input("reference", tooltip="The picture with the object; one for all main pictures, or one for each."),
                io.Mask.Input("reference_mask", tooltip="The object in the reference, of the reference's size."),
                _place_input(),
                io.Combo.Input(
                    "fit",
                    options=list(FITS),
                    default="object",
                    tooltip="What gets the asked place and size. object: the object itself; a little of its surroundings comes with it. "
                    "whole picture: the reference with all of its background, as in TF-ICON's code.",
                ),
                _rotation_input(),
                io.Combo.Input(
                    "surround",
                    options=list(SURROUNDS),
                    default="black (paper)",
                    tooltip="What placed_reference shows around the region. average colour: the reference's own around its object; try it where the "
                    "object comes out too small or not at all.",
                    advanced=True,
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="placed_reference",
                    tooltip="The reference alone, at its place on one colour: what is inverted for TF-ICON.",
                ),
                io.Mask.Output(display_name="object_mask", tooltip="Where the object will be in the main picture."),
                io.Mask.Output(display_name="region", tooltip="Where the placed reference lies, object and surroundings."),
                io.Image.Output(display_name="pasted", tooltip="The main picture with the object pasted in."),
                io.Image.Output(
                    display_name="preview", tooltip="The pasted picture with outlines: orange around the object, blue around the region."
                ),
            ],
            is_output_node=True,  # so that places can be tried before anything is sampled
        )

    @classmethod
    def execute(cls, image, reference, reference_mask, fit, rotation, surround, place) -> io.NodeOutput:
        placed = place_reference(image, reference, reference_mask, _places(image, place, rotation), FITS[fit], SURROUNDS[surround])
        preview = outlined(outlined(placed.pasted, placed.region, REGION_COLOUR), placed.object, OBJECT_COLOUR)
        return io.NodeOutput(placed.canvas, placed.object, placed.region, placed.pasted, preview, ui=previewed(preview, cls))


def _places(image, place: dict, rotation: float) -> list[Place]:
    match place["place"]:
        case "mask":
            masks = place["mask"]
            require_size("mask", masks, "image", image)
            require_batch("mask", masks, len(image))
            return [Place.of_mask(mask, rotation) for mask in masks]
        case "numbers":
            return [Place.of_fractions(image.shape[1:3], place["center_x"], place["center_y"], place["size"], rotation)]
    raise GraftError(f"place: {place['place']!r} is not one of mask, numbers")


class PasteObject(GraftNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GraftPasteObject",
            display_name="Paste Object",
            category="Graft/composition",
            description="Cuts an object out of one picture and pastes it into another: what Optimize Latent then harmonises.",
            search_aliases=["FreeCompose", "paste object", "insert object", "collage", "cut out", "copy and paste", "image composition"],
            inputs=[
                io.Image.Input("image", tooltip="The picture that gets the object, or a batch of pictures of one size."),
                io.Image.Input("reference", tooltip="The picture with the object; one for all pictures, or one for each."),
                io.Mask.Input("reference_mask", tooltip="The object in the reference, of the reference's size."),
                _place_input(),
                _rotation_input(),
                io.Int.Input(
                    "feather",
                    default=0,
                    min=0,
                    max=64,
                    tooltip="Softens the object's edge inwards, over twice so many pixels.",
                    advanced=True,
                ),
            ],
            outputs=[
                io.Image.Output(display_name="pasted", tooltip="The picture with the object in it."),
                io.Mask.Output(display_name="mask", tooltip="Where the object is now: the mask for harmonisation."),
            ],
            is_output_node=True,  # so that places can be tried before anything is optimised
        )

    @classmethod
    def execute(cls, image, reference, reference_mask, rotation, feather, place) -> io.NodeOutput:
        placed = place_reference(image, reference, reference_mask, _places(image, place, rotation), "object")
        mask = soft_edged("object", placed.object, feather)
        pasted = torch.lerp(image, placed.canvas.expand(len(image), -1, -1, -1), mask[..., None])
        return io.NodeOutput(pasted, mask, ui=previewed(pasted, cls))


class ComposeNoise(GraftNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GraftComposeNoise",
            display_name="Compose Noise",
            category="Graft/latents",
            description="TF-ICON's start: the main picture's noise, with the reference's where the object goes and fresh noise around it, so that the "
            "seam can form anew. Connect noise, sigmas and latent to SamplerCustomAdvanced.",
            search_aliases=["TF-ICON", "composed noise", "start latent", "image composition"],
            inputs=[
                io.Model.Input("model", tooltip="The model that will sample."),
                TrajectoryType.Input(
                    "main",
                    tooltip="The main picture's trajectory, from Invert Image. For same-domain that of Place Reference's pasted picture.",
                ),
                io.Mask.Input("object_mask", tooltip="Where the object will be, from Place Reference."),
                io.Mask.Input("region", tooltip="Where the placed reference lies, from Place Reference. Outside the main picture stays."),
                io.Combo.Input(
                    "domain",
                    options=[CROSS_DOMAIN, SAME_DOMAIN],
                    default=CROSS_DOMAIN,
                    tooltip="cross-domain: a photo into a painting and the like; the object starts from the reference's noise. "
                    "same-domain: a photo into a photo; the object starts from the noise of the main picture, into which it was pasted.",
                ),
                io.Int.Input(
                    "noise_seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=True,
                    tooltip="Seed of the noise around the object.",
                ),
                TrajectoryType.Input(
                    "reference",
                    optional=True,
                    tooltip="The trajectory of Place Reference's placed_reference, made with the same sigmas. Only cross-domain needs it.",
                ),
                skip_input(
                    "Part of the steps to leave out. 0 starts from noise alone, as in the paper; more keeps more of the object's shape and "
                    "less of the new style. Composite Attention's and Background Preservation's windows still count from the schedule's start: "
                    "make them longer.",
                    optional=True,
                ),
            ],
            outputs=[
                io.Noise.Output(display_name="noise", tooltip="No noise: the latent has its own."),
                io.Sigmas.Output(display_name="sigmas", tooltip="The main trajectory's noise levels from there on."),
                io.Latent.Output(display_name="latent", tooltip="The composed noisy latent."),
            ],
        )

    @classmethod
    def execute(cls, model, main, object_mask, region, domain, noise_seed, reference=None, skip=0.0) -> io.NodeOutput:
        if domain == SAME_DOMAIN:
            reference = None
        elif reference is None:
            raise GraftError("reference: cross-domain starts the object from the reference's noise; connect its trajectory")
        first = main.after(skip)
        latent = composed_start(model, main, reference, object_mask, region, noise_seed, first)
        return io.NodeOutput(NoFreshNoise(model, float(main.sigmas[first])), main.sigmas[first:], {"samples": latent})


NODES = [PlaceReference, PasteObject, ComposeNoise]
