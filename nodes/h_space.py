"""Nodes of h-space, the UNet's bottleneck: InjectFusion."""

from numbers import Real

from comfy_api.latest import io

from ..host.edits.h_space import MixHSpace
from ..host.engine.plan import plan_of
from ..host.engine.queued import QueuedNode
from ..host.engine.run import carry_out
from ..host.engine.stream import Stream
from ..host.families.layers import require_bottleneck
from ..host.models import pixel_diffusion
from ..host.samplers.asymmetric_sampler import AsymmetricSampler, Intervals
from ..host.samplers.sampling import record
from ..hspace.schedules import COURSES
from ..hspace.slerp import MIXINGS
from .inversion import RecordTrajectory
from .node import GraftNode
from .types import TrajectoryType

CATEGORY = "Graft/h-space"

GAMMAS = {"paper": 0.6, "released": 0.3, "released, artistic original": 0.4}
"""Shares of content by preset. The paper's goes with its calibration, the released code's with none."""

PROCESSES = {
    "paper": {"edit_timestep": 400, "boost_timestep": 200, "omega": 0.3, "regularise": True},
    "released": {"edit_timestep": 400, "boost_timestep": 200, "omega": 0.0, "regularise": True},
    "released, artistic original": {"edit_timestep": 400, "boost_timestep": 0, "omega": 0.0, "regularise": True},
}
"""The Asymmetric Sampler's presets, of the same names."""


class MixHSpaceNode(GraftNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        gamma = io.Float.Input(
            "gamma",
            default=0.6,
            min=0.0,
            max=1.0,
            step=0.01,
            tooltip="Share of the content's h at every injection. 0 switches the node off; above 0.6 or so pictures get distorted and no closer to "
            "the content.",
        )
        return io.Schema(
            node_id="GraftMixHSpace",
            display_name="Mix h-Space",
            category=CATEGORY,
            description="InjectFusion: the content of one picture in the look of another. The sampled picture keeps its colours and textures and takes "
            "shapes from the content, through the UNet's bottleneck. Needs the Asymmetric Sampler.",
            search_aliases=["InjectFusion", "DiffStyle", "h-space", "content injection", "style transfer", "slerp", "asyrp"],
            inputs=[
                io.Model.Input("model", tooltip="The model that will sample the original, from its own inverted noise or from any noise."),
                TrajectoryType.Input(
                    "content", tooltip="The picture whose content is injected: inverted, or recorded as it was generated."
                ),
                io.Conditioning.Input("content_conditioning", tooltip="The prompt the content's trajectory was made with."),
                io.DynamicCombo.Input(
                    "preset",
                    options=[*(io.DynamicCombo.Option(name, []) for name in GAMMAS), io.DynamicCombo.Option("custom", [gamma])],
                    tooltip="How much content. paper: gamma 0.6, for the Asymmetric Sampler's preset of that name; released: 0.3, the released code's, "
                    "0.4 for paintings; custom: a number of your own, the knob of this method.",
                ),
                io.Boolean.Input(
                    "adapt_to_steps",
                    default=True,
                    tooltip="The presets are meant for 30 injections, as 50 steps make. For fewer, gamma rises so that as much is injected, to 0.7 at most.",
                    advanced=True,
                ),
                io.Combo.Input(
                    "course",
                    options=list(COURSES),
                    default="constant",
                    tooltip="How gamma changes from noise to picture, at the same total. decreasing and cosine: more natural, less of the content; "
                    "increasing: more of the content, more artefacts.",
                    advanced=True,
                ),
                io.Combo.Input(
                    "mixing",
                    options=list(MIXINGS),
                    default="slerp",
                    tooltip="slerp keeps the norm of h and is the method; lerp and replace are what the paper compares it with.",
                    advanced=True,
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Where content is injected, at the same place in both pictures. May be soft. A cell of h covers 64 pixels in SD1.x, 32 in "
                    "SDXL and in pixel models of 256 pixels.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The model with the edit. Sample it with the Asymmetric Sampler.")],
        )

    @classmethod
    def foresee(cls, node: QueuedNode) -> None:
        super().foresee(node)
        if node.value("preset", str) in GAMMAS or node.value("preset.gamma", Real):
            node.require_turn("h")

    @classmethod
    def execute(cls, model, content, content_conditioning, preset, adapt_to_steps, course, mixing, mask=None) -> io.NodeOutput:
        require_bottleneck(model)
        gamma = preset["gamma"] if preset["preset"] == "custom" else GAMMAS[preset["preset"]]
        if gamma == 0:
            return io.NodeOutput(model)
        stream = Stream(content, content_conditioning, name="content")
        edit = MixHSpace(stream, gamma, mixing, course, adapt_to_steps, mask)
        return io.NodeOutput(carry_out(model, plan_of(model).with_edit(edit)))


class RecordContent(RecordTrajectory):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = super().define_schema()
        schema.node_id, schema.display_name, schema.category = "GraftRecordContent", "Record Content", CATEGORY
        schema.description = (
            "Generates a picture as SamplerCustomAdvanced does and keeps, with its trajectory, the bottleneck of the UNet in every step, so that "
            "Mix h-Space need not compute it again. For content that was inverted Invert Image's trajectory is enough."
        )
        schema.search_aliases = ["InjectFusion", "h-space", "record", "content"]
        return schema

    @classmethod
    def execute(cls, noise, guider, sampler, sigmas, latent_image) -> io.NodeOutput:
        latent, trajectory = record(guider, noise, latent_image, sampler, sigmas, bottlenecks=True)
        return io.NodeOutput(trajectory, latent)


class AsymmetricSamplerNode(GraftNode):
    SERVES = AsymmetricSampler.serves

    @classmethod
    def define_schema(cls) -> io.Schema:
        custom = [
            io.Int.Input(
                "edit_timestep",
                default=400,
                min=1,
                max=999,
                tooltip="Content is injected from 999, the noisiest, down to this timestep. Lower: more content.",
            ),
            io.Int.Input(
                "boost_timestep",
                default=200,
                min=0,
                max=998,
                tooltip="From this timestep on fresh noise is added in every step, which sharpens details. 0 for paintings and other pictures "
                "unlike those the model was trained on.",
            ),
            io.Float.Input(
                "omega",
                default=0.3,
                min=0.0,
                max=1.0,
                step=0.01,
                tooltip="Latent calibration: more keeps more of the original. 0 is without calibration, and a model call per injection cheaper.",
            ),
            io.Boolean.Input(
                "regularise",
                default=True,
                tooltip="Calibration keeps the contrast of the original's prediction.",
                advanced=True,
            ),
        ]
        return io.Schema(
            node_id="GraftAsymmetricSampler",
            display_name="Asymmetric Sampler",
            category=CATEGORY,
            description="The sampler that Mix h-Space needs: DDIM with two predictions per step, one of them with the bottleneck changed. Step operators "
            "work with it as with the Graft Sampler.",
            search_aliases=["InjectFusion", "asyrp", "h-space", "latent calibration", "quality boosting", "ddim"],
            inputs=[
                io.DynamicCombo.Input(
                    "preset",
                    options=[*(io.DynamicCombo.Option(name, []) for name in PROCESSES), io.DynamicCombo.Option("custom", custom)],
                    tooltip="paper: omega 0.3; released: omega 0, the released code's. They inject down to timestep 400 and boost from 200 on, but not for "
                    "paintings. At 999 the released code has no h of an inverted content and takes that of 978; here it is that of 999 itself.",
                ),
                io.Combo.Input(
                    "timesteps",
                    options=["the model's", "the paper's"],
                    default="the model's",
                    tooltip="Whose schedule says how noisy a timestep is. the paper's: Stable Diffusion stops injecting at the noise level at which the "
                    "paper's pixel-space models do, its own timestep 568 for 400.",
                    advanced=True,
                ),
                io.Combo.Input(
                    "injections",
                    options=["grid", "every step"],
                    default="grid",
                    tooltip="grid: at most 50 in a run, at even timesteps, whatever the number of steps, since their number is the strength.",
                    advanced=True,
                ),
                io.Combo.Input(
                    "boosts",
                    options=["every step", "grid"],
                    default="every step",
                    tooltip="Steps that add noise. grid: only those of the released code's 50, in longer runs hardly any noise.",
                    advanced=True,
                ),
                io.Float.Input(
                    "early_direction",
                    default=1.0,
                    min=0.9,
                    max=1.1,
                    step=0.0001,
                    tooltip="dt_lambda of the released code: how much of a step's direction, of what stays noise, is taken at timestep 950 and above, in "
                    "steps of the grid. Its scripts have 0.9985; presets leave it to you. Nothing where omega is above 0.",
                    optional=True,
                    advanced=True,
                ),
            ],
            outputs=[io.Sampler.Output(display_name="sampler", tooltip="Connect to SamplerCustom or SamplerCustomAdvanced.")],
        )

    @classmethod
    def execute(cls, preset, timesteps, injections, boosts, early_direction=1.0) -> io.NodeOutput:
        process = PROCESSES.get(preset["preset"], preset)
        intervals = Intervals(process["edit_timestep"], process["boost_timestep"], timesteps, injections, boosts)
        return io.NodeOutput(AsymmetricSampler(intervals, process["omega"], process["regularise"], early_direction))


class LoadPixelDiffusion(GraftNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GraftLoadPixelDiffusion",
            display_name="Load Pixel Diffusion",
            category=CATEGORY,
            description="Loads an unconditional diffusion model of pixels, a folder of diffusers' UNet2DModel such as ddpm-celebahq-256: what InjectFusion "
            "was made for. Samples with any sampler at cfg 1.",
            search_aliases=["diffusers", "ddpm", "UNet2DModel", "unconditional", "celebahq", "pixel space", "load model"],
            inputs=[
                io.Combo.Input(
                    "folder", options=pixel_diffusion.names(), tooltip="A folder in models/diffusers, with config.json and weights."
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The model, with its own noise schedule."),
                io.Conditioning.Output(display_name="conditioning", tooltip="No prompt, for inputs that need one. Use cfg 1."),
                io.Vae.Output(display_name="vae", tooltip="Between pictures and the model's pixels; nothing is lost."),
            ],
        )

    @classmethod
    def execute(cls, folder: str) -> io.NodeOutput:
        return io.NodeOutput(pixel_diffusion.load(folder), pixel_diffusion.no_prompt(), pixel_diffusion.load_vae())


NODES = [RecordContent, MixHSpaceNode, AsymmetricSamplerNode, LoadPixelDiffusion]
