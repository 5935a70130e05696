"""Make the pictures of the help pages that no workflow makes: web/docs/images.

    python tools help_pictures --comfyui PATH [NAME ...]

Every picture is what the nodes themselves give on the small models that come with Graft; nothing is painted in but frames, names and axes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from hosting import pack
from PIL import Image, ImageDraw, ImageFont

FOLDER = pack.ROOT / "web" / "docs" / "images"
SIDE, GAP, LINE = 128, 4, 18
"""Pixels: a picture's side, between pictures, and a line of text under them."""
INK, FRAME, LIGHT = (40, 40, 40), (150, 150, 150), (235, 235, 235)
STEPS, GUIDANCE, SEED, CONTENT_SEED = 30, 3.0, 7, 3
YELLOW, RED = "a 3-D render of a yellow car on a meadow by day", "a 3-D render of a red car on a meadow by day"
FACES = (
    {"jaw": "round", "nose": "button", "eyes": "round", "expression": "calm", "glasses": "none"}
    | {"skin": "brown", "hair": "blue", "makeup": "violet", "background": "sand", "seed": 3},
    {"jaw": "long", "nose": "button", "eyes": "narrow", "expression": "calm", "glasses": "none"}
    | {"skin": "light", "hair": "ginger", "makeup": "none", "background": "mint", "seed": 5},
)


class Nodes:
    """The pack's nodes on its small model, called as the host calls them."""

    def __init__(self) -> None:
        from evaluation.laboratory import Laboratory

        self.laboratory = Laboratory()
        self.model, self.clip, self.vae = self.laboratory.model, self.laboratory.clip, self.laboratory.vae
        self.sigmas = self.laboratory.sigmas(STEPS)
        self.known = {node.define_schema().node_id: node for node in _all_nodes()}

    def __call__(self, node: str, **inputs) -> tuple:
        return self.known[f"Graft{node}"].EXECUTE_NORMALIZED(**inputs).result

    def prompt(self, text: str):
        return self("EncodePrompt", clip=self.clip, text=text)[0]

    def guider(self, model, text: str):
        import comfy.samplers

        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(self.prompt(text), self.prompt(""))
        guider.set_cfg(GUIDANCE)
        return guider

    def sampled(self, model, text: str, start: tuple, solver="DDIM"):
        """(B, H, W, 3): `start` is noise, sigmas and latent, as Start From Trajectory gives them."""
        noise, sigmas, latent = start
        sampler = self("Sampler", solver=solver)[0] if isinstance(solver, str) else solver
        samples = self.guider(model, text).sample(
            noise.generate_noise(latent), latent["samples"], sampler, sigmas, disable_pbar=True, seed=noise.seed
        )
        return self.laboratory.decode(samples)

    def fresh(self, seed: int = SEED, batch: int = 1) -> tuple:
        """Noise, sigmas and latent of a generation."""
        from comfy_extras.nodes_custom_sampler import Noise_RandomNoise

        empty = {"samples": self.laboratory.noise(batch, 0) * 0}
        return Noise_RandomNoise(seed), self.sigmas, empty

    def inverted(self, picture, sigmas=None, solver: str = "DDIM", iterations: int = 3, by: tuple | None = None):
        """The trajectory of a picture under no prompt, by the small model or by another model with its conditioning and its VAE."""
        model, conditioning, vae = by or (self.model, self.prompt(""), self.vae)
        sigmas = self.sigmas if sigmas is None else sigmas
        inputs = {"conditioning": conditioning, "sigmas": sigmas, "solver": solver, "iterations": iterations}
        return self("InvertImage", model=model, vae=vae, image=picture, **inputs)[0]

    def frames(self, trajectory, stages: int):
        return self("ShowTrajectory", model=self.model, vae=self.vae, trajectory=trajectory, stages=stages)[0]


def _all_nodes() -> list:
    from graft.nodes import h_space, inversion, keeping, miniature, prompts, sampling, self_attention

    modules = h_space, inversion, keeping, miniature, prompts, sampling, self_attention
    return [node for module in modules for node in module.NODES]


def car(**where):
    """A yellow car on a meadow."""
    from graft.miniature.scenes.scene import Scene, Thing

    return Scene("meadow", things=(Thing("car", "yellow", **where),))


def scene():
    """(1, 128, 128, 3)."""
    from evaluation.laboratory import picture

    return picture([car(x=0.46, y=0.84, size=0.6)]).pictures


def row(pictures: Sequence, names: Sequence[str] = (), side: int = SIDE) -> Image.Image:
    """Pictures (H, W, 3), all of one size, `side` pixels wide beside each other, a name under each."""
    height = round(side * pictures[0].shape[0] / pictures[0].shape[1])
    page = Image.new("RGB", ((side + GAP) * len(pictures) - GAP, height + LINE * bool(names)), "white")
    draw = ImageDraw.Draw(page)
    for index, picture in enumerate(pictures):
        left = index * (side + GAP)
        array = (picture.clamp(0, 1).float().cpu().numpy() * 255).round().astype(np.uint8)
        page.paste(Image.fromarray(array).resize((side, height), Image.Resampling.BICUBIC), (left, 0))
        if names:
            draw.text((left + side / 2, height + LINE / 2), names[index], INK, font(12), anchor="mm")
    return page


def font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


def encode_prompt(nodes: Nodes) -> Image.Image:
    """The words of a prompt over the numbers of their tokens."""
    text = "a human-like statue with cornflowers, at night"
    listing = nodes("EncodePrompt", clip=nodes.clip, text=text)[1]
    entries = [line.rsplit(": ", 1) for line in listing.splitlines()]
    page = Image.new("RGB", (536, 92), "white")
    draw = ImageDraw.Draw(page)
    draw.text((6, 14), text, INK, font(16), anchor="lm")
    left = 6.0
    for word, tokens in entries:
        width = max(draw.textlength(word, font(15)), draw.textlength(tokens, font(13))) + 14
        draw.rounded_rectangle((left, 34, left + width, 86), 5, LIGHT, FRAME)
        draw.text((left + width / 2, 48), word, INK, font(15), anchor="mm")
        draw.text((left + width / 2, 72), tokens, (0, 90, 160), font(13), anchor="mm")
        left += width + 5
    return page.crop((0, 0, round(left + 1), page.height))


def exceptional_prompt(nodes: Nodes) -> Image.Image:
    """A row of cells per channel and a column per token, of an ordinary prompt and of the exceptional one."""
    ordinary, exceptional = nodes.prompt(YELLOW), nodes("ExceptionalPrompt", clip=nodes.clip)[0]
    tokens, channels, cell = 20, 12, 12
    page = Image.new("RGB", (2 * tokens * cell + 24, channels * cell + LINE), "white")
    draw = ImageDraw.Draw(page)
    scale = ordinary[0][0].abs().quantile(0.95)
    for left, (name, conditioning) in zip(
        (0, tokens * cell + 24), (("Encode Prompt", ordinary), ("Exceptional Prompt", exceptional)), strict=True
    ):
        values = (conditioning[0][0][0, :tokens, :channels] / scale).clamp(-1, 1).T.numpy()
        cells = np.stack([1 + np.minimum(values, 0), 1 - np.abs(values) * 0.6, 1 - np.maximum(values, 0)], axis=-1)
        picture = Image.fromarray((cells * 255).round().astype(np.uint8))
        page.paste(picture.resize((tokens * cell, channels * cell), Image.Resampling.NEAREST), (left, 0))
        draw.rectangle((left, 0, left + tokens * cell - 1, channels * cell - 1), outline=FRAME)
        draw.text((left + tokens * cell / 2, channels * cell + LINE / 2), name, INK, font(12), anchor="mm")
    return page


def trajectory(nodes: Nodes) -> Image.Image:
    """What Show Trajectory gives for a recorded generation, above, and for an inverted picture."""
    recorded, _ = _recorded(nodes, YELLOW, nodes.fresh())
    rows = [row(nodes.frames(own, 3), side=120) for own in (recorded, nodes.inverted(scene()))]
    page = Image.new("RGB", (rows[0].width, 2 * rows[0].height + GAP), "white")
    page.paste(rows[0], (0, 0))
    page.paste(rows[1], (0, rows[0].height + GAP))
    return page


def load_trajectory(nodes: Nodes) -> Image.Image:
    """A picture, its trajectory written, read and sampled again, and an edit from it."""
    from graft.host.engine import trajectory_files

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graft.trajectory.safetensors"
        written = nodes.inverted(scene())
        written.save(path)
        read = type(written).load(path, trajectory_files.model_fingerprint(nodes.model))
    back = nodes("Reconstruct", model=nodes.model, vae=nodes.vae, trajectory=read, conditioning=nodes.prompt(""))[0]
    return row([scene()[0], back[0], _redrawn(nodes, read, RED, "")[0]])


def _redrawn(nodes: Nodes, source, text: str, source_text: str):
    """The picture of another prompt that attends to itself as `source` does."""
    (model,) = nodes(
        "ReplaceSelfAttention",
        model=nodes.model,
        source=source,
        source_conditioning=nodes.prompt(source_text),
        strength=1.0,
        start_percent=0.0,
        end_percent=0.8,
        layers={"layers": "all"},
    )
    return nodes.sampled(model, text, nodes("StartFromTrajectory", model=nodes.model, trajectory=source, skip=0.0))


def record_trajectory(nodes: Nodes) -> Image.Image:
    """A generation, the second prompt from the same noise beside it, and the second prompt without it."""
    first, second, start = YELLOW, "an ink drawing of a car on a meadow by day", nodes.fresh()
    source, latent = _recorded(nodes, first, start)
    pictures = nodes.laboratory.decode(latent["samples"]), _redrawn(nodes, source, second, first), nodes.sampled(nodes.model, second, start)
    return row([batch[-1] for batch in pictures])


def _recorded(nodes: Nodes, text: str, start: tuple) -> tuple:
    noise, sigmas, latent = start
    (ddim,) = nodes("Sampler", solver="DDIM")
    return nodes("RecordTrajectory", noise=noise, guider=nodes.guider(nodes.model, text), sampler=ddim, sigmas=sigmas, latent_image=latent)


def sampler(nodes: Nodes) -> Image.Image:
    """An inverted picture, retraced by the solver that inverted it, and sampled by one that adds noise."""
    import comfy.samplers

    even = nodes("UniformTimeScheduler", model=nodes.model, steps=STEPS)[0]
    trajectories = {"DDIM": nodes.inverted(scene()), "DPM-Solver++ 2M": nodes.inverted(scene(), even, "DPM-Solver++ 2M")}
    start = {solver: nodes("StartFromTrajectory", model=nodes.model, trajectory=own, skip=0.0) for solver, own in trajectories.items()}
    pictures = [nodes.sampled(nodes.model, "", start[solver], solver)[0] for solver in start]
    other = nodes.sampled(nodes.model, "", start["DDIM"], comfy.samplers.sampler_object("euler_ancestral"))[0]
    return row([scene()[0], *pictures, other], ["", *start, "euler_ancestral"])


def start_from_trajectory(nodes: Nodes) -> Image.Image:
    """An inverted picture sampled under another prompt, with more and more of the steps left out."""
    source, skips = nodes.inverted(scene()), (0.0, 0.2, 0.4, 0.6, 0.8)
    starts = [nodes("StartFromTrajectory", model=nodes.model, trajectory=source, skip=skip) for skip in skips]
    pictures = [nodes.sampled(nodes.model, "a 3-D render of a red car in snow by day", start)[0] for start in starts]
    return row([scene()[0], *pictures], ["", *(f"skip {skip:g}" for skip in skips)])


def keep_outside_mask(nodes: Nodes) -> Image.Image:
    """A wide picture, what image-to-image makes of it, and the part of that which lies in a mask."""
    import torch
    from graft.miniature.scenes.rendering import render

    drawn = render(car(x=0.42, y=0.84, size=0.6), 192, 128)
    picture, mask = torch.from_numpy(drawn.picture)[None], torch.from_numpy(drawn.objects + drawn.shadows).clamp(0, 1)
    fitted, _, frame = nodes("FitPicture", image=picture, size=192, multiple=64)
    start = nodes("StartFromTrajectory", model=nodes.model, trajectory=nodes.inverted(fitted), skip=0.4)
    edited = nodes.sampled(nodes.model, RED, start)
    (kept,) = nodes("KeepOutsideMask", image=picture, edited=edited, grow=8, feather=4, colour="as edited", mask=mask, frame=frame)
    return row([picture[0], edited[0], kept[0]], side=192)


def mask_keys_and_values(nodes: Nodes) -> Image.Image:
    """A generation without a prompt, the mask over a thing in it, and the same noise with what is under the mask unseen."""
    import torch

    text, (noise, sigmas, latent) = "", nodes.fresh()
    mask = torch.zeros(1, 128, 128)
    mask[:, 8:82, 48:120] = 1
    (masked,) = nodes(
        "MaskKeysAndValues",
        model=nodes.model,
        mask=mask,
        mask_threshold=0.1,
        interpolation="area",
        start_percent=0.0,
        end_percent=1.0,
        layers={"layers": "all"},
    )
    plain, unseen = (nodes.sampled(model, text, (noise, sigmas, latent))[-1] for model in (nodes.model, masked))
    return row([plain, plain * (1 - 0.6 * mask[0, ..., None]), unseen])


def record_content(nodes: Nodes) -> Image.Image:
    """A generated face, and two drawn ones, each before and after the generated one's content was mixed into it."""
    import comfy.samplers
    from comfy_extras.nodes_custom_sampler import Noise_RandomNoise
    from graft.host.engine.pictures import decode

    model, conditioning, vae = nodes("LoadMiniatureFaces")
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "ddim_uniform", STEPS)[-(STEPS + 1) :]
    (ddim,) = nodes("Sampler", solver="DDIM")
    (asymmetric,) = nodes(
        "AsymmetricSampler",
        preset={"preset": "custom", "edit_timestep": 150, "boost_timestep": 50, "omega": 0.3, "regularise": True},
        timesteps="the model's",
        injections="grid",
        boosts="every step",
    )

    def guider(model):
        made = comfy.samplers.CFGGuider(model)
        made.set_conds(conditioning, conditioning)
        made.set_cfg(1.0)
        return made

    content, generated = nodes(
        "RecordContent",
        noise=Noise_RandomNoise(CONTENT_SEED),
        guider=guider(model),
        sampler=ddim,
        sigmas=sigmas,
        latent_image={"samples": sigmas.new_zeros(1, 3, 64, 64)},
    )
    (mixed,) = nodes(
        "MixHSpace",
        model=model,
        content=content,
        content_conditioning=conditioning,
        preset={"preset": "paper"},
        adapt_to_steps=True,
        course="constant",
        mixing="slerp",
    )
    pictures = [decode(vae, generated["samples"])[0]]
    for face in FACES:
        (original,) = nodes("MiniatureFace", **face)
        trajectory = nodes.inverted(original, sigmas, iterations=1, by=(model, conditioning, vae))
        _, sigmas, start = nodes("StartFromTrajectory", model=model, trajectory=trajectory, skip=0.0)
        samples = guider(mixed).sample(start["samples"] * 0, start["samples"], asymmetric, sigmas, disable_pbar=True, seed=0)
        pictures += [original[0], decode(vae, samples)[0]]
    return row(pictures)


def keep_features(nodes: Nodes) -> Image.Image:
    """An edit, and the same with a knob turned: how often the source ran for each."""
    from graft.host.engine.features import FEATURES_KEY

    picture, prompt = scene(), nodes.prompt("")
    model = nodes("KeepFeatures", model=nodes.model, where="host memory", budget=1024)[0]
    kept = model.model_options["transformer_options"][FEATURES_KEY]
    trajectory = nodes.inverted(picture)
    start = nodes("StartFromTrajectory", model=model, trajectory=trajectory, skip=0.0)
    source = {"model": model, "source": trajectory, "source_conditioning": prompt, "start_percent": 0.0, "layers": {"layers": "all"}}
    pictures, names = [picture[0]], ["source"]
    for strength, end in ((1.0, 0.8), (0.7, 0.6)):
        edited = nodes("ReplaceSelfAttention", **source, strength=strength, end_percent=end)[0]
        pictures.append(nodes.sampled(edited, RED, start)[0])
        names.append(f"source run {kept.calls - kept.answered} times")
    return row(pictures, names, side=160)


def uniform_time_scheduler(nodes: Nodes) -> Image.Image:
    """Noise levels by step, of this schedule and of ddim_uniform."""
    ours = nodes("UniformTimeScheduler", model=nodes.model, steps=20)[0].tolist()
    theirs = nodes.laboratory.sigmas(20).tolist()
    width, height, left, right, top, bottom = 520, 230, 44, 150, 10, 34
    page = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(page)

    def at(step: int, sigma: float) -> tuple[float, float]:
        exponent = (np.log10(max(sigma, 0.01)) + 2) / 3.5
        return left + (width - left - right) * step / 20, height - bottom - (height - top - bottom) * exponent

    for sigma in (0.01, 0.1, 1, 10):
        draw.line((at(0, sigma), at(20, sigma)), LIGHT)
        draw.text((left - 6, at(0, sigma)[1]), "0" if sigma == 0.01 else f"{sigma:g}", INK, font(12), anchor="rm")
    for step in range(0, 21, 5):
        draw.text((at(step, 0.01)[0], height - bottom + 10), str(step), INK, font(12), anchor="mm")
    draw.text(((left + width - right) / 2, height - 8), "step", INK, font(12), anchor="mm")
    draw.text((4, 2), "sigma", INK, font(12))
    for name, colour, sigmas in (("ddim_uniform", FRAME, theirs), ("Uniform Time", (0, 90, 160), ours)):
        points = [at(step, sigma) for step, sigma in enumerate(sigmas)]
        draw.line(points, colour, 2)
        for x, y in points:
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), colour)
        draw.text((points[-1][0] + 10, points[-1][1]), f"{name}: {sigmas[-1]:.2g}", colour, font(12), anchor="lm")
    return page


PICTURES = {
    "encode_prompt.png": encode_prompt,
    "exceptional_prompt.png": exceptional_prompt,
    "keep_outside_mask.jpg": keep_outside_mask,
    "load_trajectory.jpg": load_trajectory,
    "mask_keys_and_values.jpg": mask_keys_and_values,
    "record_content.jpg": record_content,
    "record_trajectory.jpg": record_trajectory,
    "sampler.jpg": sampler,
    "start_from_trajectory.jpg": start_from_trajectory,
    "trajectory.jpg": trajectory,
    "keep_features.jpg": keep_features,
    "uniform_time_scheduler.png": uniform_time_scheduler,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", default=list(PICTURES), help=", ".join(PICTURES))
    known = os.environ.get("COMFYUI_PATH")
    parser.add_argument("--comfyui", default=known, required=not known, help="ComfyUI's folder (default: COMFYUI_PATH)")
    parser.add_argument("--output", type=Path, default=FOLDER)
    options = parser.parse_args()
    if unknown := set(options.names) - set(PICTURES):
        parser.error(f"no picture is called {', '.join(sorted(unknown))}; there are {', '.join(PICTURES)}")
    pack.load_host(options.comfyui, cpu=True)
    pack.load_pack()
    import torch

    with torch.inference_mode():
        nodes = Nodes()
        for name in options.names:
            path = options.output / name
            PICTURES[name](nodes).save(path, **({"quality": 90} if path.suffix == ".jpg" else {"optimize": True}))
            print(f"{path}: {path.stat().st_size} bytes", flush=True)


if __name__ == "__main__":
    main()
