"""Trains the miniature: renders scenes, then the VAE, the judge, and the diffusion model with its text encoder; and the faces.

    python tools train_miniature STAGE [STAGE ...] --comfyui PATH --work FOLDER [--steps N]

Stages: scenes, vae, latents, decoder, judge, diffusion, export; faces, face_judge, face_diffusion, face_export. Every stage is deterministic by its seed, writes a log
beside its checkpoint and goes on from there when started again. Batches are drawn from a generator seeded by the step,
so that a resumed run sees what an unbroken one would have seen.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hosting.pack import load_host, load_pack

STAGES = ("scenes", "vae", "latents", "decoder", "judge", "diffusion", "export", "faces", "face_judge", "face_diffusion", "face_export")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="+", choices=STAGES)
    parser.add_argument("--comfyui", type=Path, help="ComfyUI's folder; COMFYUI_PATH by default")
    parser.add_argument("--work", type=Path, required=True, help="where checkpoints, logs and the rendered scenes are kept")
    parser.add_argument(
        "--count", type=int, default=40_000, help="scenes rendered for training; three fifths as many are rendered in pairs"
    )
    parser.add_argument("--steps", type=int, help="steps of the chosen training stages, instead of each one's own number")
    arguments = parser.parse_args()
    load_host(arguments.comfyui)
    load_pack()
    arguments.work.mkdir(parents=True, exist_ok=True)
    for stage in arguments.stages:
        _run(stage, arguments)


def _run(stage: str, arguments: argparse.Namespace) -> None:
    from training import autoencoder, diffusion, export, faces, judging, pictures

    steps = {"steps": arguments.steps} if arguments.steps else {}
    match stage:
        case "scenes":
            pictures.scenes(arguments.work, arguments.count)
            pictures.pairs(arguments.work, arguments.count * 3 // 5)
        case "vae":
            autoencoder.vae(arguments.work, **steps)
        case "latents":
            autoencoder.latents(arguments.work)
        case "decoder":
            autoencoder.decoder(arguments.work, **steps)
        case "judge":
            judging.judge(arguments.work, **steps)
        case "diffusion":
            diffusion.diffusion(arguments.work, **steps)
        case "export":
            export.export(arguments.work)
        case "faces":
            faces.faces(arguments.work)
        case "face_judge":
            faces.judge(arguments.work, **steps)
        case "face_diffusion":
            faces.diffusion(arguments.work, **steps)
        case "face_export":
            faces.export(arguments.work)


if __name__ == "__main__":
    main()
