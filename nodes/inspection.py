"""Nodes that show what a model does."""

from comfy_api.latest import io

from ..host.engine.pictures import decode
from ..host.engine.queued import QueuedNode
from ..host.families.layers import require_unet
from ..host.inspection.attention_record import generate_and_record
from ..host.inspection.heat_maps import heat_maps, layers_by_steps
from .node import GraftNode
from .types import map_grid_input, map_layers


class ShowAttention(GraftNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GraftShowAttention",
            display_name="Show Attention",
            category="Graft/inspect",
            description="Samples like SamplerCustomAdvanced and shows where every word was looked at, edits included: why an edit went where it "
            "went. The positive prompt must come from Encode Prompt.",
            search_aliases=["attention map", "heat map", "DAAM", "cross-attention", "visualise attention", "word map"],
            inputs=[
                io.Noise.Input("noise", tooltip="As for SamplerCustomAdvanced."),
                io.Guider.Input("guider", tooltip="As for SamplerCustomAdvanced; its model may carry any edits."),
                io.Sampler.Input("sampler", tooltip="As for SamplerCustomAdvanced."),
                io.Sigmas.Input("sigmas", tooltip="As for SamplerCustomAdvanced."),
                io.Latent.Input("latent_image", tooltip="As for SamplerCustomAdvanced."),
                io.Vae.Input("vae", tooltip="Decodes the picture that the heat maps are laid over."),
                io.String.Input("words", default="", tooltip="Words of the positive prompt, separated by commas. Empty: all of them."),
                map_grid_input(),
            ],
            outputs=[
                io.Latent.Output(display_name="latent", tooltip="The sampled latent."),
                io.Image.Output(display_name="image", tooltip="The sampled picture."),
                io.Image.Output(
                    display_name="heat_maps",
                    tooltip="One per word, over the picture: the mean over all steps at the chosen grid. Below it the word, the noise levels, and what "
                    "share of the attention the darkest and the brightest place gave to the word; every map has its own scale. Pictures narrower than "
                    "256 pixels are enlarged.",
                ),
                io.Image.Output(
                    display_name="layers_by_steps",
                    tooltip="One page per word: a row for every layer, a column for every step (ten at most) with its noise level, as sigma and in "
                    "percent of the run. Every square has its own scale: the share of the attention below it is that of its brightest cell.",
                ),
            ],
        )

    @classmethod
    def foresee(cls, node: QueuedNode) -> None:
        super().foresee(node)
        guider = node.source("guider")
        if guider is not None:
            node.require_words("words", [guider[0].words_of("positive")])

    @classmethod
    def execute(cls, noise, guider, sampler, sigmas, latent_image, vae, words, word_map_grid) -> io.NodeOutput:
        layers = map_layers(require_unet(guider.model_patcher), word_map_grid)
        latent, record = generate_and_record(guider, noise, latent_image, sampler, sigmas, words)
        image = decode(vae, latent["samples"])
        sampling = guider.model_patcher.get_model_object("model_sampling")
        return io.NodeOutput(latent, image, heat_maps(record, layers, image, sampling), layers_by_steps(record, sampling))


NODES = [ShowAttention]
