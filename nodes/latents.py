"""Nodes that work on the latent between steps."""

from numbers import Real

from comfy_api.latest import io

from ..host.edits.background_preservation import BackgroundPreservation
from ..host.edits.composition import released_window
from ..host.edits.local_blend import BlendWords, LocalBlend
from ..host.engine.plan import plan_of
from ..host.engine.queued import QueuedNode
from ..host.engine.run import carry_out
from ..host.engine.stream import Stream
from ..host.engine.windows import Window
from ..host.errors import GraftError
from ..host.families.layers import require_unet
from .node import GraftNode
from .types import SOURCE_WORDS, TrajectoryType, closed, map_grid_input, map_layers, soft_edged, source_inputs, window_inputs


class LocalBlendNode(GraftNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GraftLocalBlend",
            display_name="Local Blend",
            category="Graft/latents",
            description="Keeps the source picture outside the part that may change. The part is where the model looks for the words you name, in the "
            "source or in the new picture, or a mask. Needs the Graft Sampler.",
            search_aliases=["local blend", "prompt-to-prompt", "keep background", "preserve background", "masked edit"],
            inputs=[
                *source_inputs("The trajectory of the source picture.", SOURCE_WORDS),
                io.String.Input(
                    "source_words",
                    default="",
                    tooltip="Words of the source's prompt whose place may change, separated by commas.",
                ),
                io.String.Input(
                    "target_words",
                    default="",
                    tooltip="Words of the new prompt whose place may change, separated by commas.",
                ),
                io.Float.Input(
                    "threshold",
                    default=0.3,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Part of a word's highest attention from which a place counts as the word's. Lower: more may change.",
                ),
                io.String.Input(
                    "subtract_source_words",
                    default="",
                    tooltip="Words of the source's prompt whose place stays as it is all the same.",
                    advanced=True,
                ),
                io.String.Input(
                    "subtract_target_words",
                    default="",
                    tooltip="Words of the new prompt whose place stays as it is all the same.",
                    advanced=True,
                ),
                io.Float.Input(
                    "subtract_threshold",
                    default=0.3,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="The threshold of the words that are subtracted.",
                    advanced=True,
                ),
                *window_inputs(start=0.2, end=1.0),
                io.Combo.Input(
                    "background",
                    options=["the source's own step", "the source's trajectory"],
                    default="the source's own step",
                    tooltip="What stands outside: the source sampled one guided step on from its trajectory, as in the paper, or its trajectory itself, "
                    "which keeps the picture exactly and saves a row per step.",
                    advanced=True,
                ),
                map_grid_input(),
                io.Mask.Input("mask", optional=True, tooltip="What may change; goes before the words. May be soft."),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The model with the blend. Sample it with Graft Sampler.")],
        )

    @classmethod
    def foresee(cls, node: QueuedNode) -> None:
        super().foresee(node)
        masked = node.source("mask") is not None
        if not masked:
            _require_a_place(node.value("source_words", str), node.value("target_words", str))
        if closed(node.value("start_percent", Real), node.value("end_percent", Real)):
            return
        node.require_turn("step")
        if not masked:
            for name in ("source_words", "subtract_source_words"):
                node.require_words(name, [node.words_of("source_conditioning")])
            for name in ("target_words", "subtract_target_words"):
                node.require_words(name, node.new_words())

    @classmethod
    def execute(
        cls,
        model,
        source,
        source_conditioning,
        source_words,
        target_words,
        threshold,
        subtract_source_words,
        subtract_target_words,
        subtract_threshold,
        start_percent,
        end_percent,
        background,
        word_map_grid,
        mask=None,
    ) -> io.NodeOutput:
        window = Window.of_percent(model, start_percent, end_percent)
        if mask is None:
            _require_a_place(source_words, target_words)
        if window.empty:
            return io.NodeOutput(model)
        words = None
        if mask is None:  # Masks do in every family; words are found in the cross-attention of UNets.
            words = BlendWords(
                source=source_words,
                target=target_words,
                subtract_source=subtract_source_words,
                subtract_target=subtract_target_words,
                threshold=threshold,
                subtract_threshold=subtract_threshold,
                map_layers=map_layers(require_unet(model, "Local Blend with a mask"), word_map_grid),
            )
        blend = LocalBlend(Stream(source, source_conditioning), window, words, mask, background)
        return io.NodeOutput(carry_out(model, plan_of(model).with_edit(blend)))


PRESERVATION_MODES = {"every step": "every step", "released code": "released"}
"""Names of the modes in the UI."""


def _require_a_place(*words: str | None) -> None:
    """Raises `GraftError` where no word is named; None is a text that only a run can tell."""
    if all(text is not None and not text.strip() for text in words):
        raise GraftError("source_words, target_words: nothing says what may change; name words, or connect a mask")


class BackgroundPreservationNode(GraftNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GraftBackgroundPreservation",
            display_name="Background Preservation",
            category="Graft/latents",
            description="TF-ICON: outside the region the main picture's own latents stand after every step, until the last part of the steps blends the "
            "seam. Needs the Graft Sampler.",
            search_aliases=["TF-ICON", "keep background", "preserve background", "latent blending", "masked sampling"],
            inputs=[
                io.Model.Input("model", tooltip="The model that will sample the composition."),
                TrajectoryType.Input("main", tooltip="The main picture's trajectory."),
                io.Mask.Input(
                    "region",
                    tooltip="What may change. Place Reference's region is the paper's rectangle; its object_mask keeps the main picture up to the "
                    "object's outline, but leaves no room for a shadow.",
                ),
                io.Float.Input(
                    "end_percent",
                    default=0.8,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="tau_B: the part of the steps that keep the background, from the noisiest on. 1 keeps it to the end, exactly; less lets the "
                    "last steps blend the seam.",
                ),
                io.Int.Input(
                    "feather",
                    default=0,
                    min=0,
                    max=256,
                    tooltip="Pixels over which the region's edge is soft, inwards.",
                    advanced=True,
                ),
                io.Combo.Input(
                    "mode",
                    options=list(PRESERVATION_MODES),
                    default="every step",
                    tooltip="every step: the model looks at the main picture's background in every step. released code: as the official code, which "
                    "blends a latent only after the model has looked at it, and the predictions of the first two steps instead of their latents; with "
                    "Composite Attention's mode of that name it makes the official picture. Needs DPM-Solver++ 2M; for comparison.",
                    optional=True,
                    advanced=True,
                ),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The model with the step operator. Sample it with Graft Sampler.")],
        )

    @classmethod
    def foresee(cls, node: QueuedNode) -> None:
        super().foresee(node)
        if not closed(0.0, node.value("end_percent", Real)):
            node.require_turn("step")

    @classmethod
    def execute(cls, model, main, region, end_percent, feather, mode="every step") -> io.NodeOutput:
        if end_percent == 0:
            return io.NodeOutput(model)
        released = PRESERVATION_MODES[mode] == "released"
        window = released_window(main, end_percent) if released else Window.of_percent(model, 0.0, end_percent)
        edit = BackgroundPreservation(main, window, soft_edged("region", region, (feather + 1) // 2), PRESERVATION_MODES[mode])
        return io.NodeOutput(carry_out(model, plan_of(model).with_edit(edit)))


NODES = [LocalBlendNode, BackgroundPreservationNode]
