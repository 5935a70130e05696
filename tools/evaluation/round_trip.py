"""How close does inversion and sampling back come to the picture?"""

from __future__ import annotations

import numpy as np
import torch
from graft.host.pictures import psnr
from graft.host.sampling import invert, reconstruct
from graft.miniature.world import sample_scene

from .laboratory import UNSEEN, Laboratory, picture
from .report import Sheet, Table

BATCH = 16
CASES = (("DDIM", "ddim", 1, 50), ("DDIM, fixed point", "ddim", 3, 50), ("DDIM", "ddim", 1, 20), ("DPM-Solver++ 2M", "dpmpp_2m", 1, 20))


def run(laboratory: Laboratory, count: int = 64) -> tuple[list[Table], list[Sheet]]:
    """Inverts `count` unseen pictures under the empty prompt and samples them back without guidance."""
    rng = np.random.default_rng(UNSEEN + 1)
    pictures = picture(sample_scene(rng) for _ in range(count)).pictures
    latents = torch.cat([laboratory.encode(part) for part in pictures.split(BATCH)])
    decoded = torch.cat([laboratory.decode(part) for part in latents.split(BATCH)])
    vae_alone = psnr(decoded, pictures)
    empty, rows, sheet = laboratory.conditioning([""]), [], {"picture": pictures, "VAE alone": decoded}
    for label, solver, iterations, steps in CASES:
        sigmas = laboratory.sigmas(steps)
        returned = []
        for part in latents.split(BATCH):
            trajectory = invert(laboratory.model, empty, part, sigmas, solver, iterations)
            returned.append(laboratory.decode(reconstruct(laboratory.model, empty, trajectory)))
        returned = torch.cat(returned)
        against_clean, against_picture = psnr(returned, decoded), psnr(returned, pictures)
        rows.append(
            {
                "inversion": label,
                "steps": steps,
                "calls per step": iterations,
                "against the decoded latent (dB)": against_clean.mean().item(),
                "worst tenth (dB)": against_clean.quantile(0.1).item(),
                "against the picture (dB)": against_picture.mean().item(),
                "VAE alone (dB)": vae_alone.mean().item(),
            }
        )
        sheet[f"{label} {steps}"] = returned
    note = f'{count} pictures, prompt "", PSNR of the decoded reconstruction, mean over pictures.'
    return [Table("round_trip", "Inversion and back", note, tuple(rows))], [Sheet("round_trip", sheet)]
