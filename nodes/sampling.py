"""Nodes that sample, and their schedules."""

from comfy_api.latest import io

from ..host.engine.features import MIB, with_kept_features
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


class KeepFeatures(GraftNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GraftKeepFeatures",
            display_name="Keep Features",
            category="Graft/sampling",
            description="Runs an edit faster the next time: what the model showed of the source pictures is kept, so that a turned knob, another "
            "seed or another prompt samples the new picture alone. The results are the same to the bit. Put it before the editing nodes.",
            search_aliases=["feature cache", "cache streams", "faster edits", "run again", "speed"],
            inputs=[
                io.Model.Input("model", tooltip="The model that the editing nodes go on with."),
                io.Combo.Input(
                    "where",
                    options=["host memory", "device", "off"],
                    default="host memory",
                    tooltip="Where features are kept. host memory: the computer's own, copied beside the work. device: the graphics card's, which "
                    "the model then has less of. off keeps nothing.",
                ),
                io.Int.Input(
                    "budget",
                    default=4096,
                    min=1,
                    max=1048576,
                    tooltip="How much may be kept, in MiB. Of a run that does not fit, as many steps as fit. The console says what is kept.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The model, whose edits keep what they look at.")],
        )

    @classmethod
    def execute(cls, model, where: str, budget: int) -> io.NodeOutput:
        return io.NodeOutput(model if where == "off" else with_kept_features(model, where, budget * MIB))


NODES = [GraftSamplerNode, UniformTimeScheduler, KeepFeatures]
