"""Show Attention in the real host: its maps against maps written out, and a generation that it does not change."""

from types import SimpleNamespace

import comfy.samplers
import pytest
import torch
from graft.attention.words import WordError
from graft.host.engine.noise_levels import percent_at
from graft.host.errors import GraftError
from graft.host.families.layer import Layer
from graft.host.families.layers import attention_layers, layers_at, require_unet
from graft.host.inspection.attention_record import AttentionRecord, generate_and_record
from graft.host.inspection.captions import Scale, strips
from graft.host.inspection.heat_maps import CELL, TITLE, colours, layers_by_steps, over_grey, over_picture
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


def recorded(model, words: str, sampler: str = "euler", guider=None, size=(16, 16)):
    start, guider = noise(5, 1, *size), guider or make_guider(model, TARGET, NEGATIVE, CFG)
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
    assert heat.shape[0] == 4 and heat.shape[2:] == (384, 3) and heat.shape[1] > 256  # twice as large, to have room for words
    assert pages.shape[0] == 2 and pages.shape[-1] == 3
    for pictures in (heat, pages):
        assert float(pictures.min()) >= 0 and float(pictures.max()) <= 1


def percents(model, sigmas) -> list[str]:
    return [f"{100 * percent_at(model.get_model_object('model_sampling'), float(sigma)):.0f}" for sigma in sigmas]


@pytest.mark.parametrize("words", ["tiger, mat", "tiger, a tiger on a mat"])
def test_heat_maps_say_word_noise_levels_and_the_shares_at_the_ends_of_the_scale(sd1, words):
    heat = shown(sd1, words).result[2]
    _, record = recorded(sd1, words)
    layers = layers_at(require_unet(sd1), 2)
    means = torch.stack([seen for at_level in record.maps.values() for layer, seen in at_level.items() if layer in layers]).mean(dim=0)
    first, last = (schedule(sd1, STEPS)[index] for index in (0, -2))
    levels = f"mean of 4 steps, sigma {first:.3g} to {last:.3g} ({' to '.join(percents(sd1, (first, last)))} % of the run)"
    scales = []
    for mean in means:
        least, most = (f"{float(f'{100 * float(end):.2g}'):g} %" for end in (mean.min(), mean.max()))
        scales.append(Scale(f"least: {least}", f"most: {most} of the attention", over_grey()))
    expected = strips(heat.shape[2], [f"{word}\n{levels}" for word in record.words], scales)
    assert torch.equal(heat[:, -expected.shape[1] :], expected) and len(heat) == len(record.words) == 2


def test_the_legend_is_what_heat_looks_like_over_a_picture():
    heat = torch.linspace(0, 1, 256)[None]
    assert torch.equal(over_grey(), over_picture(torch.full((1, 256, 3), 0.5), heat)[0])


def test_pages_say_word_noise_levels_and_that_every_square_has_its_own_scale(sd1):
    pages = shown(sd1).result[3]
    first, last = (schedule(sd1, STEPS)[index] for index in (0, -2))
    levels = f"share of the attention, layer by layer and step by step: sigma {first:.3g} to {last:.3g} ({' to '.join(percents(sd1, (first, last)))} % of the run)"
    scale = Scale("least of each square", "most of each square: the number below it", colours(torch.linspace(0, 1, 256)))
    expected = strips(pages.shape[2], [f"tiger\n{levels}", f"mat\n{levels}"], [scale] * 2, size=TITLE)
    assert torch.equal(pages[:, : expected.shape[1]], expected)


@pytest.mark.parametrize("size", [(16, 16), (16, 32)], ids=["square", "wide"])
def test_every_map_of_a_page_is_there_from_its_least_to_its_most(sd1, size):
    """Found by its colours, in its own proportions, the columns in the order of the steps."""
    page = (shown(sd1, "mat", size=size).result[3][0] * 255).round().int()
    _, record = recorded(sd1, "mat", size=size)
    finest = [next(iter(at_level.values()))[0, 0] for at_level in record.maps.values()]
    lefts = []
    for seen in finest:
        factor = CELL // max(seen.shape)
        drawn = (colours((seen - seen.min()) / (seen.max() - seen.min())) * 255).round().int()
        drawn = drawn.repeat_interleave(factor, dim=0).repeat_interleave(factor, dim=1)
        height, width = drawn.shape[:2]
        found = [
            (top, left)
            for top in range(page.shape[0] - height)
            for left in (page[top, :-width] == drawn[0, 0]).all(dim=-1).nonzero()[:, 0].tolist()
            if torch.equal(page[top : top + height, left : left + width], drawn)
        ]
        assert len(found) == 1
        lefts.append(found[0][1])
    assert lefts == sorted(set(lefts))


@pytest.mark.parametrize("layout", ["few", "many"])
def test_nothing_on_a_page_is_cut(sd1, layout):
    """White all round, with one layer at one step and with forty layers at ten, of grids of any shape, and a word too long for a line."""
    layers, steps = (1, 1) if layout == "few" else (40, 30)
    seen = torch.rand(2, 1, 48, 128)
    maps_ = {0.0413 + 14.5 * step: {Layer("output", 10, index): seen for index in range(layers)} for step in range(steps)}
    record = AttentionRecord(("cat", "counterrevolutionaries " * 12), maps_)
    pages = layers_by_steps(record, sd1.get_model_object("model_sampling"))
    for border in (pages[:, :2], pages[:, -2:], pages[:, :, :3], pages[:, :, -2:]):
        assert bool((border == 1).all())


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
