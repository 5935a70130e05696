"""The embedded model of faces: what is in its folder, its nodes, and a small part of the evaluation."""

import json

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, UNet2DModel
from graft.host.engine.pictures import decode, psnr
from graft.host.errors import GraftError
from graft.host.models import pixel_diffusion
from graft.host.samplers.sampling import GraftSampler
from graft.miniature.face_judge import load_face_judge
from graft.miniature.faces import ATTRIBUTES, CONTENT, Face, render, sample_face, sample_pose
from graft.nodes.miniature import LoadMiniatureFaces, MiniatureFace
from tiny_models import sample

SIZE_LIMIT = 12 * 2**20
SEED = 92_000


@pytest.fixture(scope="module")
def studio():
    from evaluation.injectfusion import faces_studio

    with torch.inference_mode():
        return faces_studio()


@pytest.fixture(scope="module")
def judge():
    return load_face_judge()


def faces(count: int, seed: int = SEED) -> list[Face]:
    rng = np.random.default_rng(seed)
    return [sample_face(rng) for _ in range(count)]


def test_the_folder_fits_in_the_repository_and_is_in_diffusers_own_format():
    files = {path.name: path.stat().st_size for path in pixel_diffusion.FACES.iterdir()}
    assert files.keys() == {"config.json", "diffusion_pytorch_model.safetensors", "scheduler_config.json"}
    assert sum(files.values()) <= SIZE_LIMIT
    network = UNet2DModel.from_pretrained(pixel_diffusion.FACES, local_files_only=True)
    assert network.config.sample_size == 64
    assert DDIMScheduler.from_pretrained(pixel_diffusion.FACES).config.beta_schedule == "linear"


def test_its_bottleneck_is_8_by_8_and_its_widest_layer(studio):
    network = studio.model.model.diffusion_model
    h, skips, _ = network.encode(torch.zeros(1, 3, 64, 64), torch.zeros(1))
    assert h.shape[-2:] == (8, 8) and h.shape[1] == max(skip.shape[1] for skip in skips)


def test_sampling_is_diffusers_own(studio):
    """Oracle: diffusers' scheduler and network from the same folder, which knows nothing of Graft."""
    network = UNet2DModel.from_pretrained(pixel_diffusion.FACES, local_files_only=True, torch_dtype=torch.float32).eval()
    scheduler = DDIMScheduler.from_pretrained(pixel_diffusion.FACES)
    scheduler.set_timesteps(4)
    x = torch.randn((2, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    sigmas = torch.cat([studio.model.model.model_sampling.sigmas[scheduler.timesteps], torch.zeros(1)])
    start = x * (1 + sigmas[0] ** 2).sqrt()
    options = {"cfg": 1.0, "sampler": GraftSampler("ddim"), "sigmas": sigmas, "start": torch.zeros_like(x), "latent": start}
    ours = sample(studio.model, studio.conditioning, **options)
    for timestep in scheduler.timesteps:
        x = scheduler.step(network(x, timestep).sample, timestep, x).prev_sample
    torch.testing.assert_close(ours, x, rtol=1e-3, atol=1e-3)


def test_it_paints_different_faces_that_the_judge_is_sure_of(studio, judge):
    noise = torch.randn((16, 3, 64, 64), generator=torch.Generator().manual_seed(1))
    latents = sample(studio.model, studio.conditioning, cfg=1.0, sampler=GraftSampler("ddim"), sigmas=studio.sigmas, start=noise)
    pictures = decode(studio.vae, latents)
    logits = judge(pictures.permute(0, 3, 1, 2))
    sure = torch.stack([values.softmax(dim=1).amax(dim=1) for values in logits.values()])
    assert float(sure.mean()) >= 0.9
    for name in ("jaw", "expression", "skin", "hair", "background"):
        assert len(set(logits[name].argmax(dim=1).tolist())) >= 3, name


def test_drawn_faces_come_back_from_their_inversion(studio, judge):
    drawn = torch.from_numpy(np.stack([render(face) for face in faces(8)]))
    back = studio.back(studio.inverted(drawn))
    assert psnr(back, drawn).mean() >= 20
    seen, truth = judge.verdicts(back), judge.verdicts(drawn)
    assert np.mean([float((seen[name] == truth[name]).float().mean()) for name in ATTRIBUTES]) >= 0.9


def test_injected_content_is_read_by_the_judge(studio, judge):
    """A small part of the evaluation: with everything injected, more content follows the content than without."""
    from evaluation.injectfusion import Settings, agreement, drawn

    originals, contents = faces(12), faces(12, SEED + 1)
    trajectories = studio.inverted(drawn(originals)), studio.inverted(drawn(contents))
    shares = {}
    for name, picture in (
        ("without", studio.back(trajectories[0])),
        ("with", studio.injected(*trajectories, Settings(gamma=0.6, omega=0.0))),
    ):
        agreed = agreement(judge, originals, contents, picture)
        shares[name] = np.mean([agreed[attribute][1] for attribute in CONTENT])
    assert shares["with"] >= shares["without"] + 10


# Nodes


def test_the_loader_gives_model_conditioning_and_vae():
    model, conditioning, vae = LoadMiniatureFaces.EXECUTE_NORMALIZED().args
    assert model.model.model_type.name == "V_PREDICTION" and float(model.model.model_sampling.sigma_max) == pytest.approx(157.4, abs=0.1)
    assert conditioning[0][0].shape == (1, 1, 1)
    picture = torch.rand(1, 64, 64, 3)
    torch.testing.assert_close(vae.decode(vae.encode(picture)), picture, rtol=1e-5, atol=1e-5)


def test_a_broken_installation_says_so(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "UNet2DModel"}))
    monkeypatch.setattr(pixel_diffusion, "FACES", tmp_path)
    with pytest.raises(GraftError, match=r"holds no diffusion_pytorch_model"):
        pixel_diffusion.load_faces()


def test_the_face_node_draws_what_its_inputs_say(judge):
    schema = MiniatureFace.define_schema()
    assert {part.id for part in schema.inputs} == {*ATTRIBUTES, "seed"} and all(part.tooltip for part in schema.inputs)
    inputs = {name: values[-1] for name, values in ATTRIBUTES.items()}
    (picture,) = MiniatureFace.EXECUTE_NORMALIZED(**inputs, seed=3).result
    assert picture.shape == (1, 64, 64, 3) and picture.dtype == torch.float32
    expected = render(Face(**inputs, pose=sample_pose(np.random.default_rng(3))))
    assert np.array_equal(picture[0].numpy(), expected)
    assert {name: ATTRIBUTES[name][int(number)] for name, number in judge.verdicts(picture).items()} == inputs
