"""Nodes that sample, and their schedules."""

from comfy_api.latest import io

from ..host.samplers.sampling import GraftSampler
from ..host.samplers.schedules import uniform_time_sigmas
from .node import GraftNode
from .types import SOLVERS


class GraftSamplerNode(GraftNode):
    SERVES = GraftSampler.serves

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GraftSampler",
            display_name="Graft Sampler",
            category="Graft/sampling",
            description="A deterministic sampler that runs the solvers of Invert Image in the other direction, so that an inverted picture is "
            "retraced step by step. Nodes that change the latent between steps need it.",
            search_aliases=["ddim", "dpm++ 2m", "dpm-solver++", "deterministic sampler"],
            inputs=[
                io.Combo.Input(
                    "solver",
                    options=list(SOLVERS),
                    default="DDIM",
                    tooltip="DDIM retraces a DDIM inversion step by step; it is euler. DPM-Solver++ 2M needs fewer steps. Midpoint is for flow models that were "
                    "inverted with it; it asks the model between the noise levels.",
                )
            ],
            outputs=[io.Sampler.Output(display_name="sampler", tooltip="Connect to SamplerCustom or SamplerCustomAdvanced.")],
        )

    @classmethod
    def execute(cls, solver: str) -> io.NodeOutput:
        return io.NodeOutput(GraftSampler(SOLVERS[solver]))


class UniformTimeScheduler(GraftNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GraftUniformTimeScheduler",
            display_name="Uniform Time Scheduler",
            category="Graft/sampling",
            description="TF-ICON's schedule: even steps in the model's time that end at its lowest noise level instead of at none, so that "
            "DPM-Solver++ inverts a picture from its first step on.",
            search_aliases=["TF-ICON", "scheduler", "sigmas", "time uniform", "dpm-solver"],
            inputs=[
                io.Model.Input("model", tooltip="The model that will sample."),
                io.Int.Input("steps", default=20, min=1, max=1000, tooltip="Number of steps. 20 is the paper's."),
            ],
            outputs=[io.Sigmas.Output(display_name="sigmas", tooltip="For Invert Image, and for the sampler that runs the edit.")],
        )

    @classmethod
    def execute(cls, model, steps: int) -> io.NodeOutput:
        return io.NodeOutput(uniform_time_sigmas(model, steps))


NODES = [GraftSamplerNode, UniformTimeScheduler]
