"""Nodes that edit attention."""

from comfy_api.latest import io

from ..host.errors import GraftError
from ..host.layers import Layers, all_layers, coarse_layers, layer_range, require_unet
from ..host.plan import Stream, plan_of
from ..host.run import carry_out
from ..host.self_attention import ReplaceSelfAttention
from ..host.windows import Window
from .types import TrajectoryType, window_inputs


class ReplaceSelfAttentionNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GraftReplaceSelfAttention",
            display_name="Replace Self-Attention",
            category="Graft/attention",
            description="Free-Prompt-Editing: the new picture attends to itself the way the source picture did, so that a new prompt keeps "
            "the source's layout and shapes. The source is a trajectory: of a real picture (Invert Image) or of a generation (Record Trajectory).",
            search_aliases=["free-prompt-editing", "FPE", "prompt editing", "self-attention injection", "keep layout"],
            inputs=[
                io.Model.Input("model", tooltip="The model that will sample the new picture."),
                TrajectoryType.Input("source", tooltip="The trajectory of the picture whose layout is kept."),
                io.Conditioning.Input(
                    "source_conditioning",
                    tooltip="The prompt the trajectory was made with: the empty prompt for an inverted picture, its own prompt for a recorded generation.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="How much of the source's attention is used. 0 switches the edit off.",
                    advanced=True,
                ),
                *window_inputs(end=0.8),
                io.DynamicCombo.Input(
                    "layers",
                    options=[
                        io.DynamicCombo.Option("paper", []),
                        io.DynamicCombo.Option("all", []),
                        io.DynamicCombo.Option(
                            "range",
                            [
                                io.Int.Input(
                                    "first_layer",
                                    default=2,
                                    min=0,
                                    max=200,
                                    tooltip="First self-attention layer, counted from 0 in the order of execution.",
                                ),
                                io.Int.Input("last_layer", default=12, min=0, max=200, tooltip="Last self-attention layer, included."),
                            ],
                        ),
                    ],
                    tooltip="paper: self-attention layers with at most a quarter of the latent's cells (11 of 16 in SD1.x and SD2.x, all 70 in SDXL). "
                    "all: every one; keeps more, and is right for pictures far smaller than 512 pixels. range: layers by number; in SDXL at 1024 pixels the coarser 60 are 4 to 63.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The model with the edit. Works with every sampler.")],
        )

    @classmethod
    def execute(cls, model, source, source_conditioning, strength, start_percent, end_percent, layers=None) -> io.NodeOutput:
        network = require_unet(model)
        window = Window.of_percent(model, start_percent, end_percent)
        selection = _selected(network, layers or {"layers": "paper"})
        if strength == 0 or window.empty:
            return io.NodeOutput(model)
        edit = ReplaceSelfAttention(Stream(source, source_conditioning), window, selection, strength)
        return io.NodeOutput(carry_out(model, plan_of(model).with_edit(edit)))


def _selected(network, layers: dict) -> Layers:
    match layers["layers"]:
        case "paper":
            return coarse_layers(network)
        case "all":
            return all_layers(network)
        case "range":
            return layer_range(network, layers["first_layer"], layers["last_layer"])
    raise GraftError(f"layers: {layers['layers']!r} is not one of paper, all, range")


NODES = [ReplaceSelfAttentionNode]
