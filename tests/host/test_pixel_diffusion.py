"""Pixel-space models: diffusers' UNet2DModel as a MODEL, against diffusers itself."""

import json
import logging
from pathlib import Path

import folder_paths
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from diffusers import DDIMScheduler, UNet2DModel
from graft.host.errors import GraftError
from graft.host.families.layers import require_unet
from graft.host.models.pixel_diffusion import names
from graft.host.samplers.sampling import GraftSampler, invert
from graft.nodes.h_space import AsymmetricSamplerNode, LoadPixelDiffusion, MixHSpaceNode
from random_weights import fill
from tiny_models import sample, schedule
from torch import Tensor
from written_out import require_close

DDPM = {
    "sample_size": 32,
    "block_out_channels": (32, 32, 64),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
}
"""The layout of ddpm-celebahq-256, smaller."""

SCHEDULER = {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 2e-2, "num_train_timesteps": 1000}
RESNETS = {
    "down_block_types": ("ResnetDownsampleBlock2D", "AttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D"),
}
CENTERED = {"center_input_sample": True, "resnet_time_scale_shift": "scale_shift"}
STEPS = 5


@pytest.fixture
def models(tmp_path, monkeypatch) -> Path:
    """An empty models/diffusers."""
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "diffusers", ([str(tmp_path)], ["folder"]))
    return tmp_path


def saved(folder: Path, scheduler: dict | None = SCHEDULER, **changes) -> UNet2DModel:
    """A folder as `save_pretrained` writes it, and what was written."""
    network = UNet2DModel(**{**DDPM, **changes}).eval()
    fill(network, 0)
    network.save_pretrained(folder)
    if scheduler is not None:
        (folder / "scheduler_config.json").write_text(json.dumps(scheduler))
    return network


def loaded(name: str = "ddpm"):
    """MODEL, CONDITIONING and VAE, as a graph gets them."""
    return LoadPixelDiffusion.EXECUTE_NORMALIZED(folder=name).args


def pixels(seed: int, batch: int = 1, size: tuple[int, int] = (32, 32)) -> Tensor:
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    "changes", [{}, {"out_channels": 6}, CENTERED, RESNETS], ids=["ddpm", "learned variance", "centered", "sizes changed by resnets"]
)
@pytest.mark.parametrize("size", [(32, 32), (16, 40)])
def test_the_network_is_diffusers_own_forward(models, changes, size):
    """Bit for bit, at any size; the channels of a learned variance are dropped."""
    network, x, timesteps = saved(models / "ddpm", **changes), pixels(0, 2, size), torch.tensor([7, 960])
    model, _, _ = loaded()
    expected = network(x, timesteps).sample[:, :3]
    assert torch.equal(model.model.diffusion_model(x, timesteps.float()), expected)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("betas", ["linear", "scaled_linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize("sampler", ["euler", GraftSampler("ddim")], ids=["euler", "graft"])
def test_sampling_is_diffusers_ddim(models, prediction, betas, sampler):
    """Its scheduler with clip_sample off, through the host's own sampler and Graft's."""
    configuration = {**SCHEDULER, "prediction_type": prediction, "beta_schedule": betas}
    network, x = saved(models / "ddpm", configuration), pixels(1, 2)
    scheduler = DDIMScheduler(**configuration, clip_sample=False, set_alpha_to_one=True)
    scheduler.set_timesteps(STEPS)
    model, conditioning, _ = loaded()
    sigmas = torch.cat([model.model.model_sampling.sigmas[scheduler.timesteps], torch.zeros(1)])
    start = x * (1 + sigmas[0] ** 2).sqrt()
    ours = sample(model, conditioning, cfg=1.0, sampler=sampler, sigmas=sigmas, start=torch.zeros_like(x), latent=start)
    for timestep in scheduler.timesteps:
        x = scheduler.step(network(x, timestep).sample, timestep, x).prev_sample
    require_close(ours, x)


def test_the_schedule_is_ddpms_own(models):
    saved(models / "ddpm")
    model, _, _ = loaded()
    alphas = DDIMScheduler(**SCHEDULER).alphas_cumprod
    torch.testing.assert_close(model.model.model_sampling.sigmas, ((1 - alphas) / alphas).sqrt(), rtol=1e-3, atol=0)
    assert float(alphas[-1]) == pytest.approx(4.04e-5, rel=1e-2)


def test_pictures_pass_the_vae_unchanged(models):
    saved(models / "ddpm")
    image = torch.rand(1, 32, 32, 3)
    _, _, vae = loaded()
    latent = vae.encode(image)
    torch.testing.assert_close(latent, image.movedim(-1, 1) * 2 - 1, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(vae.decode(latent), image, rtol=1e-5, atol=1e-5)


# h-space


def mixed(model, content, conditioning, gamma: float = 0.6):
    inputs = {"preset": {"preset": "custom", "gamma": gamma}, "adapt_to_steps": False, "course": "constant", "mixing": "slerp"}
    return MixHSpaceNode.EXECUTE_NORMALIZED(model=model, content=content, content_conditioning=conditioning, **inputs)[0]


def asymmetric(preset: str):
    options = {"timesteps": "the model's", "injections": "grid", "boosts": "every step"}
    return AsymmetricSamplerNode.EXECUTE_NORMALIZED(preset={"preset": preset}, **options)[0]


@pytest.mark.parametrize("preset", ["released", "paper"])
def test_the_content_of_an_inverted_picture_is_injected_with_a_shared_decoder(models, preset, caplog):
    """Oracle: the same with edited rows computed as a whole."""
    saved(models / "ddpm", out_channels=6)
    model, conditioning, _ = loaded()
    sigmas = schedule(model, STEPS)
    content = invert(model, conditioning, pixels(2).clamp(-1, 1), sigmas, "ddim", 1)
    edited = mixed(model, content, conditioning)
    options = {"cfg": 1.0, "sigmas": sigmas, "start": pixels(3)}
    with caplog.at_level(logging.WARNING, logger="graft"):
        shared = sample(edited, conditioning, sampler=asymmetric(preset), **options)
    assert "takes longer" not in caplog.text
    apart = edited.clone()
    apart.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "test", lambda executor, *args, **kwargs: executor(*args, **kwargs))
    whole = sample(apart, conditioning, sampler=asymmetric(preset), **options)
    torch.testing.assert_close(shared, whole, rtol=1e-5, atol=1e-5 * float(whole.abs().max()))
    plain = sample(model, conditioning, sampler=asymmetric(preset), **options)
    assert float((shared - plain).abs().max()) > 0.05 * float(plain.abs().max())


def test_nodes_that_need_attention_refuse_it_by_name(models):
    saved(models / "ddpm")
    with pytest.raises(GraftError, match=r"^model: .*is not a Stable Diffusion UNet"):
        require_unet(loaded()[0])


def test_a_size_that_cannot_be_halved_often_enough_is_refused(models):
    saved(models / "ddpm")
    model, conditioning, _ = loaded()
    with pytest.raises(GraftError, match=r"^latent_image: 30 x 32 pixels.*multiples of 4"):
        sample(model, conditioning, cfg=1.0, steps=1, start=pixels(0, 1, (32, 30)))


# Folders


def test_networks_and_pipelines_are_found_by_their_folders(models):
    saved(models / "single")
    saved(models / "pipeline" / "unet", scheduler=None)
    (models / "pipeline" / "scheduler").mkdir()
    (models / "pipeline" / "scheduler" / "scheduler_config.json").write_text(json.dumps({**SCHEDULER, "prediction_type": "v_prediction"}))
    (models / "pipeline" / "vae").mkdir()
    (models / "pipeline" / "vae" / "config.json").write_text("{}")
    (models / "empty").mkdir()
    assert names() == ["pipeline", "single"]
    assert loaded("pipeline")[0].model.model_type.name == "V_PREDICTION" and loaded("single")[0].model.model_type.name == "EPS"


def test_a_folder_without_a_schedule_is_taken_for_ddpm_and_says_so(models, caplog):
    saved(models / "ddpm", scheduler=None)
    with caplog.at_level(logging.WARNING, logger="graft"):
        model, _, _ = loaded()
    assert "no scheduler_config.json" in caplog.text and float(model.model.model_sampling.sigma_max) == pytest.approx(157.4, abs=0.1)


@pytest.mark.parametrize(
    ("configuration", "scheduler", "message"),
    [
        ({"_class_name": "UNet2DConditionModel"}, {}, r"^folder: 'other' is a UNet2DConditionModel"),
        ({"_class_name": "AutoencoderKL"}, {}, r"^folder: 'other' is a AutoencoderKL"),
        ({"in_channels": 1, "out_channels": 1}, {}, r"^folder: 'other' has in_channels 1"),
        ({"out_channels": 4}, {}, r"^folder: 'other' has out_channels 4"),
        ({"num_class_embeds": 10}, {}, r"^folder: 'other' has num_class_embeds 10"),
        ({"time_embedding_type": "fourier"}, {}, r"^folder: 'other' has time_embedding_type 'fourier'"),
        ({"time_embedding_type": "learned"}, {}, r"^folder: 'other' has time_embedding_type 'learned'"),
        (
            {"down_block_types": ["SkipDownBlock2D"]},
            {},
            r"^folder: 'other' has SkipDownBlock2D among its down_block_types; .*AttnDownBlock2D",
        ),
        ({"up_block_types": ["UpBlock2D", "AttnSkipUpBlock2D"]}, {}, r"^folder: 'other' has AttnSkipUpBlock2D among its up_block_types"),
        ({}, {"num_train_timesteps": 4000}, r"^folder: 'other' has 4000 timesteps of linear betas"),
        ({}, {"beta_schedule": "sigmoid"}, r"^folder: 'other' has 1000 timesteps of sigmoid betas"),
        ({}, {"prediction_type": "sample"}, r"^folder: 'other' predicts 'sample'"),
    ],
)
def test_other_models_are_refused_by_name(models, configuration, scheduler, message):
    (models / "other").mkdir()
    (models / "other" / "config.json").write_text(json.dumps({"_class_name": "UNet2DModel", **configuration}))
    (models / "other" / "scheduler_config.json").write_text(json.dumps({**SCHEDULER, **scheduler}))
    with pytest.raises(GraftError, match=message):
        loaded("other")


def test_a_saved_network_with_a_second_path_for_the_picture_is_refused_when_it_is_loaded(models):
    """NCSN++ hands the picture itself on from block to block."""
    skips = {"down_block_types": ("DownBlock2D", "SkipDownBlock2D"), "up_block_types": ("SkipUpBlock2D", "UpBlock2D")}
    saved(models / "ncsn", block_out_channels=(32, 32), **skips)
    with pytest.raises(GraftError, match=r"^folder: 'ncsn' has SkipDownBlock2D among its down_block_types"):
        loaded("ncsn")


def test_a_folder_without_weights_or_outside_is_refused(models):
    (models / "other").mkdir()
    (models / "other" / "config.json").write_text(json.dumps({"_class_name": "UNet2DModel", **DDPM}))
    with pytest.raises(GraftError, match=r"^folder: 'other' holds no diffusion_pytorch_model\.safetensors"):
        loaded("other")
    with pytest.raises(GraftError, match=r"^folder: '\.\./other' is not in models/diffusers"):
        loaded("../other")
