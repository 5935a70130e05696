"""What an edit costs beyond the UNet rows it needs: wall time of a whole edited sampling run over the time of its rows alone.

    python tools/overhead.py --comfyui PATH [--batch N] [--repeats N]

Prints JSON. Both sides are timed in turn in one process, so that the ratio holds when the machine's speed drifts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

from pack import load_host, load_pack

STEPS, WINDOW_END, GUIDANCE = 25, 0.8, 2.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comfyui", type=Path)
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    load_host(arguments.comfyui, cpu=arguments.device == "cpu")
    load_pack()
    print(json.dumps({"free_prompt_editing": free_prompt_editing(arguments.batch, arguments.repeats)}))


def free_prompt_editing(batch: int, repeats: int) -> dict[str, float]:
    """Free-Prompt-Editing of `batch` pictures on the miniature: medians over `repeats`, times in seconds."""
    import torch
    from evaluation.laboratory import UNSEEN, Laboratory, picture
    from graft.host.layers import all_layers, require_unet
    from graft.host.plan import Plan, Stream
    from graft.host.run import carry_out
    from graft.host.sampling import invert
    from graft.host.self_attention import ReplaceSelfAttention
    from graft.host.windows import Window
    from graft.miniature.world import prompt_of, sample_scene
    from numpy.random import default_rng

    with torch.inference_mode():
        laboratory, rng = Laboratory(), default_rng(UNSEEN)
        sources = picture(sample_scene(rng, count=1) for _ in range(batch))
        empty, sigmas = laboratory.conditioning([""]), laboratory.sigmas(STEPS)
        trajectory = invert(laboratory.model, empty, laboratory.encode(sources.pictures), sigmas, "ddim", 1)
        window = Window.of_percent(laboratory.model, 0.0, WINDOW_END)
        edited = carry_out(
            laboratory.model,
            Plan().with_edit(ReplaceSelfAttention(Stream(trajectory, empty), window, all_layers(require_unet(laboratory.model)))),
        )
        prompts = [prompt_of(scene) for scene in sources.scenes]
        noisiest = laboratory.model.model.process_latent_out(trajectory.latents[0])
        nothing = torch.zeros_like(noisiest)

        def whole() -> None:
            laboratory.sample(edited, prompts, nothing, noisiest, sigmas, GUIDANCE)

        network = laboratory.model.model.diffusion_model
        device = laboratory.model.load_device
        streamed = sum(float(sigma) in window for sigma in sigmas[:-1])

        def rows_alone() -> None:
            """The same forward passes: the source's rows inside the window, then the target's with and without its prompt."""
            for index in range(STEPS):
                for rows in ([batch] if index < streamed else []) + [2 * batch]:
                    network(latents[:rows], timesteps[:rows], context=context[:rows], transformer_options={})

        latents = torch.randn(2 * batch, *noisiest.shape[1:], device=device)
        timesteps = torch.full((2 * batch,), 500.0, device=device)
        context = laboratory.conditioning([""])[0][0].to(device).expand(2 * batch, -1, -1)
        whole(), rows_alone()
        times = [(_seconds(whole), _seconds(rows_alone)) for _ in range(repeats)]
    return {
        "ratio": round(statistics.median(a / b for a, b in times), 4),
        "edit_seconds": round(statistics.median(a for a, _ in times), 4),
        "rows_alone_seconds": round(statistics.median(b for _, b in times), 4),
        "device": str(device),
        "batch": batch,
        "rows": batch * (streamed + 2 * STEPS),
        "repeats": repeats,
    }


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
