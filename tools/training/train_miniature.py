"""Trains the miniature's models, stage by stage; docs/training.md says how long each takes.

    python tools train_miniature STAGE [STAGE ...] --work FOLDER [--comfyui PATH] [--device cuda] [--steps N] [--shards N]

draw renders scenes into FOLDER/scenes, and may go on beside the others. Trainings keep a checkpoint, a log and pictures to look at in FOLDER, and
go on bit for bit when started again; without a checkpoint they start from FOLDER/model, where export stages leave weights in half
precision. In this order: draw, text_encoder, export_text_encoder, autoencoder, export_autoencoder, latents; then judge, unet and transformer,
each with its export. The faces: faces, face_judge, face_diffusion, export_faces.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from hosting.pack import load_host, load_pack

STAGES = (
    *("draw", "text_encoder", "export_text_encoder", "autoencoder", "export_autoencoder", "latents"),
    *("judge", "export_judge", "unet", "export_unet", "transformer", "export_transformer"),
    *("faces", "face_judge", "face_diffusion", "export_faces"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="+", choices=STAGES, metavar="STAGE")
    parser.add_argument("--comfyui", type=Path, help="ComfyUI's folder; COMFYUI_PATH by default")
    parser.add_argument("--work", type=Path, required=True, help="where scenes, checkpoints, logs and exported weights are kept")
    parser.add_argument("--device", help="cpu or cuda; by default cuda where there is one")
    parser.add_argument("--shards", type=int, default=160, help="shards of 128 pictures that draw makes")
    parser.add_argument("--steps", type=int, help="steps of the chosen training stages in all, instead of each one's own number")
    arguments = parser.parse_args()
    load_host(arguments.comfyui, cpu=arguments.device == "cpu")
    load_pack()
    arguments.work.mkdir(parents=True, exist_ok=True)
    for stage in arguments.stages:
        _run(stage, arguments)


def _run(stage: str, arguments: argparse.Namespace) -> None:
    from training import autoencoder, denoisers, faces, judging, pictures, text_encoder
    from training.trainer import Machine

    work, steps = arguments.work, {"steps": arguments.steps} if arguments.steps else {}
    machine = Machine.of(arguments.device)
    actions = {
        "draw": partial(pictures.draw, work, arguments.shards),
        "text_encoder": partial(text_encoder.train, work, machine, **steps),
        "export_text_encoder": partial(text_encoder.export, work),
        "autoencoder": partial(autoencoder.train, work, machine, **steps),
        "export_autoencoder": partial(autoencoder.export, work, machine),
        "latents": partial(autoencoder.latents, work, machine),
        "judge": partial(judging.train, work, machine, **steps),
        "export_judge": partial(judging.export, work),
        "unet": partial(denoisers.train, work, machine, denoisers.UNet, **steps),
        "export_unet": partial(denoisers.export, work, denoisers.UNet.name),
        "transformer": partial(denoisers.train, work, machine, denoisers.Transformer, **steps),
        "export_transformer": partial(denoisers.export, work, denoisers.Transformer.name),
        "faces": partial(faces.faces, work),
        "face_judge": partial(faces.judge, work, machine, **steps),
        "face_diffusion": partial(faces.diffusion, work, machine, **steps),
        "export_faces": partial(faces.export, work),
    }
    actions[stage]()


if __name__ == "__main__":
    main()
