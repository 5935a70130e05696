"""Nodes that edit self-attention."""

from numbers import Real

from comfy_api.latest import io

from ..host.edits.composite_attention import CompositeAttention
from ..host.edits.key_value_mask import MaskKeysAndValues
from ..host.edits.reference_attention import ReferenceAttention
from ..host.edits.self_attention import ObjectWords, ReplaceKeysAndValues, ReplaceSelfAttention
from ..host.engine.plan import plan_of
from ..host.engine.queued import QueuedNode
from ..host.engine.run import carry_out
from ..host.engine.stream import Stream
from ..host.engine.windows import Window
from ..host.errors import GraftError
from ..host.families.layers import all_layers, coarse_layers, fine_decoder_layers, require_attention, require_unet
from .node import GraftNode
from .types import (
    QUARTER,
    SOURCE_PROMPT,
    TrajectoryType,
    chosen_layers,
    closed,
    layers_input,
    map_grid_input,
    map_layers,
    mask_on_layers_inputs,
    source_inputs,
    window_inputs,
)


class ReplaceSelfAttentionNode(GraftNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GraftReplaceSelfAttention",
            display_name="Replace Self-Attention",
            category="Graft/attention",
            description="Free-Prompt-Editing, and Prompt-to-Prompt's control of self-attention: the new picture attends to itself the way the "
            "source picture did, so that a new prompt keeps the source's layout and shapes. The source is a trajectory: of a real picture "
            "(Invert Image) or of a generation (Record Trajectory).",
            search_aliases=["free-prompt-editing", "FPE", "prompt-to-prompt", "self-attention injection", "keep layout"],
            inputs=[
                *source_inputs("The trajectory of the picture whose layout is kept.", SOURCE_PROMPT),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="How much of the source's attention is used. 0 switches the edit off.",
                ),
                *window_inputs(end=0.8),
                layers_input(
                    "2-12",
                    "paper: self-attention layers with at most a quarter of the latent's cells (11 of 16 in SD1.x and SD2.x, all 70 in SDXL). "
                    "all: every one; keeps more, and is right for pictures far smaller than 512 pixels. custom: layers by number, part or grid; in SDXL at 1024 pixels the coarser 60 are: quarter.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Where the new picture's content is free; outside it keeps the source's content as well as its layout. Not connected: free everywhere.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The model with the edit. Works with every sampler.")],
        )

    @classmethod
    def execute(cls, model, source, source_conditioning, strength, start_percent, end_percent, layers=None, mask=None) -> io.NodeOutput:
        network = require_attention(model)
        window = Window.of_percent(model, start_percent, end_percent)
        chosen = chosen_layers(network, layers, coarse_layers)
        if strength == 0 or window.empty:
            return io.NodeOutput(model)
        edit = ReplaceSelfAttention(Stream(source, source_conditioning), window, chosen, strength, mask)
        return io.NodeOutput(carry_out(model, plan_of(model).with_edit(edit)))


class ReplaceKeysAndValuesNode(GraftNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GraftReplaceKeysAndValues",
            display_name="Replace Keys and Values",
            category="Graft/attention",
            description="MasaCtrl: the new picture keeps its own layout and reads its content from the source picture, so that a new prompt can "
            "change the pose and keep the look. Where masks or words say which is the object in both pictures, object reads object and background "
            "reads background.",
            search_aliases=["MasaCtrl", "mutual self-attention", "KV replacement", "consistent character", "change pose"],
            inputs=[
                *source_inputs("The trajectory of the picture whose content is read.", SOURCE_PROMPT),
                *window_inputs(start=0.08, end=1.0),
                layers_input(
                    "10-15",
                    "paper: the decoder's self-attention layers with at least a quarter of the latent's cells (the last 6 of 16 in SD1.x and SD2.x, "
                    "the last 6 of 70 in SDXL). all: every one; keeps more of the source's layout too. custom: layers by number, part or grid.",
                ),
                io.Mask.Input(
                    "source_mask", optional=True, tooltip="The object in the source. Needs the object in the target too, by mask or words."
                ),
                io.Mask.Input(
                    "target_mask",
                    optional=True,
                    tooltip="Where the object will be in the new picture. Needs the object in the source too, by mask or words.",
                ),
                io.String.Input(
                    "source_words",
                    default="",
                    tooltip="Instead of a mask: words of the source's prompt that are the object, separated by commas; it is found where the model looks "
                    "for them. The prompt must come from Encode Prompt.",
                    optional=True,
                ),
                io.String.Input(
                    "target_words",
                    default="",
                    tooltip="Instead of a mask: words of the new prompt that are the object. The prompt must come from Encode Prompt.",
                    optional=True,
                ),
                io.Float.Input(
                    "threshold",
                    default=0.1,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="How strongly a place must be looked at to count as the words' place, from 0 to 1. Higher: a smaller object. 0.1 is the released "
                    "code's.",
                    optional=True,
                    advanced=True,
                ),
                map_grid_input(optional=True),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The model with the edit. Works with every sampler.")],
        )

    @classmethod
    def foresee(cls, node: QueuedNode) -> None:
        super().foresee(node)
        if closed(node.value("start_percent", Real), node.value("end_percent", Real)):
            return
        for picture, prompts in (("source", [node.words_of("source_conditioning")]), ("target", node.new_words())):
            if node.source(f"{picture}_mask") is None:
                node.require_words(f"{picture}_words", prompts)

    @classmethod
    def execute(
        cls,
        model,
        source,
        source_conditioning,
        start_percent,
        end_percent,
        layers=None,
        source_mask=None,
        target_mask=None,
        source_words="",
        target_words="",
        threshold=0.1,
        word_map_grid=QUARTER,
    ) -> io.NodeOutput:
        network = require_attention(model)
        window = Window.of_percent(model, start_percent, end_percent)
        chosen = chosen_layers(network, layers, fine_decoder_layers)
        pictures = (("source", source_mask, source_words), ("target", target_mask, target_words))
        known = [name for name, mask, words in pictures if mask is not None or words.strip()]
        if len(known) == 1:
            other = "target" if known == ["source"] else "source"
            raise GraftError(
                f"{other}_mask, {other}_words: where the object is has been said of the {known[0]} only; connect its mask or name its words in "
                "both pictures, or in none"
            )
        if window.empty:
            return io.NodeOutput(model)
        words = None
        if known and (
            source_mask is None or target_mask is None
        ):  # Masks do in every family; words are found in the cross-attention of UNets.
            network = require_unet(model, "Replace Keys and Values with masks")
            words = ObjectWords(source_words, target_words, threshold, map_layers(network, word_map_grid))
        edit = ReplaceKeysAndValues(Stream(source, source_conditioning), window, chosen, source_mask, target_mask, words)
        return io.NodeOutput(carry_out(model, plan_of(model).with_edit(edit)))


class MaskKeysAndValuesNode(GraftNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GraftMaskKeysAndValues",
            display_name="Mask Keys and Values",
            category="Graft/attention",
            description="FreeCompose: self-attention does not see what is under the mask, so that it is painted as its surroundings suggest. "
            "In a sampling run it suppresses an object there; Optimize Latent's removal does it by itself.",
            search_aliases=["FreeCompose", "object removal", "suppress object", "KV mask", "attention mask", "erase"],
            inputs=[
                io.Model.Input("model", tooltip="The model that will sample the picture."),
                io.Mask.Input("mask", tooltip="What is not to be seen, painted on the picture that is sampled."),
                *mask_on_layers_inputs(),
                *window_inputs(end=1.0),
                layers_input(
                    "10-15",
                    "paper: the decoder's self-attention layers with at least a quarter of the latent's cells (the last 6 of 16 in SD1.x and SD2.x, "
                    "the last 6 of 70 in SDXL). all: every one; suppresses more. custom: layers by number, part or grid.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The model with the edit. Works with every sampler.")],
        )

    @classmethod
    def execute(cls, model, mask, mask_threshold, interpolation, start_percent, end_percent, layers=None) -> io.NodeOutput:
        network = require_attention(model)
        window = Window.of_percent(model, start_percent, end_percent)
        chosen = chosen_layers(network, layers, fine_decoder_layers)
        if window.empty:
            return io.NodeOutput(model)
        edit = MaskKeysAndValues(mask, window, chosen, mask_threshold, interpolation)
        return io.NodeOutput(carry_out(model, plan_of(model).with_edit(edit)))


class ReferenceAttentionNode(GraftNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GraftReferenceAttention",
            display_name="Reference Attention",
            category="Graft/attention",
            description="SpecRef: a part of the new picture takes its look from a reference picture. The part is where the model looks for the "
            "words you name, or a mask. Works best where the reference's object and the edited one have similar place, size and shape.",
            search_aliases=["SpecRef", "SR-attn", "reference image", "style of an object", "appearance", "reference only"],
            inputs=[
                io.Model.Input("model", tooltip="The model that will sample the new picture."),
                TrajectoryType.Input(
                    "reference", tooltip="The trajectory of the reference picture, from Invert Image with the empty prompt."
                ),
                io.Conditioning.Input("reference_conditioning", tooltip="The prompt the reference was inverted with: the empty prompt."),
                io.String.Input(
                    "target_words",
                    default="",
                    tooltip="Words of the new prompt that take the reference's look, separated by commas. Empty, and without target_mask: the whole picture does. "
                    "The new prompt must come from Encode Prompt.",
                ),
                io.Float.Input(
                    "threshold",
                    default=0.5,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="How strongly a place must be looked at to count as the words' place, from 0 to 1. Lower: a larger part of the picture changes. Masks are cut at it too.",
                ),
                io.Combo.Input(
                    "interpolation",
                    options=["bilinear", "nearest", "area"],
                    default="bilinear",
                    tooltip="How masks and maps are brought to the size of a layer. area: the part of a cell that a mask covers, so that small things are "
                    "not missed.",
                    advanced=True,
                ),
                *window_inputs(start=0.08, end=1.0),
                layers_input(
                    "10-15",
                    "paper: the decoder's self-attention layers with at least a quarter of the latent's cells (the last 6 of 16 in SD1.x and SD2.x, "
                    "the last 6 of 70 in SDXL). all: every one. custom: layers by number, part or grid.",
                ),
                map_grid_input(),
                io.Mask.Input("reference_mask", optional=True, tooltip="What is seen of the reference. Not connected: all of it."),
                io.Mask.Input(
                    "target_mask", optional=True, tooltip="What takes the reference's look in the new picture; goes before the words."
                ),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The model with the edit. Works with every sampler.")],
        )

    @classmethod
    def foresee(cls, node: QueuedNode) -> None:
        super().foresee(node)
        if node.source("target_mask") is None and not closed(node.value("start_percent", Real), node.value("end_percent", Real)):
            node.require_words("target_words", node.new_words())

    @classmethod
    def execute(
        cls,
        model,
        reference,
        reference_conditioning,
        target_words,
        threshold,
        interpolation,
        start_percent,
        end_percent,
        word_map_grid,
        layers=None,
        reference_mask=None,
        target_mask=None,
    ) -> io.NodeOutput:
        network = require_unet(model, "Replace Keys and Values")
        edit = ReferenceAttention(
            stream=Stream(reference, reference_conditioning, "as inverted", "reference"),
            window=Window.of_percent(model, start_percent, end_percent),
            layers=chosen_layers(network, layers, fine_decoder_layers),
            target_words=target_words,
            map_layers=map_layers(network, word_map_grid),
            threshold=threshold,
            interpolation=interpolation,
            reference_mask=reference_mask,
            target_mask=target_mask,
        )
        if edit.window.empty:
            return io.NodeOutput(model)
        return io.NodeOutput(carry_out(model, plan_of(model).with_edit(edit)))


COMPOSITE_MODES = {"intended": "intended", "light": "light", "released code": "released"}
"""Names of the modes in the UI."""


class CompositeAttentionNode(GraftNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GraftCompositeAttention",
            display_name="Composite Attention",
            category="Graft/attention",
            description="TF-ICON: the new picture attends as the main picture does outside the region and as the reference does on its object, so that "
            "both keep their layout while the object is painted in the main picture's style.",
            search_aliases=["TF-ICON", "composite self-attention", "image composition", "cross-domain composition", "insert object"],
            inputs=[
                io.Model.Input("model", tooltip="The model that will sample the composition."),
                TrajectoryType.Input("main", tooltip="The main picture's trajectory, as for Compose Noise."),
                TrajectoryType.Input(
                    "reference", tooltip="The trajectory of Place Reference's placed_reference, made with the same sigmas."
                ),
                io.Conditioning.Input(
                    "conditioning",
                    tooltip="The prompt both pictures were inverted with: in the paper the exceptional prompt, from Exceptional Prompt.",
                ),
                io.Mask.Input("object_mask", tooltip="Where the object will be, from Place Reference."),
                io.Mask.Input("region", tooltip="Where the placed reference lies, from Place Reference."),
                io.Float.Input(
                    "end_percent",
                    default=0.4,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="tau_A: the part of the steps that attend so, from the noisiest on. More keeps more of the reference's drawing, less lets "
                    "the object follow the prompt and the main picture's style.",
                ),
                io.Combo.Input(
                    "mode",
                    options=list(COMPOSITE_MODES),
                    default="intended",
                    tooltip="intended: the paper's maps. light: one ordinary attention of composed queries and keys, faster and nearly the same. "
                    "released code: as the official code computes it, with a third row for its cross pass; for comparison.",
                    advanced=True,
                ),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The model with the edit. Works with every sampler.")],
        )

    @classmethod
    def execute(cls, model, main, reference, conditioning, object_mask, region, end_percent, mode) -> io.NodeOutput:
        network = require_unet(model, "Replace Self-Attention, or edit by prompt with Optimize Latent,")
        if end_percent == 0:
            return io.NodeOutput(model)
        edit = CompositeAttention(
            main=Stream(main, conditioning, name="main", prompt_name="conditioning"),
            reference=Stream(reference, conditioning, name="reference", prompt_name="conditioning"),
            object_mask=object_mask,
            region=region,
            end=end_percent,
            layers=all_layers(network),
            mode=COMPOSITE_MODES[mode],
        )
        return io.NodeOutput(carry_out(model, plan_of(model).with_edit(edit)))


NODES = [ReplaceSelfAttentionNode, ReplaceKeysAndValuesNode, MaskKeysAndValuesNode, ReferenceAttentionNode, CompositeAttentionNode]
