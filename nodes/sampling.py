"""Nodes that sample."""

from comfy_api.latest import io

from ..host.sampling import GraftSampler
from .types import SOLVERS


class GraftSamplerNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GraftSampler",
            display_name="Graft Sampler",
            category="Graft/sampling",
            description="A deterministic sampler that runs the solvers of Invert Image in the other direction, so that an inverted picture is "
            "retraced step by step.",
            search_aliases=["ddim", "dpm++ 2m", "dpm-solver++", "deterministic sampler"],
            inputs=[
                io.Combo.Input(
                    "solver",
                    options=list(SOLVERS),
                    default="DDIM",
                    tooltip="DDIM retraces a DDIM inversion step by step. DPM-Solver++ 2M needs fewer steps.",
                )
            ],
            outputs=[io.Sampler.Output(display_name="sampler", tooltip="Connect to SamplerCustom or SamplerCustomAdvanced.")],
        )

    @classmethod
    def execute(cls, solver: str) -> io.NodeOutput:
        return io.NodeOutput(GraftSampler(SOLVERS[solver]))


NODES = [GraftSamplerNode]
