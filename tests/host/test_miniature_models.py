"""The two models that know the world of things, in tiny sizes: trained a few steps, stopped and gone on with, exported, loaded by the host."""

import pickle
from functools import partial

import comfy.sample
import numpy as np
import pytest
import torch
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from graft.host.errors import GraftError
from graft.host.families.layers import attention_layers
from graft.host.models import miniature
from graft.miniature import network
from graft.miniature.network import Shapes
from graft.miniature.scenes.prompts import prompt_of
from graft.miniature.scenes.rendering import render
from graft.miniature.scenes.sampling import sample_scene
from graft.miniature.scenes.scene import KINDS, Scene, Thing
from safetensors import safe_open

SIDE = 32
VAE = network.VAE | {"ddconfig": network.VAE["ddconfig"] | {"ch_mult": [1, 1, 1, 1]}}
TEXT = network.TEXT | {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1}
UNET = network.UNET | {
    "image_size": SIDE // 8,
    "model_channels": 32,
    "channel_mult": [1, 1, 1, 1],
    "num_head_channels": 16,
    "context_dim": 32,
}
TRANSFORMER = network.TRANSFORMER | {
    "vec_in_dim": 32,
    "context_in_dim": 32,
    "hidden_size": 32,
    "num_heads": 2,
    "axes_dim": [4, 6, 6],
    "depth": 1,
    "depth_single_blocks": 1,
}
TINY = Shapes(VAE, TEXT, UNET, TRANSFORMER)
DENOISERS = {"unet": miniature.load_unet, "transformer": miniature.load_transformer}


def kind_of(name: str):
    from training import denoisers

    return {"unet": denoisers.UNet, "transformer": denoisers.Transformer}[name]


@pytest.fixture(scope="module")
def machine():
    from training.trainer import Machine

    return Machine(torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def work(tmp_path_factory, machine):
    """A work folder with two shards of small pictures, and all that the denoisers need: text encoder, VAE, latents."""
    from training import autoencoder, denoisers, pictures, text_encoder

    folder = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "SHARD", 8)
        patch.setattr(denoisers, "SAMPLES", 2)
        with torch.inference_mode(False):
            pictures.draw(folder, 2, SIDE)
            text_encoder.train(folder, machine, steps=3, size=4, shapes=TINY)
            text_encoder.export(folder)
            autoencoder.train(folder, machine, steps=3, size=4, shapes=TINY)
            autoencoder.export(folder, machine, TINY)
            autoencoder.latents(folder, machine, TINY)
        yield folder


@pytest.fixture(scope="module")
def weights(work, machine):
    """The folder of exported weights, with both denoisers after three steps."""
    from training import denoisers

    with torch.inference_mode(False):
        for name in DENOISERS:
            denoisers.train(work, machine, kind_of(name), steps=3, size=8, shapes=TINY)
            denoisers.export(work, name)
    return work / "model"


class Stopped(Exception):
    pass


@pytest.mark.parametrize("name", DENOISERS)
def test_a_training_that_was_stopped_goes_on_bit_for_bit(work, machine, name, tmp_path, monkeypatch):
    """Oracle: the same training, unbroken. It is stopped after a step that no checkpoint holds."""
    from training import denoisers, trainer

    monkeypatch.setattr(trainer, "SAVED_EVERY", 2)
    update = trainer.Trainer.update
    states = []
    for stop in (None, 3):

        def stopping(self, loss, stop=stop):
            update(self, loss)
            if self.step == stop:
                raise Stopped

        folder = tmp_path / str(stop)
        (folder / "model").mkdir(parents=True)
        (folder / "scenes").symlink_to(work / "scenes")
        for part in ("text_encoder", "autoencoder"):
            (folder / "model" / f"{part}.safetensors").symlink_to(work / "model" / f"{part}.safetensors")
        with torch.inference_mode(False):
            train = partial(denoisers.train, folder, machine, kind_of(name), steps=4, size=8, shapes=TINY)
            if stop:
                monkeypatch.setattr(trainer.Trainer, "update", stopping)
                with pytest.raises(Stopped):
                    train()
                monkeypatch.setattr(trainer.Trainer, "update", update)
            train()
        states.append(torch.load(folder / f"{name}.pt", weights_only=True))
    unbroken, broken = states
    assert unbroken["step"] == broken["step"] == 4
    for part in ("masters", "averages"):
        assert all(torch.equal(value, broken[part][key]) for key, value in unbroken[part].items())


def test_matrices_are_trained_with_muon_where_bfloat16_is_and_either_kind_of_machine_goes_on_from_the_other(tmp_path):
    """Muon's step of a convolution's weights is a matrix of which most singular values are nearly equal."""
    from training.trainer import Machine, Trainer

    def made(dtype: torch.dtype):
        machine = Machine(torch.device("cpu"), dtype)
        torch.manual_seed(0)
        network = machine.place(torch.nn.Sequential(torch.nn.Conv2d(3, 32, 3), torch.nn.Conv2d(32, 32, 3)))
        return network, Trainer(network, machine=machine, rate=1e-3, steps=9, average=0.9, checkpoint=tmp_path / "it.pt")

    with torch.inference_mode(False), torch.enable_grad():
        network, trainer = made(torch.bfloat16)
        assert [type(optimiser).__name__ for optimiser in trainer.optimisers] == ["AdamW", "Muon"]
        before = trainer.masters["1.weight"].clone()
        trainer.update(network(torch.rand(2, 3, 8, 8, dtype=torch.bfloat16)).square().mean())
        values = torch.linalg.svdvals((trainer.masters["1.weight"] - before).flatten(1))
        assert values.median() > values.max() / 2
        trainer.save()
        _, other = made(torch.float32)
    assert [type(optimiser).__name__ for optimiser in other.optimisers] == ["AdamW"]
    assert other.step == other.warmed_from == 1
    assert all(torch.equal(value, other.masters[name]) for name, value in trainer.masters.items())


def test_a_training_without_a_checkpoint_starts_from_exported_weights(weights, machine, tmp_path):
    from training.trainer import Trainer, load_part

    path = weights / "unet.safetensors"
    with torch.inference_mode(False):
        network = kind_of("unet")(TINY).network
        trainer = Trainer(network, machine=machine, rate=1e-3, steps=9, average=0.9, checkpoint=tmp_path / "unet.pt", start=path)
    exported, step = load_part(path)
    assert trainer.step == trainer.warmed_from == step == 3
    assert all(torch.equal(value, exported[name]) for name, value in network.state_dict().items())


def test_the_text_encoder_starts_from_exported_weights_as_well(work, machine, tmp_path):
    """Else a new machine would replace the one that the denoisers were trained with."""
    from training import text_encoder
    from training.trainer import load_part

    (tmp_path / "model").mkdir()
    path = tmp_path / "model" / "text_encoder.safetensors"
    path.write_bytes((work / "model" / "text_encoder.safetensors").read_bytes())
    before, step = load_part(path)
    with torch.inference_mode(False):
        text_encoder.train(tmp_path, machine, steps=step, size=4, shapes=TINY)
        assert not (tmp_path / "text_encoder.pt").exists()
        text_encoder.train(tmp_path, machine, steps=step + 1, size=4, rate=1e-6, shapes=TINY)
        text_encoder.export(tmp_path)
    after, new_step = load_part(path)
    assert new_step == step + 1 and after.keys() == before.keys()
    assert all(torch.allclose(value, before[name], atol=1e-3) for name, value in after.items())


def test_the_host_encodes_prompts_as_the_training_did(work, machine):
    from training.text_encoder import encode_prompts, load_text_encoder

    rng = np.random.default_rng(5)
    prompts = ["", *(prompt_of(sample_scene(rng)) for _ in range(3))]
    tokens, encoder = load_text_encoder(work, machine, TINY)
    encoded = encode_prompts(tokens, encoder, prompts, machine)
    clip = miniature.load_clip(work / "model", TINY)
    for row, prompt in enumerate(prompts):
        states, pooled = clip.encode_from_tokens(clip.tokenize(prompt), return_pooled=True)
        assert torch.allclose(states[0], encoded.states[row], atol=1e-5)
        assert torch.allclose(pooled[0], encoded.pooled[row], atol=1e-5)


def test_the_vae_keeps_its_pictures_when_its_latents_are_normalised(work, machine):
    """Oracle: the VAE as it was trained, before the export."""
    from training.autoencoder import build_vae
    from training.pictures import Shards
    from training.trainer import averages_of

    pictures = Shards.of(work).pictures(torch.arange(4)).permute(0, 2, 3, 1).float() / 255
    vae = miniature.load_vae(work / "model", TINY)
    latents = vae.encode(pictures)
    seen = miniature.MiniatureLatent().process_in(latents)
    assert latents.shape == (4, network.LATENT_CHANNELS, SIDE // 8, SIDE // 8)
    assert seen.mean().abs() < 0.2 and 0.7 < seen.std() < 1.3
    trained = build_vae(TINY)
    trained.load_state_dict(averages_of(work / "autoencoder.pt")[0])
    decoded = trained.decode(trained.encode(pictures.permute(0, 3, 1, 2) * 2 - 1))
    assert torch.allclose(vae.decode(latents), ((decoded + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1), atol=2e-2)


def test_the_vaes_norms_leave_the_brightness_of_a_plane():
    """With a group for each channel, as in ComfyUI's layout at this width, every plane is the same after a norm."""
    from training.autoencoder import build_vae

    norm = build_vae().decoder.norm_out
    planes = torch.linspace(-1, 1, 32)[:, None, None].expand(32, 8, 8)
    dark, bright = norm(torch.stack([planes, planes + torch.arange(32)[:, None, None] % 3]))
    assert (dark - bright).abs().mean() > 0.1
    stock = torch.nn.functional.group_norm(torch.stack([planes, 2 * planes]), 32)
    assert stock.abs().max() < 1e-3


@pytest.mark.parametrize("name", DENOISERS)
def test_the_host_predicts_what_the_training_does(work, machine, name, tmp_path):
    """Oracle: the training's own network, with weights far from zero, and the formula of its kind."""
    from training.denoisers import linked_attention
    from training.text_encoder import encode_prompts, load_text_encoder
    from training.trainer import load_part, save_part

    denoiser = kind_of(name)(TINY)
    rng = torch.Generator().manual_seed(4)
    random = {key: torch.randn(value.shape, generator=rng) * 0.1 for key, value in denoiser.network.state_dict().items()}
    save_part(tmp_path / f"{name}.safetensors", random, 0)
    (tmp_path / "autoencoder.safetensors").symlink_to(work / "model" / "autoencoder.safetensors")
    denoiser.network.load_state_dict(load_part(tmp_path / f"{name}.safetensors")[0])
    encoded = encode_prompts(*load_text_encoder(work, machine, TINY), ["a watercolour of a car in snow", "an empty street"], machine)
    latents, noise = torch.randn((2, 2, network.LATENT_CHANNELS, 4, 4), generator=rng)
    noised = denoiser.noised(latents, torch.full((2,), 0.4), noise)
    predicted = denoiser.predict(noised.shown, noised.level, encoded, partial(linked_attention, 0))
    assert predicted.std() > 0.01

    model = DENOISERS[name](tmp_path, TINY)
    sampling = model.get_model_object("model_sampling")
    sigma = sampling.sigma(noised.level) if name == "unet" else noised.level
    rows = sigma[:, None, None, None]
    length = (1 + rows**2).sqrt() if name == "unet" else 1.0
    conditions = {"y": encoded.pooled} if name == "transformer" else {}
    denoised = model.model.apply_model(noised.shown * length, sigma, c_crossattn=encoded.states, **conditions)
    assert torch.allclose(denoised, (noised.shown - rows * predicted) / length, atol=1e-3)
    truth = model.model.process_latent_in(miniature.MiniatureLatent().process_out(latents))
    assert torch.allclose((noised.shown - rows * noised.target) / length, truth, atol=1e-3)


@pytest.mark.parametrize("name", DENOISERS)
def test_the_host_samples_and_decodes(weights, name):
    model, clip, vae = DENOISERS[name](weights, TINY), miniature.load_clip(weights, TINY), miniature.load_vae(weights, TINY)
    positive, negative = ([[*_encoded(clip, prompt)]] for prompt in ("a watercolour of a car in snow", ""))
    latent = torch.zeros(1, network.LATENT_CHANNELS, 4, 4)
    noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(2))
    sampled = comfy.sample.sample(model, noise, 3, 3.0, "euler", "simple", positive, negative, latent, disable_pbar=True)
    assert sampled.isfinite().all() and sampled.std() > 0.1
    assert vae.decode(sampled).shape == (1, SIDE, SIDE, 3)
    assert len(model.model.latent_format.latent_rgb_factors) == network.LATENT_CHANNELS


def _encoded(clip, prompt: str) -> tuple:
    states, pooled = clip.encode_from_tokens(clip.tokenize(prompt), return_pooled=True)
    return states, {"pooled_output": pooled}


def test_pairs_attend_to_each_other_and_to_no_one_elses_text():
    """Oracle: rows attend to their own tokens, then to the partner's picture, written out one by one."""
    from training.denoisers import linked_attention

    query, key, value = torch.randn((3, 5, 7, 8), generator=torch.Generator().manual_seed(3))
    out = linked_attention(2, 3, None, query, key, value, 2)
    for row, partner in enumerate((None, 3, 4, 1, 2)):
        keys, values = ([part[row]] + ([part[partner][3:]] if partner else []) for part in (key, value))
        heads = [t.view(len(t), 2, 4).transpose(0, 1) for t in (query[row], torch.cat(keys), torch.cat(values))]
        expected = torch.nn.functional.scaled_dot_product_attention(*heads).transpose(0, 1).reshape(7, 8)
        assert torch.allclose(out[row], expected, atol=1e-5)


def test_shapes_are_those_of_the_families_and_small():
    """24 MiB in half precision are 12.5 million parameters."""
    unet, transformer = (kind_of(name)().network for name in DENOISERS)
    assert isinstance(unet, UNetModel) and type(transformer).__module__ == "comfy.ldm.flux.model"
    for denoiser in (unet, transformer):
        assert sum(parameter.numel() for parameter in denoiser.parameters()) * 2 <= 24 * 2**20
    layers = [(layer.block, layer.number) for layer in attention_layers(unet)]
    assert [layer for layer in layers if layer[0] != "middle"] == [("input", n) for n in (1, 2, 4, 5, 7, 8)] + [
        ("output", n) for n in range(3, 12)
    ]


def test_missing_weights_say_what_to_do(tmp_path):
    with pytest.raises(GraftError, match=r"the miniature's unet cannot be read .*install Graft again"):
        miniature.weights(tmp_path, "unet")


@pytest.mark.parametrize("name", DENOISERS)
def test_half_of_the_levels_are_about_as_noisy_as_the_picture_is_strong(name):
    """What is to be seen of a thing is decided there; the noisiest levels show no more than where it is bright."""
    denoiser, share = kind_of(name)(TINY), torch.linspace(0, 1, 1001)[:-1]
    silent = torch.zeros(len(share), network.LATENT_CHANNELS, 1, 1)
    scale = network.UNET_SCALE if name == "unet" else 1.0
    noise, picture = (
        denoiser.noised(*parts).shown[:, 0, 0, 0] for parts in ((silent, share, silent + 1), (silent + 1 / scale, share, silent))
    )
    strength = noise / (scale * picture)
    assert (strength.diff() >= 0).all() and 1 < strength[500] < 2
    assert strength[50] < 0.4 and strength[950] > 5
    assert torch.allclose(denoiser.noised(silent, share, silent).strength, strength, rtol=1e-4)


def test_things_count_more_where_they_are_to_be_seen():
    from training.layouts import THING_WEIGHT

    silent, things = torch.zeros(2, network.LATENT_CHANNELS, 1, 2), torch.tensor([[[0.0, 1.0]], [[0.0, 1.0]]])
    weights = kind_of("transformer")(TINY).noised(silent, torch.tensor([0.01, 0.9999]), silent).weights(things)[:, 0]
    assert weights.mean().item() == pytest.approx(1)
    assert (weights[:, 1] / weights[:, 0]).tolist() == pytest.approx([THING_WEIGHT, 1], rel=0.05)


def test_a_layout_says_what_is_where():
    """Oracle: the drawn masks, and the things' own boxes."""
    from training.layouts import Layout

    things = Thing("car", "red", x=0.3, y=0.9, size=0.4, mirrored=True), Thing("owl", x=0.75, y=0.9, size=0.4)
    scenes = [Scene("sand", things=things), Scene("sand")]
    labels = torch.zeros(2, 64, 64)
    for number, mask in enumerate(render(scenes[0], 64).objects, start=1):
        labels[0][torch.from_numpy(mask) > 0.5] = number
    layout = Layout.of(scenes, labels, 16, 16)
    assert not layout.kinds[1].any() and not layout.covered[1].any()
    for thing, left in zip(things, (True, False), strict=True):
        own = layout.kinds[0] == KINDS.index(thing.kind) + 1
        assert own.any() and (own.nonzero()[:, 1] < 8).all() == left
        across, down, side = layout.places[0][:, own]
        assert (across.abs() <= 1.2).all() and (down.abs() <= 1.2).all() and (side == (-1 if thing.mirrored else 1)).all()
        assert (across.diff() > 0).any() and across.min() < -0.4 and across.max() > 0.4 and down.max() > 0.6
    assert not layout.places[0][:, layout.kinds[0] == 0].any()


def test_close_ups_are_squares_of_pictures_and_name_what_is_mostly_inside(tmp_path):
    """Oracle: latents and labels that say where each cell is, and the things' own boxes."""
    from training.batches import Material, close_ups
    from training.pictures import Shard, Shards

    rng, count, cells = np.random.default_rng(3), 64, 16
    scenes = [sample_scene(rng) for _ in range(count)]
    folder = tmp_path / "00001"
    folder.mkdir()
    latents = np.broadcast_to(np.arange(cells * cells).reshape(cells, cells), (count, 3, cells, cells)).astype(np.float16).copy()
    latents[:, 1], latents[:, 2] = np.arange(count)[:, None, None], 0
    labels = np.zeros((count, 64, 64), np.uint8)
    for row, scene in enumerate(scenes):
        for number, thing in enumerate(scene.things, start=1):
            left, top, right, bottom = (round(edge * 64) for edge in thing.box)
            labels[row, top:bottom, left:right] = number
    np.save(folder / "latents-own.npy", latents)
    np.save(folder / "labels.npy", labels)
    (folder / "scenes.pkl").write_bytes(pickle.dumps(scenes))
    batch = close_ups(Material(Shards((Shard(folder),)), "own"), 5, 40)
    assert batch.latents.shape == (40, 3, 8, 8) and batch.pairs == 0 and batch.share.sort().values.diff().max() < 0.1
    named = 0
    for own, kinds, covered, prompt in zip(batch.latents, batch.layout.kinds, batch.layout.covered, batch.prompts, strict=True):
        place = (own / network.LATENT_SCALE + network.LATENT_SHIFT).round().long()
        down, across = np.divmod(place[0].numpy(), cells)
        assert (np.diff(down, axis=0) == 1).all() and (np.diff(across, axis=1) == 1).all()
        scene = scenes[place[1, 0, 0]]
        assert covered.mean() > 0.15 and set(kinds.unique().tolist()) <= {0} | {KINDS.index(thing.kind) + 1 for thing in scene.things}
        for thing in scene.things:
            left, top, right, bottom = (edge * cells for edge in thing.box)
            wide = min(right, across.max() + 1) - max(left, across.min())
            high = min(bottom, down.max() + 1) - max(top, down.min())
            inside = max(wide, 0) * max(high, 0) > 0.5 * (right - left) * (bottom - top)
            assert not prompt or (thing.kind in prompt.split()) == inside or len({other.kind for other in scene.things}) == 1
        named += bool(prompt)
    assert 30 < named < 40


@torch.inference_mode(False)
@pytest.mark.parametrize("name", DENOISERS)
def test_what_a_network_knows_half_way_is_read_cell_by_cell(name):
    """A reading of the states of one row and column changes with those alone, and with its loss it is learnt."""
    from training.layouts import Layout, Reading

    denoiser, cells = kind_of(name)(TINY), SIDE // 8
    layer, channels = denoiser.half_way()
    assert layer in list(denoiser.network.modules())
    if name == "unet":
        state = denoiser.cells(torch.randn(1, channels, cells, cells), 32)
    else:
        picture = torch.arange(4.0)[None, :, None].expand(1, 4, channels)
        state = denoiser.cells(torch.cat([torch.full((1, 32, channels), -1.0), picture], dim=1), 32)
        assert state[0, 0].tolist() == [[0, 1], [2, 3]]
    reading = Reading(channels)
    kinds = torch.randint(1, len(KINDS), (1, cells, cells), generator=torch.Generator().manual_seed(1))
    layout = Layout((kinds > 0).float(), kinds, torch.randn(1, 3, cells, cells))
    optimiser, state = torch.optim.Adam(reading.parameters(), 1e-2), torch.randn_like(state)
    losses = []
    for _ in range(150):
        loss = reading.loss(state, layout)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 * losses[0]


def test_what_is_exported_has_no_reading(weights):
    for name in DENOISERS:
        with safe_open(weights / f"{name}.safetensors", "pt") as file:
            assert not [key for key in file.keys() if "reading" in key]  # noqa: SIM118 (it is no dictionary)
