"""Nodes that bring a picture to a model's size, and what was edited back into the picture, which stays as it was elsewhere."""

from __future__ import annotations

from comfy_api.latest import io

from ..composition.frames import Frame, resized, resized_mask
from ..composition.keeping import grown, kept_outside, matched_at_seam
from ..composition.outlines import outlined
from ..host.errors import GraftError
from .node import GraftNode
from .types import faded_outwards, previewed

FrameType = io.Custom("GRAFT_FRAME")

AS_EDITED, AT_SEAM = "as edited", "matched at the seam"
"""What becomes of the edited colours, in the UI."""
SAME_PROPORTIONS = 1.1
"""By how much the proportions of an edited picture may differ from the original's: other nodes round sides to multiples."""
OUTLINE = (1.0, 0.55, 0.1)


class FitPicture(GraftNode):
    EMPTY_IN_SOME = frozenset({"mask"})

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GraftFitPicture",
            display_name="Fit Picture",
            category="Graft/composition",
            description="Brings a picture of any size to one that a model is made for, without stretching or cropping it. "
            "Keep Outside Mask brings it back.",
            search_aliases=["resize", "scale to model", "pad", "any size", "aspect ratio", "uncrop"],
            inputs=[
                io.Image.Input("image", tooltip="The picture, or a batch of pictures of one size."),
                io.Int.Input("size", default=512, min=64, max=8192, step=8, tooltip="The longer side while the model works, in pixels."),
                io.Int.Input(
                    "multiple",
                    default=64,
                    min=1,
                    max=512,
                    tooltip="What both sides become a multiple of: the picture goes on as its mirror image at the right and below.",
                    advanced=True,
                ),
                io.Mask.Input("mask", optional=True, tooltip="What is painted on the picture; it comes along."),
                io.Image.Input(
                    "like",
                    optional=True,
                    tooltip="Another picture that has been fitted: this one is made to fill its size as far as its proportions allow. Goes before size.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="image", tooltip="The picture at the model's size."),
                io.Mask.Output(display_name="mask", tooltip="The mask at that size; everything, if there is none."),
                FrameType.Output(display_name="frame", tooltip="For Keep Outside Mask: how the picture lies in the larger one."),
            ],
            is_output_node=True,  # so that it is the first to run: its checks then come before anything that takes long
        )

    @classmethod
    def execute(cls, image, size, multiple, mask=None, like=None) -> io.NodeOutput:
        painted = image.new_ones(image.shape[:3]) if mask is None else mask
        if mask is not None:
            _require_size("mask", painted, [tuple(image.shape[1:3])])
            _require_batch("mask", painted, len(image))
        own = tuple(image.shape[1:3])
        frame = Frame.of(own, size, multiple) if like is None else Frame.within(own, tuple(like.shape[1:3]))
        fitted, fitted_mask = frame.fit(image), frame.fit_mask(painted.to(image))
        shown = fitted if mask is None else outlined(fitted, fitted_mask, OUTLINE)
        return io.NodeOutput(fitted, fitted_mask, frame, ui=previewed(shown, cls))


class KeepOutsideMask(GraftNode):
    EMPTY_IN_SOME = frozenset({"mask"})

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GraftKeepOutsideMask",
            display_name="Keep Outside Mask",
            category="Graft/composition",
            description="Puts an edited picture back into its original: outside the mask every pixel stays what it was, bit for bit, at the original's own "
            "size. Works after any node that edits a picture, Graft's or not.",
            search_aliases=["paste back", "stitch", "composite", "keep background", "seamless", "uncrop", "restore", "inpaint"],
            inputs=[
                io.Image.Input("image", tooltip="The original: what stays, and the size of the result."),
                io.Image.Input("edited", tooltip="The edited picture, of like proportions or from Fit Picture's; its size may differ."),
                io.Int.Input(
                    "grow", default=0, min=0, max=512, tooltip="How much wider than the mask the edit shows, in the mask's own pixels."
                ),
                io.Int.Input(
                    "feather",
                    default=8,
                    min=0,
                    max=256,
                    tooltip="From there the edit fades outwards over twice so many of the mask's pixels. 0 is a hard edge.",
                ),
                io.Combo.Input(
                    "colour",
                    options=[AS_EDITED, AT_SEAM],
                    default=AS_EDITED,
                    tooltip="matched at the seam: the edited colours are shifted smoothly so that they meet the original's there. For edit models "
                    "that change brightness or tint on the way.",
                    advanced=True,
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="What may change, of the size of either picture. Without one the whole picture is the edited one's.",
                ),
                FrameType.Input("frame", optional=True, tooltip="From Fit Picture, if the edited picture was made from what it gives."),
            ],
            outputs=[io.Image.Output(display_name="image", tooltip="The original with the edited part in it.")],
        )

    @classmethod
    def execute(cls, image, edited, grow, feather, colour, mask=None, frame: Frame | None = None) -> io.NodeOutput:
        _require_batch("edited", edited, len(image))
        size = tuple(image.shape[1:3])
        back = _back(edited, size, frame)
        if mask is None:
            return io.NodeOutput(kept_outside(image, back.expand(len(image), -1, -1, -1), image.new_ones(1, *size)))
        working = tuple(edited.shape[1:3]) if frame is None else frame.padded
        _require_size("mask", mask, [size, working])
        _require_batch("mask", mask, len(image))
        soft = faded_outwards(grown(mask, grow), feather)
        if tuple(mask.shape[1:]) != size:
            soft = resized_mask(soft, size) if frame is None else frame.take_out_mask(soft)
        back = back.expand(len(image), -1, -1, -1)
        if colour == AT_SEAM:
            back = matched_at_seam(image, back, soft)
        return io.NodeOutput(kept_outside(image, back, soft))


def _back(edited, size: tuple[int, int], frame: Frame | None):
    """The edited picture at the original's `size`."""
    if frame is not None:
        if frame.size != size:
            raise GraftError(
                f"frame: it is of a picture of {frame.size[1]} x {frame.size[0]} pixels, the image has {size[1]} x {size[0]}; "
                "connect the picture that went into Fit Picture"
            )
        return frame.take_out(resized(edited, frame.padded))
    (height, width), (edited_height, edited_width) = size, edited.shape[1:3]
    difference = edited_width * height / (edited_height * width)
    if max(difference, 1 / difference) > SAME_PROPORTIONS:
        raise GraftError(
            f"edited: it is {edited_width} x {edited_height} pixels, the image {width} x {height}, of other proportions; edit a picture from "
            "Fit Picture, and connect its frame"
        )
    return resized(edited, size)


def _require_size(name: str, mask, sizes: list[tuple[int, int]]) -> None:
    if tuple(mask.shape[1:]) not in sizes:
        wanted = " or ".join(f"{width} x {height}" for height, width in dict.fromkeys(sizes))
        raise GraftError(
            f"{name}: it is {mask.shape[2]} x {mask.shape[1]} pixels, the picture {wanted}; paint the mask on the picture itself, or scale it "
            "to that size"
        )


def _require_batch(name: str, given, pictures: int) -> None:
    if len(given) not in (1, pictures):
        raise GraftError(f"{name}: it holds {len(given)}, the image {pictures} pictures; they must agree, or {name} hold one")


NODES = [FitPicture, KeepOutsideMask]
