"""Show Attention in the real host: its maps against maps written out, and a generation that it does not change."""

from types import SimpleNamespace

import comfy.samplers
import pytest
import torch
from graft.attention.words import WordError
from graft.host.attention_record import generate_and_record
from graft.host.errors import GraftError
from graft.host.layers import attention_layers, require_unet
from graft.nodes.cross_attention import CrossAttentionControlNode
from graft.nodes.inspection import ShowAttention
from tiny_models import GivenNoise, empty_like, make_guider, noise, prompt, random_trajectory, sample, schedule, snapshot, watched, worded
from written_out import maps, predict

STEPS, CFG = 4, 3.0
SOURCE, TARGET, NEGATIVE = worded(1, "a cat on a mat"), worded(2, "a ti|ger on a mat"), prompt(3)
WORDS = {"tiger": [2, 3], "mat": [6], "a": [1, 5]}
VAE = SimpleNamespace(decode=lambda latent: torch.nn.functional.interpolate(latent[:, :3], scale_factor=8).movedim(1, -1).sigmoid())


def edited(model):
    source = random_trajectory(model, SOURCE, steps=STEPS)
    inputs = {"mode": "replace", "start_percent": 0.0, "end_percent": 1.0, "word_weights": "", "word_windows": "", "alignment": "corrected"}
    return CrossAttentionControlNode.EXECUTE_NORMALIZED(model=model, source=source, source_conditioning=SOURCE, **inputs)[0]


def shown(model, words: str = "tiger, mat", positive: list = TARGET, grid: str = "quarter (paper)", batch: int = 1, size=(16, 16)):
    """The node itself, as a graph runs it."""
    start = noise(5, batch, *size)
    given = {"noise": GivenNoise(start), "guider": make_guider(model, positive, NEGATIVE, CFG), "latent_image": empty_like(start)}
    sampling = {"sampler": comfy.samplers.sampler_object("euler"), "sigmas": schedule(model, STEPS)}
    return ShowAttention.EXECUTE_NORMALIZED(**given, **sampling, vae=VAE, words=words, word_map_grid=grid)


def recorded(model, words: str, sampler: str = "euler", guider=None):
    start, guider = noise(5), guider or make_guider(model, TARGET, NEGATIVE, CFG)
    sampling = comfy.samplers.sampler_object(sampler), schedule(model, STEPS)
    return generate_and_record(guider, GivenNoise(start), empty_like(start), *sampling, words)


def explicit(model, x, sigma: float, conditioning: list, words: list[list[int]]) -> dict:
    """Per layer, the mean over heads of how much a word's tokens are looked at, summed."""
    looked = {}

    def keep(site, query, key, value):
        seen = maps(query, key)
        of_words = [seen.mean(dim=1)[..., tokens].sum(dim=-1) for tokens in words]
        looked[site.block, site.number, site.index] = torch.stack(of_words).reshape(len(words), 1, *site.grid)
        return seen @ value

    predict(model, x, torch.tensor(sigma), conditioning, attn2=keep)
    return looked


def require_maps(at_level: dict, expected: dict) -> None:
    ours = {(layer.block, layer.number, layer.index): seen.double() for layer, seen in at_level.items()}
    assert ours.keys() == expected.keys()
    for site, seen in ours.items():
        torch.testing.assert_close(seen, expected[site], rtol=1e-3, atol=1e-5)


def test_the_maps_are_those_of_what_the_network_was_shown(model):
    """Every layer, every step."""
    spied, calls = watched(model)
    _, record = recorded(spied, ", ".join(WORDS))
    assert record.words == tuple(WORDS) and list(record.maps) == schedule(model, STEPS)[:-1].tolist()
    for call in calls:
        expected = explicit(model, call.rows(0)[0], call.sigma, TARGET, list(WORDS.values()))
        assert len(expected) == len(attention_layers(require_unet(model)))
        require_maps(record.maps[call.sigma], expected)


def test_maps_are_shown_as_edited(model):
    """Prompt-to-Prompt gives each of tiger's two tokens half of what the source gives "cat"."""
    source = random_trajectory(model, SOURCE, steps=STEPS)
    _, record = recorded(edited(model), "tiger")
    for level, sigma in enumerate(source.sigmas[:-1].tolist()):
        require_maps(record.maps[sigma], explicit(model, source.latents[level], sigma, SOURCE, [[2]]))


@pytest.mark.parametrize("make", [lambda model: model, edited], ids=["plain", "edited"])
def test_the_generation_is_bit_for_bit_that_of_the_sampler(model, make):
    one = make(model)
    output = shown(one)
    expected = sample(one, TARGET, NEGATIVE, cfg=CFG, start=noise(5), sigmas=schedule(model, STEPS))
    assert torch.equal(output[0]["samples"], expected)
    assert torch.equal(output[1], VAE.decode(expected).clamp(0, 1))


def test_the_guider_and_its_model_are_left_as_they_were(sd1):
    guider = make_guider(sd1, TARGET, NEGATIVE, CFG)
    before, options, names = snapshot(sd1), guider.model_options, set(vars(guider))
    recorded(sd1, "mat", guider=guider)
    assert guider.model_patcher is sd1 and guider.model_options is options and set(vars(guider)) == names
    assert snapshot(sd1) == before


def test_pictures_come_one_per_word_and_picture(sd1):
    _, image, heat, pages = shown(sd1, batch=2, size=(16, 24)).result
    assert image.shape == (2, 128, 192, 3)
    assert heat.shape[0] == 4 and heat.shape[2:] == (192, 3) and heat.shape[1] > 128
    assert torch.equal(heat[0, 128:], heat[1, 128:]) and not torch.equal(heat[0, 128:], heat[2, 128:])  # captions
    assert pages.shape[0] == 2 and pages.shape[-1] == 3
    for pictures in (heat, pages):
        assert float(pictures.min()) >= 0 and float(pictures.max()) <= 1


def test_without_words_all_words_are_shown_once(sd1):
    _, record = recorded(sd1, "")
    assert record.words == ("a", "tiger", "on", "mat")
    assert len(shown(sd1, "").result[2]) == 4


def test_where_a_sampler_looks_twice_the_last_look_is_kept(sd1):
    _, record = recorded(sd1, "mat", "heun")
    assert sorted(record.maps, reverse=True) == schedule(sd1, STEPS)[:-1].tolist()


@pytest.mark.parametrize(
    ("words", "positive", "message"),
    [
        ("cow", TARGET, "^words: the prompt has no 'cow'; its words are: a, tiger, on, mat"),
        ("mat", prompt(2), r"^positive: it does not say which words it was made of"),
        ("mat", [*TARGET, *SOURCE], r"^positive: Show Attention needs one prompt, got 2 combined"),
    ],
)
def test_what_cannot_be_shown_is_refused_before_the_first_call(sd1, words, positive, message):
    spied, calls = watched(sd1)
    with pytest.raises((GraftError, WordError), match=message):
        shown(spied, words, positive)
    assert not calls


def test_a_grid_that_the_model_has_no_attention_on_is_refused(built):
    with pytest.raises(GraftError, match=r"^word_map_grid: this model has no attention on the latent's grid halved 0 times"):
        shown(built("sdxl").clone(), grid="full")
