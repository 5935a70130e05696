"""Nodes that make, show, keep and replay trajectories."""

import torch
from comfy_api.latest import io, ui

from ..host.engine import trajectory_files
from ..host.engine.pictures import decode, encode, for_vae, psnr
from ..host.engine.requirements import require_channels
from ..host.inspection.captions import stages_captioned
from ..host.samplers import sampling
from ..inversion.trajectory import Trajectory
from .node import GraftNode
from .types import SOLVERS, TrajectoryType, previewed, skip_input

CATEGORY = "Graft/inversion"


class InvertImage(GraftNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GraftInvertImage",
            display_name="Invert Image",
            category=CATEGORY,
            description="Finds the noise that a picture would have been generated from, and every stage in between: its trajectory.",
            search_aliases=["ddim inversion", "inversion", "noise inversion", "fixed-point inversion", "unsampler"],
            inputs=[
                io.Model.Input("model", tooltip="The model that will edit the picture, without Graft's editing nodes."),
                io.Vae.Input("vae", tooltip="The model's VAE."),
                io.Image.Input("image", tooltip="The picture, or a batch of pictures of one size."),
                io.Conditioning.Input("conditioning", tooltip="An encoded prompt. The empty prompt is the safe choice."),
                io.Sigmas.Input(
                    "sigmas",
                    tooltip="The schedule of the edit, as a scheduler gives it. ddim_uniform is what the papers use; for flow models take simple.",
                ),
                io.Combo.Input(
                    "solver",
                    options=list(SOLVERS),
                    default="DDIM",
                    tooltip="The solver of the sampler that will run the edit. DDIM is euler. Midpoint comes back closer than plain DDIM on flow models (Flux, "
                    "Qwen-Image, Z-Image), at one model call per step.",
                ),
                io.Int.Input(
                    "iterations",
                    default=3,
                    min=1,
                    max=20,
                    tooltip="Model calls per DDIM step. 1 is plain DDIM inversion, as in the papers; 3 removes nearly all of its error. The other solvers ignore it.",
                ),
            ],
            outputs=[
                TrajectoryType.Output(display_name="trajectory", tooltip="The picture at every noise level."),
                io.Latent.Output(display_name="latent", tooltip="The encoded picture."),
            ],
        )

    @classmethod
    def execute(cls, model, vae, image, conditioning, sigmas, solver, iterations) -> io.NodeOutput:
        latent = encode(vae, image)
        trajectory = sampling.invert(model, conditioning, latent, sigmas, SOLVERS[solver], iterations)
        return io.NodeOutput(trajectory, {"samples": latent})


class Reconstruct(GraftNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GraftReconstruct",
            display_name="Reconstruct",
            category=CATEGORY,
            description="Samples a trajectory back to a picture without any edit, and says how close it comes: what an edit starts from.",
            search_aliases=["round trip", "inversion quality", "psnr"],
            inputs=[
                io.Model.Input("model", tooltip="The model the trajectory was made with."),
                io.Vae.Input("vae", tooltip="The model's VAE."),
                TrajectoryType.Input("trajectory", tooltip="The trajectory to sample back."),
                io.Conditioning.Input("conditioning", tooltip="The encoded prompt the trajectory was made with."),
            ],
            outputs=[
                io.Image.Output(display_name="image", tooltip="The reconstructed picture."),
                io.Latent.Output(display_name="latent", tooltip="The reconstructed latent."),
                io.Float.Output(
                    display_name="decibels", tooltip="Mean PSNR against the decoded clean latent. Above 40 dB no difference can be seen."
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, model, vae, trajectory: Trajectory, conditioning) -> io.NodeOutput:
        latent = sampling.reconstruct(model, conditioning, trajectory)
        image = decode(vae, latent)
        clean = decode(vae, for_vae(model, trajectory.clean))
        values = psnr(image, clean)
        report = f"{', '.join(f'{value:.1f}' for value in values.tolist())} dB ({trajectory.steps} steps)"
        return io.NodeOutput(image, {"samples": latent}, values.mean().item(), ui=ui.PreviewText(report))


class RecordTrajectory(GraftNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GraftRecordTrajectory",
            display_name="Record Trajectory",
            category=CATEGORY,
            description="Generates a picture as SamplerCustomAdvanced does and keeps its trajectory, so that a second prompt can be sampled beside it.",
            search_aliases=["record", "generation trajectory", "synthetic edit"],
            inputs=[
                io.Noise.Input("noise", tooltip="The noise to start from."),
                io.Guider.Input("guider", tooltip="Model, prompts and guidance."),
                io.Sampler.Input(
                    "sampler",
                    tooltip="A deterministic sampler that looks at the picture once per step, such as Graft Sampler, euler or dpmpp_2m.",
                ),
                io.Sigmas.Input("sigmas", tooltip="The schedule."),
                io.Latent.Input("latent_image", tooltip="An empty latent, or the latent to start from."),
            ],
            outputs=[
                TrajectoryType.Output(display_name="trajectory", tooltip="The generation at every noise level."),
                io.Latent.Output(display_name="latent", tooltip="The generated latent."),
            ],
        )

    @classmethod
    def execute(cls, noise, guider, sampler, sigmas, latent_image) -> io.NodeOutput:
        latent, trajectory = sampling.record(guider, noise, latent_image, sampler, sigmas)
        return io.NodeOutput(trajectory, latent)


class StartFromTrajectory(GraftNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GraftStartFromTrajectory",
            display_name="Start From Trajectory",
            category=CATEGORY,
            description="Everything a sampler needs to start where a trajectory is: connect noise, sigmas and latent to SamplerCustomAdvanced.",
            search_aliases=["inverted noise", "start latent", "resume"],
            inputs=[
                io.Model.Input("model", tooltip="The model that will sample."),
                TrajectoryType.Input("trajectory", tooltip="The trajectory to start from."),
                skip_input("Part of the steps to leave out. 0 starts at the noisiest latent; more keeps more of the picture."),
            ],
            outputs=[
                io.Noise.Output(display_name="noise", tooltip="No noise: the latent has its own."),
                io.Sigmas.Output(display_name="sigmas", tooltip="The trajectory's noise levels from there on."),
                io.Latent.Output(display_name="latent", tooltip="The noisy latent."),
            ],
        )

    @classmethod
    def execute(cls, model, trajectory: Trajectory, skip: float) -> io.NodeOutput:
        require_channels(model, trajectory.clean, "trajectory", "use the model it was made with")
        first = trajectory.after(skip)
        latent = for_vae(model, trajectory.latents[first])
        noise = sampling.NoFreshNoise(model, float(trajectory.sigmas[first]))
        return io.NodeOutput(noise, trajectory.sigmas[first:], {"samples": latent})


class SaveTrajectory(GraftNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GraftSaveTrajectory",
            display_name="Save Trajectory",
            category=CATEGORY,
            description="Writes a trajectory to a file in output/trajectories, so that a picture need not be inverted again.",
            search_aliases=["save inversion", "export trajectory", "keep inversion", "safetensors"],
            inputs=[
                TrajectoryType.Input("trajectory", tooltip="The trajectory to keep."),
                io.String.Input(
                    "filename_prefix",
                    default="graft",
                    tooltip="Beginning of the file's name, with folders if you like, below output/trajectories.",
                ),
            ],
            outputs=[TrajectoryType.Output(display_name="trajectory", tooltip="The same trajectory, to go on with.")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, trajectory: Trajectory, filename_prefix: str) -> io.NodeOutput:
        name = trajectory_files.save(trajectory, filename_prefix)
        return io.NodeOutput(trajectory, ui=ui.PreviewText(name))


class LoadTrajectory(GraftNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GraftLoadTrajectory",
            display_name="Load Trajectory",
            category=CATEGORY,
            description="Reads a trajectory written by Save Trajectory. It must have been made with the same model and LoRAs.",
            search_aliases=["load inversion", "import trajectory", "safetensors"],
            inputs=[
                io.Model.Input("model", tooltip="The model the trajectory was made with."),
                io.Combo.Input("file", options=trajectory_files.names(), tooltip="A file in output/trajectories, or in the input folder."),
            ],
            outputs=[TrajectoryType.Output(display_name="trajectory", tooltip="The trajectory.")],
        )

    @classmethod
    def validate_inputs(cls, file: str | None) -> bool | str:
        if file is None or trajectory_files.find(file):  # a linked name is only known when the node runs
            return True
        return f"file: {file!r} is in neither output/trajectories nor the input folder; save the trajectory again"

    @classmethod
    def fingerprint_inputs(cls, file: str | None, **_) -> str:
        return trajectory_files.state(file) if file else ""

    @classmethod
    def execute(cls, model, file: str) -> io.NodeOutput:
        return io.NodeOutput(trajectory_files.load(model, file))


class ShowTrajectory(GraftNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GraftShowTrajectory",
            display_name="Show Trajectory",
            category=CATEGORY,
            description="Decodes a trajectory at evenly spaced stages, from noise to picture.",
            search_aliases=["preview trajectory", "preview inversion", "noise levels", "denoising steps"],
            inputs=[
                io.Model.Input("model", tooltip="The model the trajectory was made with."),
                io.Vae.Input("vae", tooltip="The model's VAE."),
                TrajectoryType.Input("trajectory", tooltip="The trajectory to show."),
                io.Int.Input("stages", default=6, min=2, max=50, tooltip="How many pictures to show."),
            ],
            outputs=[
                io.Image.Output(
                    display_name="images",
                    tooltip="The stages of the first picture, as a batch. Below each its noise level, as sigma and in percent of the run, and a bar that "
                    "fills from noise to picture. Pictures narrower than 256 pixels are enlarged.",
                )
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, model, vae, trajectory: Trajectory, stages: int) -> io.NodeOutput:
        chosen = torch.linspace(0, trajectory.steps, min(stages, trajectory.steps + 1)).round().long()
        shown = [for_vae(model, trajectory.scaled_to_picture(index)[:1]) for index in chosen.tolist()]
        images = stages_captioned(torch.cat([decode(vae, latent) for latent in shown]), trajectory.sigmas[chosen].tolist(), model)
        return io.NodeOutput(images, ui=previewed(images, cls))


NODES = [InvertImage, Reconstruct, RecordTrajectory, StartFromTrajectory, SaveTrajectory, LoadTrajectory, ShowTrajectory]
