"""What edits cost beyond the UNet rows they need: wall time of a whole edited sampling run over the time of its rows alone.

    python tools overhead --comfyui PATH [METHOD ...] [--batch N] [--repeats N] [--checkpoint FILE [--pixels N] [--steps N]]

On the miniature, or on a checkpoint of full size (`python tools random_checkpoint` writes one). Prints JSON. Both sides are timed call
by call in one process, so that the ratio holds when the machine's speed drifts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from functools import partial
from pathlib import Path

from hosting.pack import load_host, load_pack


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", metavar="METHOD", default=list(METHODS), help=", ".join(METHODS))
    parser.add_argument("--comfyui", type=Path)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--pixels", type=int, default=256, help="side of the picture, with --checkpoint")
    parser.add_argument("--steps", type=int, default=4, help="of sampling and inversion, with --checkpoint")
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    load_host(arguments.comfyui, cpu=arguments.device == "cpu")
    load_pack()
    import torch
    from evaluation.laboratory import Laboratory

    with torch.inference_mode():
        full_size = arguments.checkpoint is not None
        laboratory = _full_size(arguments.checkpoint, arguments.pixels, arguments.steps) if full_size else Laboratory()
        methods = {name: METHODS[name](laboratory, arguments.batch) for name in arguments.methods}
        print(json.dumps({name: overhead(laboratory, arguments.repeats, *method) for name, method in methods.items()}))


def _full_size(checkpoint: Path, pixels: int, steps: int):
    """A laboratory with another model, whose pictures are enlarged to `pixels` and which makes `steps` steps."""
    import comfy.sd
    import comfy.utils
    from evaluation.laboratory import Laboratory

    class FullSize(Laboratory):
        def __init__(self) -> None:
            comfy.utils.set_progress_bar_enabled(False)
            self.model, self.clip, self.vae = comfy.sd.load_checkpoint_guess_config(str(checkpoint))[:3]

        def encode(self, pictures):
            return super().encode(comfy.utils.common_upscale(pictures.movedim(-1, 1), pixels, pixels, "bicubic", "disabled").movedim(1, -1))

        def sigmas(self, _steps: int, scheduler: str = "ddim_uniform"):
            return super().sigmas(steps, scheduler)

    return FullSize()


def free_prompt_editing(laboratory, batch: int):
    """Free-Prompt-Editing: its edits, and what samples with them."""
    from graft.host.edits.self_attention import ReplaceSelfAttention
    from graft.host.engine.stream import Stream
    from graft.host.engine.windows import Window
    from graft.host.families.layers import all_layers, require_unet

    group = _group(laboratory, batch)
    model, source = laboratory.model, Stream(group.source.trajectory, group.negative)
    return [ReplaceSelfAttention(source, Window.of_percent(model, 0.0, 0.8), all_layers(require_unet(model)))], _sampling(group)


def specref(laboratory, batch: int):
    """SpecRef with Prompt-to-Prompt and local blend."""
    import torch
    from evaluation.prompt_to_prompt import control
    from evaluation.specref import attention, keep

    group = _group(laboratory, batch)
    reference_mask = torch.ones(batch, 64, 64)
    return [*control(laboratory, group), attention(laboratory, group, reference_mask, True), keep(laboratory, group)], _sampling(group)


def tf_icon(laboratory, batch: int):
    """TF-ICON across styles: one reference at one place of several pictures."""
    from dataclasses import replace

    from evaluation.laboratory import UNSEEN
    from evaluation.tf_icon import METHODS, cases_of, composition
    from numpy.random import default_rng

    cases = cases_of(default_rng(UNSEEN), batch, across=True)
    shared = {name: getattr(cases.placed, name)[:1] for name in ("canvas", "object", "region")}
    cases = replace(cases, placed=replace(cases.placed, **shared))
    return composition(laboratory, cases, slice(0, batch), METHODS["TF-ICON"], across=True)


def freecompose(laboratory, batch: int):
    """FreeCompose's removal with all its terms, some iterations of it, and the perceptual loss's gradient as often."""
    from dataclasses import replace

    from evaluation.freecompose import with_score
    from evaluation.laboratory import UNSEEN
    from evaluation.removal import METHODS, cases_of, task_of
    from graft.host.samplers.perceptual import PerceptualLoss
    from numpy.random import default_rng

    full, iterations = METHODS["full"], 12
    task = task_of(*cases_of(default_rng(UNSEEN), batch))
    latent, settings = laboratory.encode(task.pictures), replace(full.settings, iterations=iterations)
    loss = PerceptualLoss("vae", laboratory.vae).prepare(laboratory.model, latent, task.kept)
    at = laboratory.model.model.process_latent_in(latent).to(laboratory.model.load_device) + 0.1

    def sample(model):
        return with_score(laboratory, model, task, latent, full.terms, settings, UNSEEN)

    def gradients() -> None:
        for _ in range(iterations):
            loss.gradient(at)

    return [], sample, gradients


def injectfusion(laboratory, batch: int):
    """InjectFusion of recorded content under guidance, without calibration: its edited rows cost a decoder each."""
    import comfy.samplers
    import torch
    from comfy_extras.nodes_custom_sampler import Noise_RandomNoise
    from evaluation.laboratory import UNSEEN
    from graft.host.edits.h_space import MixHSpace
    from graft.host.engine.stream import Stream
    from graft.host.samplers.asymmetric_sampler import AsymmetricSampler, Intervals
    from graft.host.samplers.sampling import GraftSampler, record

    positive, negative = laboratory.conditioning(["a photo of a red ball on grass"]), laboratory.conditioning([""])
    latent = torch.zeros_like(laboratory.encode(torch.zeros(batch, 64, 64, 3)))
    sigmas = laboratory.sigmas(50)

    def guided(model):
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(positive, negative)
        guider.set_cfg(9.0)
        return guider

    noise = Noise_RandomNoise(UNSEEN)
    _, content = record(guided(laboratory.model), noise, {"samples": latent}, GraftSampler("ddim"), sigmas, bottlenecks=True)
    sampler, start = AsymmetricSampler(Intervals(), omega=0.0), noise.generate_noise({"samples": latent})

    def sample(model):
        return guided(model).sample(start, latent, sampler, sigmas, disable_pbar=True, seed=0)

    sampling = laboratory.model.get_model_object("model_sampling")
    injections = int(sampler.intervals.injected(sampling, sigmas).sum())
    return [MixHSpace(Stream(content, positive, name="content"), 0.6)], sample, _decoders(laboratory, latent, injections)


def _decoders(laboratory, latent, times: int):
    """The network's decoder alone, `times` times over rows like `latent`."""
    import torch
    from graft.host.engine.shared_decoder import MIDDLE, OUTPUT, Halfway, decoded

    network, device = laboratory.model.model.diffusion_model, laboratory.model.load_device
    rows = torch.arange(len(latent), device=device)
    halfway = Halfway(rows, len(latent), lambda h: h, keep_copies=False)
    patches = {MIDDLE: [halfway.at_the_middle], OUTPUT: [halfway.at_an_output_block]}
    context = laboratory.conditioning([""])[0][0].to(device).expand(len(latent), -1, -1)
    network(latent.to(device), torch.full((len(latent),), 500.0, device=device), context=context, transformer_options={"patches": patches})

    def run() -> None:
        for _ in range(times):
            decoded(network, halfway, {"patches": {}})

    return run


METHODS = {
    "free_prompt_editing": free_prompt_editing,
    "specref": specref,
    "tf_icon": tf_icon,
    "freecompose": freecompose,
    "injectfusion": injectfusion,
}
"""Each gives its edits, what samples with a model that carries them, and what else has to be computed, if anything."""


def _group(laboratory, batch: int):
    """Pictures of balls that become cubes, and as many references."""
    from dataclasses import replace

    from evaluation.laboratory import UNSEEN, picture
    from evaluation.specref import WORDING, sample_case
    from evaluation.swaps import groups_of
    from numpy.random import default_rng

    rng = default_rng(UNSEEN)
    cases = [sample_case(rng) for _ in range(batch)]
    shapes = ("ball", "cube", "cube")
    sources, references, targets = (
        picture(replace(case[part], things=(replace(case[part].things[0], shape=shape),)) for case in cases)
        for part, shape in enumerate(shapes)
    )
    (group,) = groups_of(laboratory, sources, targets, WORDING, references)
    return group


def _sampling(group):
    from evaluation.swaps import GUIDANCE, sample

    return lambda model: sample(model, group, GUIDANCE)


def overhead(laboratory, repeats: int, edits: list, sample, beside=None) -> dict:
    """Medians over `repeats`, times in seconds; `sample` runs a model from noise to picture. The rows alone are the network's
    calls of the edited run, of the same latents and with nothing around them; `beside` is what the run has to compute in
    addition, alone too."""
    from graft.host.engine.plan import Plan
    from graft.host.engine.run import carry_out

    model, network, beside = (
        carry_out(laboratory.model, Plan(tuple(edits))),
        laboratory.model.model.diffusion_model,
        beside or (lambda: None),
    )
    calls, decoders = [], []
    # Of rows whose bottleneck is edited only the decoder is computed.
    counted = ((network.input_blocks[0][0], calls), (network.output_blocks[0][0], decoders))
    hooks = [part.register_forward_pre_hook(lambda _, inputs, rows=rows: rows.append(len(inputs[0]))) for part, rows in counted]
    sampled = sample(model)
    for hook in hooks:
        hook.remove()
    beside()

    times = [(*_edited_and_bare(network, lambda: sample(model)), _seconds(beside)) for _ in range(repeats)]
    return {
        "ratio": round(statistics.median(a / (b + c) for a, b, c in times), 4),
        "edit_seconds": round(statistics.median(a for a, _, _ in times), 4),
        "rows_alone_seconds": round(statistics.median(b for _, b, _ in times), 4),
        "beside_seconds": round(statistics.median(c for _, _, c in times), 4),
        "device": str(laboratory.model.load_device),
        "batch": len(sampled),
        "rows": sum(calls),
        "decoder_rows": sum(decoders),
        "repeats": repeats,
    }


def _edited_and_bare(network, work) -> tuple[float, float]:
    """Seconds of `work`, and of the network's rows in it without any edit. The rows of a call are computed again just after it, so
    that both sides meet the same state of the machine."""
    encoded, bare = [], []

    def again(_, inputs, named, __) -> None:
        # A call may compute fewer rows than it was given.
        for rows in encoded.copy():
            x, timesteps = (part[:rows] for part in inputs)
            conditions = {name: named[name][:rows] for name in ("context", "y") if named.get(name) is not None}
            bare.append(_seconds(partial(network.forward, x, timesteps, **conditions, transformer_options={})))
        encoded.clear()

    hooks = (
        network.input_blocks[0][0].register_forward_pre_hook(lambda _, inputs: encoded.append(len(inputs[0]))),
        network.register_forward_hook(again, with_kwargs=True),
    )
    try:
        seconds = _seconds(work)
    finally:
        for hook in hooks:
            hook.remove()
    return seconds - sum(bare), sum(bare)


def _seconds(work) -> float:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
