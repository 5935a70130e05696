"""Perceptual losses through ComfyUI's own VAEs: gradients, private copies, memory, and LPIPS's files."""

import importlib.util
import logging
import weakref

import comfy.model_management
import comfy.sd
import folder_paths
import pytest
import torch
from comfy.ldm.models.autoencoder import AutoencoderKL
from comfy.taesd.taesd import TAESD
from graft.host.errors import GraftError
from graft.host.models import miniature
from graft.host.models.vgg import BACKBONE, LINEAR, SHIFT, SLICES, vgg_features
from graft.host.samplers import perceptual
from graft.host.samplers.perceptual import PerceptualLoss, PrivateVae
from graft.miniature.network import LATENT_CHANNELS
from graft.optimization.perceptual import PictureLoss, Region
from random_weights import fill
from tiny_models import noise
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torchvision.models.vgg import cfgs, make_layers

SMALL = {"double_z": True, "z_channels": 4, "in_channels": 3, "out_ch": 3, "ch": 32, "ch_mult": [1, 2], "num_res_blocks": 1}
STABLE_DIFFUSION = {**SMALL, "ch": 128, "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2}
REST = {"resolution": 32, "attn_resolutions": [], "dropout": 0.0}
LEFT = torch.zeros(1, 16, 16)
LEFT[..., :7] = 1


def small_vae() -> comfy.sd.VAE:
    """Of ComfyUI's kind, made in inference mode as its loaders do."""
    config = {"ddconfig": {**SMALL, **REST}, "embed_dim": 4}
    network = AutoencoderKL(**config)
    fill(network, 0)
    vae = comfy.sd.VAE(sd=network.state_dict(), config={"params": config}, dtype=torch.float32)
    vae.downscale_ratio = vae.upscale_ratio = 2
    return vae


def small_taesd() -> comfy.sd.VAE:
    network = TAESD()
    fill(network, 0)
    network.vae_scale.fill_(1.0)
    return comfy.sd.VAE(sd=network.state_dict(), dtype=torch.float32)


def prepared(model, network: str = "vae", vae=None, masks=((LEFT, 0.3),), seed: int = 21):
    return PerceptualLoss(network, vae).prepare(model, noise(seed, height=8, width=8) * 4, masks)


def moved(model) -> Tensor:
    return model.model.process_latent_in(noise(21, height=8, width=8) * 4 + 0.5 * noise(22, height=8, width=8))


# The gradient


@pytest.mark.parametrize("make", [small_vae, small_taesd])
def test_the_gradient_through_comfys_vae_agrees_with_finite_differences_in_float64(sd1, make):
    vae = make()
    vae.vae_dtype = torch.float64
    private = PrivateVae(vae)
    clean, latent = (sd1.model.process_latent_out(part.double()) for part in (moved(sd1) * 0.9, moved(sd1)))
    with torch.inference_mode(False):
        mask = torch.zeros(1, 1, *private.decode(clean.clone()).shape[-2:], dtype=torch.float64)
        mask[..., :7] = 1
        loss = PictureLoss(private.decode, private.features, clean, [Region(mask, 0.3), Region(1 - mask, 0.1)])
    gradient = loss.gradient(latent)
    for seed in range(3):
        way = noise(30 + seed, height=8, width=8).double()
        expected = (loss.value(latent + 1e-7 * way) - loss.value(latent - 1e-7 * way)) / 2e-7
        torch.testing.assert_close((gradient * way).sum()[None], expected, rtol=1e-5, atol=1e-8)
        assert float(expected.abs()) > 1e-5


def test_the_features_are_what_the_encoder_passes_before_each_halving():
    vae = small_vae()
    private, picture, passed = PrivateVae(vae), torch.rand(1, 3, 16, 16) * 2 - 1, []
    encoder = vae.first_stage_model.encoder
    hooks = [level.block[-1].register_forward_hook(lambda module, args, output: passed.append(output)) for level in encoder.down]
    encoder(picture)
    for hook in hooks:
        hook.remove()
    ours = list(private.features(picture))
    assert [tuple(feature.shape[1:]) for feature in ours] == [(32, 16, 16), (64, 8, 8)]
    assert all(torch.equal(own, theirs) for own, theirs in zip(ours, passed, strict=True))


def test_the_private_vae_decodes_as_the_hosts(sd1):
    vae, latent = small_vae(), noise(21, height=8, width=8) * 4
    ours = PrivateVae(vae).decode(latent).movedim(1, -1)
    torch.testing.assert_close((ours / 2 + 0.5).clamp(0, 1), vae.decode(latent), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [small_vae, small_taesd])
def test_the_hosts_vae_stays_as_it_was(sd1, make):
    vae, latent = make(), noise(21, height=8, width=8)
    network = vae.first_stage_model
    modules, weights = list(network.modules()), {name: part.clone() for name, part in network.state_dict().items()}
    before = vae.decode(latent)
    prepared(sd1, vae=vae).gradient(moved(sd1))
    assert list(network.modules()) == modules and torch.equal(vae.decode(latent), before)
    assert all(torch.equal(part, weights[name]) for name, part in network.state_dict().items())
    assert all(weight.is_inference() and weight.grad is None for weight in network.parameters())


def test_forgotten_activations_change_nothing(sd1, monkeypatch):
    kept = prepared(sd1, vae=small_vae()).gradient(moved(sd1))
    monkeypatch.setattr(perceptual, "LARGE", 0)
    assert torch.equal(prepared(sd1, vae=small_vae()).gradient(moved(sd1)), kept)


def test_the_gradient_leads_back_to_the_source(sd1):
    loss, latent = prepared(sd1, vae=small_vae(), masks=[(torch.ones(1, 16, 16), 1.0)]), moved(sd1)
    first = float(loss.value(latent))
    for _ in range(30):
        gradient = loss.gradient(latent)
        latent = latent - 0.02 * gradient / gradient.abs().mean()
    assert float(loss.value(latent)) < 0.5 * first


def test_masks_without_weight_cost_nothing(sd1):
    assert len(prepared(sd1, vae=small_vae(), masks=((LEFT, 0.3), (1 - LEFT, 0.0))).regions) == 1


def test_only_vaes_of_pictures_that_gradients_can_go_through_are_taken(sd1):
    vae = small_vae()
    vae.first_stage_model = torch.nn.Linear(1, 1)
    with pytest.raises(GraftError, match=r"^vae: gradients do not go through Linear"):
        prepared(sd1, vae=vae)
    vae.latent_dim = 3
    with pytest.raises(GraftError, match=r"^vae: Linear is not a VAE of pictures"):
        prepared(sd1, vae=vae)


def test_the_miniatures_vae_and_latents_alone_work_too():
    model, vae = miniature.load_unet(), miniature.load_vae()
    latent = torch.randn(2, LATENT_CHANNELS, 16, 16, generator=torch.Generator().manual_seed(0))
    for network in ("vae", "latent"):
        loss = PerceptualLoss(network, vae).prepare(model, latent, [(torch.ones(1, 128, 128), 0.3)])
        gradient = loss.gradient(model.model.process_latent_in(latent + 0.1))
        assert gradient.shape == latent.shape and bool(gradient.isfinite().all()) and bool(gradient.any())


# Memory


class Ledger(TorchDispatchMode):
    """Counts the bytes that are alive. On the meta device, where tensors have sizes and no contents."""

    def __init__(self) -> None:
        super().__init__()
        self.alive = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        output = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(output):
            if isinstance(tensor, Tensor) and tensor.untyped_storage()._cdata not in self.known:
                storage = tensor.untyped_storage()
                self.known.add(storage._cdata)
                weakref.finalize(storage, self.forget, storage._cdata, storage.nbytes())
                self.alive += storage.nbytes()
                self.peak = max(self.peak, self.alive)
        return output

    def forget(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.alive -= size


def test_at_512_pixels_stable_diffusions_vae_takes_a_third_of_what_one_graph_takes(monkeypatch):
    """float32; half of it in the VAE's usual bfloat16."""
    monkeypatch.setattr(comfy.model_management, "get_free_memory", lambda *_: 1e15)
    with torch.device("meta"), torch.inference_mode(False):
        vae = comfy.sd.VAE.__new__(comfy.sd.VAE)
        vae.first_stage_model = AutoencoderKL(ddconfig={**STABLE_DIFFUSION, **REST}, embed_dim=4)
        vae.latent_dim, vae.upscale_ratio, vae.device, vae.vae_dtype = 2, 8, torch.device("meta"), torch.float32
        private = PrivateVae(vae)
        latent, mask = torch.zeros(1, 4, 64, 64), torch.ones(1, 1, 512, 512)
        loss = PictureLoss(private.decode, private.features, latent, [Region(mask, 0.3), Region(mask, 0.1)])

        def peak() -> float:
            with Ledger() as ledger:
                loss.gradient(latent)
            return ledger.peak / 2**30

        bounded = peak()
        monkeypatch.setattr(perceptual, "LARGE", 2**60)
        assert peak() > 8.5 and bounded < 3.0


# LPIPS


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A models folder of the user's without LPIPS's files, and none of them elsewhere on the machine."""
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (tmp_path / "lpips").mkdir()
    return tmp_path / "lpips"


def published(folder) -> tuple[torch.nn.Module, dict]:
    """Files of the published layout with random weights."""
    torch.manual_seed(0)
    with torch.inference_mode(False):
        network = make_layers(cfgs["D"])
        linear = {f"lin{level}.model.1.weight": torch.rand(1, width, 1, 1) for level, width in enumerate((64, 128, 256, 512, 512))}
        torch.save({f"features.{name}": part for name, part in network.state_dict().items()}, folder / BACKBONE)
        torch.save(linear, folder / LINEAR)
    return network.eval(), linear


def test_lpips_is_its_formula_on_the_users_files(sd1, models):
    network, linear = published(models)
    loss = PerceptualLoss("lpips", small_vae()).prepare(sd1, noise(21, height=16, width=16) * 4, [(torch.ones(1, 32, 32), 1.0)])
    latent = sd1.model.process_latent_in(noise(22, height=16, width=16) * 4)
    pictures = [PrivateVae(small_vae()).decode(noise(seed, height=16, width=16) * 4) for seed in (22, 21)]
    expected, hidden = 0.0, [(picture - torch.tensor(SHIFT).view(3, 1, 1)) / torch.tensor([0.458, 0.448, 0.450]).view(3, 1, 1) for picture in pictures]  # fmt: skip
    for level, (first, last) in enumerate(zip((0, *SLICES), SLICES, strict=False)):
        hidden = [network[first:last](part.clone()) for part in hidden]
        own, other = (part / (part.square().sum(dim=1, keepdim=True) + 1e-8).sqrt() for part in hidden)
        expected = expected + (linear[f"lin{level}.model.1.weight"] * (own - other) ** 2).sum(dim=1).mean(dim=(1, 2))
    torch.testing.assert_close(loss.value(latent), expected, rtol=1e-4, atol=1e-6)
    assert bool(loss.gradient(latent).isfinite().all())


@pytest.mark.parametrize("missing", [BACKBONE, LINEAR])
def test_a_missing_file_is_asked_for_by_name_and_place_and_never_fetched(models, missing, monkeypatch):
    published(models)
    (models / missing).unlink()
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *_, **__: pytest.fail("tried to download"))
    with pytest.raises(GraftError, match=rf"^network: lpips needs {missing} .* put it into {models}"):
        vgg_features(torch.device("cpu"), torch.float32)


def test_a_file_that_is_another_one_is_refused(models):
    published(models)
    torch.save({"other": torch.zeros(1)}, models / LINEAR)
    with pytest.raises(GraftError, match=r"^network: the files for lpips are not"):
        vgg_features(torch.device("cpu"), torch.float32)


def test_nothing_is_logged_as_an_error(sd1, caplog):
    prepared(sd1, vae=small_vae()).gradient(moved(sd1))
    assert not [entry for entry in caplog.records if entry.levelno >= logging.WARNING]
