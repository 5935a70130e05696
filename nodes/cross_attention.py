"""Nodes that edit cross-attention: what words are looked at where."""

from numbers import Real

from comfy_api.latest import io

from ..attention.alignment import replacement
from ..attention.words import parse_numbers, parse_windows
from ..host.edits.cross_attention import CrossAttentionControl
from ..host.engine.plan import plan_of
from ..host.engine.queued import QueuedNode
from ..host.engine.run import carry_out
from ..host.engine.stream import Stream
from ..host.engine.windows import Window
from ..host.families.layers import require_unet
from .node import GraftNode
from .types import SOURCE_WORDS, closed, source_inputs, window_inputs

ALIGNMENTS = {"corrected": False, "as released": True}


class CrossAttentionControlNode(GraftNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GraftCrossAttentionControl",
            display_name="Cross-Attention Control",
            category="Graft/attention",
            description="Prompt-to-Prompt: the words that the new prompt shares with the source's are looked at where the source looked at them, so "
            "that only what the new words say changes. Encode both prompts with Encode Prompt.",
            search_aliases=["prompt-to-prompt", "P2P", "word swap", "refine", "reweight", "attention map", "cross-attention"],
            inputs=[
                *source_inputs("The trajectory of the source picture.", SOURCE_WORDS),
                io.Combo.Input(
                    "mode",
                    options=["refine", "replace"],
                    default="refine",
                    tooltip="refine: words that both prompts share keep the source's places, new words find their own. "
                    "replace: every word takes the place of the source's word at its position; both prompts need as many words.",
                ),
                *window_inputs(end=0.8),
                io.String.Input(
                    "word_weights",
                    default="",
                    tooltip="Words of the new prompt that shall count more or less (reweight), for example: flowers: 2, vase: 0.5. Negative numbers suppress.",
                ),
                io.String.Input(
                    "word_windows",
                    default="",
                    tooltip="Words of the new prompt with a start and an end of their own, for example: dog: 0.4, red hat: 0.1-0.6.",
                    advanced=True,
                ),
                io.Combo.Input(
                    "alignment",
                    options=list(ALIGNMENTS),
                    default="corrected",
                    tooltip="as released: keeps the published code's misalignment of the words that follow one of unequal length."
                    " corrected: where the source's prompt is longer, the padding of the new one keeps a map of its own, not that of the word that stood there.",
                    advanced=True,
                ),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The model with the edit. Works with every sampler.")],
        )

    @classmethod
    def foresee(cls, node: QueuedNode) -> None:
        super().foresee(node)
        weights, windows = (node.value(name, str) for name in ("word_weights", "word_windows"))
        if closed(node.value("start_percent", Real), node.value("end_percent", Real)) and not windows:
            return
        source, targets = node.words_of("source_conditioning"), node.new_words()
        for target in targets:
            for written, name, parse in ((weights, "word_weights", parse_numbers), (windows, "word_windows", parse_windows)):
                target.find_each(parse(written or "", name), name)
            if source is not None and node.value("mode", str) == "replace":
                replacement(source, target)

    @classmethod
    def execute(
        cls, model, source, source_conditioning, mode, start_percent, end_percent, word_weights, word_windows, alignment
    ) -> io.NodeOutput:
        require_unet(model, "Replace Self-Attention")
        weights, windows = parse_numbers(word_weights, "word_weights"), parse_windows(word_windows, "word_windows")
        if Window.of_percent(model, start_percent, end_percent).empty and not windows:
            return io.NodeOutput(model)
        edit = CrossAttentionControl(
            Stream(source, source_conditioning), mode, (start_percent, end_percent), windows, weights, ALIGNMENTS[alignment]
        )
        return io.NodeOutput(carry_out(model, plan_of(model).with_edit(edit)))


NODES = [CrossAttentionControlNode]
