"""InjectFusion on the miniature's faces (the paper's Tables 1 and 2), and h-space on the miniature's scenes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import comfy.samplers
import numpy as np
import torch
from graft.host.edits.h_space import MixHSpace
from graft.host.engine.pictures import decode, encode
from graft.host.engine.plan import Plan
from graft.host.engine.run import carry_out
from graft.host.engine.stream import Stream
from graft.host.models import pixel_diffusion
from graft.host.samplers.asymmetric_sampler import AsymmetricSampler, Intervals
from graft.host.samplers.sampling import invert, reconstruct
from graft.hspace.slerp import Mixing
from graft.inversion.trajectory import Trajectory
from graft.miniature.face_judge import FaceJudge, load_face_judge
from graft.miniature.faces import ATTRIBUTES, CONTENT, Face, render, sample_face
from graft.miniature.judge import Verdict
from graft.miniature.scenes.scene import Scene
from torch import Tensor

from .laboratory import UNSEEN, Laboratory, picture
from .report import Sheet, Table
from .scenes import coloured_scene

SEED = UNSEEN + 12
STEPS, BATCH = 50, 32
REFERENCES = 1024
"""Drawings whose distribution the results' is compared with."""
DRAWS = 60
"""Of pairs with replacement, to see how much of a distance is chance."""


@dataclass(frozen=True)
class Settings:
    """What is injected, and how: the preset "paper" of the nodes, unless said otherwise, at the noise levels of a small picture.

    At a quarter of the paper's 256 pixels a quarter of the noise hides as much (Hoogeboom et al. 2023, simple diffusion, section
    3.1): its timesteps 400 and 200, sigma 2.04 and 0.72, are 150 and 50 here.
    """

    gamma: float = 0.6
    omega: float = 0.3
    mixing: Mixing = "slerp"
    edit: int = 150
    boost: int = 50


PAPER, WHOLE = "Slerp", "Slerp, gamma 1, omega 0"
MIXINGS = {
    "replace": Settings(mixing="replace"),
    "Lerp": Settings(mixing="lerp"),
    PAPER: Settings(),
    "replace, omega 0": Settings(mixing="replace", omega=0.0),
    WHOLE: Settings(gamma=1.0, omega=0.0),
}
LATE = "Slerp, 400 and 200"
LARGE = {
    "replace, 400 and 200": Settings(mixing="replace", edit=400, boost=200),
    "Lerp, 400 and 200": Settings(mixing="lerp", edit=400, boost=200),
    LATE: Settings(edit=400, boost=200),
}
"""At the paper's own timesteps."""
NETWORK = (
    "The network's skips at 8 x 8 and 16 x 16 cells are closed in training: with all of them open a network this small draws from its skips, and the bottleneck has no say. "
    "bfloat16."
)
"""What every table of faces has to say."""
SCENES = Settings(gamma=1.0, omega=0.0, edit=400, boost=0)
"""As much as there is to inject."""


class Studio:
    """A model, its conditioning and its VAE, at the level that both worlds share."""

    def __init__(self, model, conditioning: list, vae, steps: int = STEPS) -> None:
        self.model, self.conditioning, self.vae = model, conditioning, vae
        self.sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "ddim_uniform", steps)[-(steps + 1) :]

    def inverted(self, pictures: Tensor) -> Trajectory:
        """By plain DDIM, as in the paper. (B, H, W, 3) in [0, 1]."""
        return invert(self.model, self.conditioning, encode(self.vae, pictures), self.sigmas, "ddim", 1)

    def back(self, original: Trajectory) -> Tensor:
        """(B, H, W, 3): the original sampled back without an edit."""
        return decode(self.vae, reconstruct(self.model, self.conditioning, original))

    def injected(self, original: Trajectory, content: Trajectory, settings: Settings) -> Tensor:
        """(B, H, W, 3): the original with the content's bottleneck."""
        stream = Stream(content, self.conditioning, name="content")
        model = carry_out(self.model, Plan((MixHSpace(stream, settings.gamma, settings.mixing),)))
        guider = comfy.samplers.CFGGuider(model)
        guider.inner_set_conds({"positive": self.conditioning})
        start = self.model.model.process_latent_out(original.latents[0])
        sampler = AsymmetricSampler(Intervals(settings.edit, settings.boost), settings.omega)
        latent = guider.sample(torch.zeros_like(start), start, sampler, original.sigmas, disable_pbar=True, seed=0)
        return decode(self.vae, latent)


def faces_studio(steps: int = STEPS) -> Studio:
    return Studio(pixel_diffusion.load_faces(), pixel_diffusion.no_prompt(), pixel_diffusion.load_vae(), steps)


def drawn(faces: list[Face]) -> Tensor:
    """(B, 64, 64, 3)."""
    return torch.from_numpy(np.stack([render(face) for face in faces]))


def run(laboratory: Laboratory, count: int = 256) -> tuple[list[Table], list[Sheet]]:
    """`count` unseen pairs of faces, and a quarter as many pairs of scenes."""
    studio, judge, rng = faces_studio(), load_face_judge(), np.random.default_rng(SEED)
    originals, contents = ([sample_face(rng) for _ in range(count)] for _ in range(2))
    mixings = MIXINGS | LARGE
    pictures = {"original": drawn(originals), "content": drawn(contents)} | {name: [] for name in ("round trip", *mixings)}
    for part in torch.arange(count).split(BATCH):
        # Three times as fast on CPUs as float32; the round trip shows what it costs.
        with torch.autocast(studio.model.load_device.type, torch.bfloat16):
            original, content = studio.inverted(pictures["original"][part]), studio.inverted(pictures["content"][part])
            pictures["round trip"].append(studio.back(original).float())
            for name, settings in mixings.items():
                pictures[name].append(studio.injected(original, content, settings).float())
    pictures = {name: torch.cat(parts) if isinstance(parts, list) else parts for name, parts in pictures.items()}
    drawings = _features(judge, drawn([sample_face(rng) for _ in range(REFERENCES)]))
    scenes, scenes_sheet = _scenes(laboratory, count // 4)
    return [
        _attributes(judge, originals, contents, pictures),
        *_mixings(judge, originals, contents, pictures, drawings),
        scenes,
    ], [Sheet("injectfusion_attributes", pictures), scenes_sheet]


def _attributes(judge: FaceJudge, originals: list[Face], contents: list[Face], pictures: dict[str, Tensor]) -> Table:
    agreed = {name: agreement(judge, originals, contents, pictures[name]) for name in (PAPER, WHOLE, "round trip")}
    rows = tuple(
        {
            "attribute": name,
            "kind": "content" if name in CONTENT else "colour",
            "pairs": agreed[PAPER][name][0],
            "follows the content (%)": agreed[PAPER][name][1],
            "follows the original (%)": agreed[PAPER][name][2],
            "gamma 1, omega 0: the content (%)": agreed[WHOLE][name][1],
            "gamma 1, omega 0: the original (%)": agreed[WHOLE][name][2],
            "original, sampled back (%)": agreed["round trip"][name][2],
        }
        for name in ATTRIBUTES
    )
    note = (
        f"The paper's Table 1 on {len(originals)} unseen pairs of faces: what the judge of faces (`miniature/face_judge.py`) reads in the result, of pairs whose "
        f"attribute differs. Gamma 0.6 for 30 injections, adapted to the steps there are, and omega 0.3, as in the paper; then all that there is to inject. {STEPS} steps of "
        f"DDIM there and back, injection down to timestep {Settings.edit} and boosting from {Settings.boost} on, in place of the paper's 400 and 200: at a quarter of its 256 pixels a "
        f"quarter of the noise hides as much. {NETWORK} The last column is the original, inverted and sampled back without an edit. In the sheet: originals, contents, "
        "what comes back, and the results of the next table's methods."
    )
    return Table("injectfusion_attributes", "InjectFusion: what follows the content, what the original", note, rows)


def agreement(judge: FaceJudge, originals: list[Face], contents: list[Face], pictures: Tensor) -> dict[str, tuple[int, float, float]]:
    """By attribute: the number of pairs in which it differs, and the percent of them that follow the content and the original."""
    seen, agreed = _seen(judge, pictures), {}
    for name, values in ATTRIBUTES.items():
        original, content = (np.array([values.index(getattr(face, name)) for face in faces]) for faces in (originals, contents))
        differ = original != content
        shares = [100 * float((seen[name] == of)[differ].mean()) if differ.any() else float("nan") for of in (content, original)]
        agreed[name] = int(differ.sum()), *shares
    return agreed


def _seen(judge: FaceJudge, pictures: Tensor) -> dict[str, np.ndarray]:
    return {name: numbers.numpy() for name, numbers in judge.verdicts(pictures).items()}


def _mixings(
    judge: FaceJudge, originals: list[Face], contents: list[Face], pictures: dict[str, Tensor], drawings: np.ndarray
) -> list[Table]:
    late, small = (
        _mixed(judge, originals, contents, {name: pictures[name] for name in ("original", "round trip", *mixings)}, drawings, rival)
        for mixings, rival in ((LARGE, LATE), (MIXINGS, PAPER))
    )
    note = (
        f"The paper's Table 2: ways of mixing the bottlenecks, with the paper's settings: gamma {Settings.gamma:g}, omega {Settings.omega:g}, injection down to timestep "
        f"{LARGE[LATE].edit}, boosting from {LARGE[LATE].boost} on. Fréchet distance between the judge's features of the results and of {REFERENCES} other drawings, in place "
        "of FID (lower is better); content attributes that follow the content, in place of the distance between identities; colour attributes that follow the original; Gram "
        "loss of the judge's convolutions against the original (lower is closer). Replace has no gamma, and Lerp at gamma 1 is replace. The differences of distances with their "
        f"standard deviation, over {DRAWS} bootstrap draws of the pairs. The distance of {len(originals)} drawings, the last row, is what so small a sample has at least. {NETWORK}"
    )
    small_note = (
        f"The same down to timestep {Settings.edit}, as in the first table, where most of the content comes through, and with all that there is to inject. Probably "
        "because halfway between two faces of this world, whose attributes have a few values and nothing between them, is no face, replacing comes closer here."
    )
    return [
        Table("injectfusion_mixing", "InjectFusion: ways of mixing", note, late),
        Table("injectfusion_mixing_small", "InjectFusion: ways of mixing, injected for longer", small_note, small),
    ]


def _mixed(
    judge: FaceJudge, originals: list[Face], contents: list[Face], pictures: dict[str, Tensor], drawings: np.ndarray, rival: str
) -> tuple[dict, ...]:
    """A row for each of the results, the originals last; `rival` is the one whose distance from the drawings' features (N, 128) the
    others' is compared with."""
    features = {name: _features(judge, shown) for name, shown in pictures.items()}
    against = _against(features, rival, drawings)
    rows = []
    for name in (*(name for name in features if name != "original"), "original"):
        agreed = agreement(judge, originals, contents, pictures[name])
        rows.append(
            {
                "result": {"original": "original, as drawn", "round trip": "original, sampled back"}.get(name, name),
                "Frechet distance": frechet_distance(features[name], drawings),
                "more than Slerp's by": against[name],
                "content agreement (%)": float(np.mean([agreed[attribute][1] for attribute in CONTENT])),
                "colour agreement (%)": float(np.mean([agreed[attribute][2] for attribute in ATTRIBUTES if attribute not in CONTENT])),
                "Gram loss": float((_grams(judge, pictures[name]) - _grams(judge, pictures["original"])).square().mean()),
            }
        )
    return tuple(rows)


def _against(features: dict[str, np.ndarray], one: str, references: np.ndarray) -> dict[str, str]:
    """How much farther from the references the results are than those of `one`, with the standard deviation over draws of the pairs."""
    rng = np.random.default_rng(0)
    count = len(features[one])
    draws = [rng.integers(0, count, count) for _ in range(DRAWS)]
    distances = {name: np.array([frechet_distance(of[drawn], references) for drawn in draws]) for name, of in features.items()}
    return {name: f"{(of - distances[one]).mean():.0f} ± {(of - distances[one]).std():.0f}" for name, of in distances.items()}


def _features(judge: FaceJudge, pictures: Tensor) -> np.ndarray:
    """(B, 128), float64."""
    return torch.cat([judge.features(part.permute(0, 3, 1, 2)) for part in pictures.split(BATCH)]).double().numpy()


def _grams(judge: FaceJudge, pictures: Tensor) -> Tensor:
    """(B, C, C): correlations of the channels at half the picture's side, where colours and textures are."""
    maps = torch.cat([judge.convolutions[0](2 * part.permute(0, 3, 1, 2) - 1) for part in pictures.split(BATCH)]).flatten(2)
    return maps @ maps.mT / maps.shape[-1]


def frechet_distance(some: np.ndarray, others: np.ndarray) -> float:
    """Between the normal distributions with the means and covariances of two samples (N, D) and (M, D) (Heusel et al. 2017, eq. 6)."""
    from scipy.linalg import eigvalsh, sqrtm

    one, other = np.cov(some, rowvar=False), np.cov(others, rowvar=False)
    root = sqrtm(one).real
    cross = np.sqrt(np.clip(eigvalsh(root @ other @ root), 0, None)).sum()
    return float(np.square(some.mean(0) - others.mean(0)).sum() + np.trace(one) + np.trace(other) - 2 * cross)


Fact = Callable[[Scene | Verdict], str]
SCENE_FACTS: dict[str, Fact] = {
    "thing": lambda scene: scene.things[0].kind,
    "colour": lambda scene: scene.things[0].colour,
    "ground": lambda scene: scene.ground,
    "light": lambda scene: scene.light,
    "style": lambda scene: scene.style,
}
"""Of a scene of one thing, and of what the judge sees."""


def _scenes(laboratory: Laboratory, count: int) -> tuple[Table, Sheet]:
    rng = np.random.default_rng([SEED, 1])
    originals, contents = ([coloured_scene(rng) for _ in range(count)] for _ in range(2))
    studio = Studio(laboratory.model, laboratory.conditioning([""]), laboratory.vae)
    pictures = {"original": picture(originals).pictures, "content": picture(contents).pictures}
    original, content = (studio.inverted(shown) for shown in pictures.values())
    results = {"injected": studio.injected(original, content, SCENES), "sampled back": studio.back(original)}
    seen = {name: laboratory.verdicts(pictures) for name, pictures in results.items()}
    rows = []
    for fact, of in SCENE_FACTS.items():
        differ = [index for index in range(count) if of(originals[index]) != of(contents[index])]

        def share(kind: str, scenes: list[Scene], of=of, differ=differ) -> float:
            verdicts = seen[kind]
            return 100 * float(np.mean([bool(verdicts[i].things) and of(verdicts[i]) == of(scenes[i]) for i in differ]))

        rows.append(
            {
                "attribute": fact,
                "pairs": len(differ),
                "follows the content (%)": share("injected", contents),
                "follows the original (%)": share("injected", originals),
                "original, sampled back (%)": share("sampled back", originals),
            }
        )
    note = (
        f"{count} unseen pairs of scenes with one thing that shows its colour, the empty prompt, {STEPS} steps, as much as there is to inject: gamma 1, omega 0, no boosting. "
        "The paper calls InjectFusion on latent models a pilot. A result in which the judge sees no thing follows neither."
    )
    table = Table("injectfusion_scenes", "InjectFusion on the scenes, a latent model", note, tuple(rows))
    return table, Sheet("injectfusion_scenes", pictures | results)
