"""Nodes that encode prompts."""

from comfy_api.latest import io

from ..host.engine.exceptional_prompt import encode_exceptional_prompt
from ..host.engine.prompts import PROMPTS_KEY, encode_prompt
from .node import GraftNode


class EncodePrompt(GraftNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GraftEncodePrompt",
            display_name="Encode Prompt",
            category="Graft/prompts",
            description="Encodes a prompt as CLIP Text Encode does and remembers which tokens its words are made of, for nodes that "
            "edit the attention to a word. For SD1.x, SD2.x and SDXL.",
            search_aliases=["prompt", "text encode", "CLIP text encode", "prompt words", "tokens", "Prompt-to-Prompt"],
            inputs=[
                io.Clip.Input("clip", tooltip="The text encoder of the checkpoint."),
                io.String.Input(
                    "text",
                    multiline=True,
                    dynamic_prompts=True,
                    tooltip="The prompt. Weights such as (word:1.2) and embedding:name work as usual.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(display_name="conditioning", tooltip="The encoded prompt. Works wherever a conditioning does."),
                io.String.Output(
                    display_name="words",
                    tooltip="The words that other nodes can name, one per line, with the numbers of their tokens; the start token is 0.",
                ),
            ],
        )

    @classmethod
    def execute(cls, clip, text) -> io.NodeOutput:
        conditioning = encode_prompt(clip, text)
        prompt = conditioning[0][1][PROMPTS_KEY][0]
        return io.NodeOutput(conditioning, prompt.listing())


class ExceptionalPrompt(GraftNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GraftExceptionalPrompt",
            display_name="Exceptional Prompt",
            category="Graft/prompts",
            description="A prompt that says nothing at all, not even which token comes first: the picture is inverted by its looks alone. "
            "TF-ICON inverts and samples its pictures with it. For SD1.x, SD2.x and SDXL.",
            search_aliases=["TF-ICON", "prompt", "text encode", "inversion prompt", "null prompt", "empty prompt"],
            inputs=[io.Clip.Input("clip", tooltip="The text encoder of the checkpoint.")],
            outputs=[
                io.Conditioning.Output(
                    display_name="conditioning",
                    tooltip="The same vector for every token. For Invert Image and for the streams of the trajectory it makes; use it without guidance.",
                )
            ],
        )

    @classmethod
    def execute(cls, clip) -> io.NodeOutput:
        return io.NodeOutput(encode_exceptional_prompt(clip))


NODES = [EncodePrompt, ExceptionalPrompt]
