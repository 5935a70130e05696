"""Captions and colour bars: nothing is cut, pictures stay what they were, and a batch keeps one size."""

import pytest
import torch
from graft.host.engine.noise_levels import percent_at
from graft.host.inspection.captions import READABLE, Scale, captioned, noise_levels, number, strips, wrapped
from PIL import ImageFont
from tiny_models import make_flow_model

BAR = torch.stack([torch.linspace(0.1, 0.9, 50)] * 3, dim=-1) * torch.tensor([1.0, 0.5, 0.2])
SCALE = Scale("little", "much", BAR)
LONG = "Donaudampfschifffahrtselektrizitaetenhauptbetriebswerkbauunterbeamtengesellschaft"
FONT = ImageFont.load_default(14)


def random_pictures(count: int, height: int, width: int) -> torch.Tensor:
    return torch.rand(count, height, width, 3, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("width", "factor"), [(64, 4), (100, 3), (READABLE - 1, 2), (READABLE, 1), (512, 1)])
def test_the_picture_is_in_it_unchanged_but_for_a_whole_factor(width, factor):
    pictures = random_pictures(2, 40, width)
    seen = captioned(pictures, ["one", "two"], [SCALE] * 2)
    enlarged = seen[:, : 40 * factor]
    assert seen.shape[2] == width * factor >= READABLE
    for down in range(factor):
        assert torch.equal(enlarged[:, down::factor, down::factor], pictures)


def test_the_same_words_look_the_same_and_others_do_not():
    one, two, again = strips(256, ["cat", "dog", "cat"], [SCALE] * 3)
    assert torch.equal(one, again) and not torch.equal(one, two)
    of_other_ends = strips(256, ["cat"], [Scale("little", "more", BAR)])[0]
    assert not torch.equal(one, of_other_ends)


def test_a_batch_keeps_one_size_and_its_bars_one_height():
    short, long = strips(256, ["cat", f"cat {LONG} {LONG}"], [SCALE] * 2)
    assert short.shape == long.shape and len(short) > len(strips(256, ["cat"], [SCALE])[0])
    bars = [(strip == BAR[0]).all(dim=-1).any(dim=1) for strip in as_drawn(torch.stack([short, long]))]
    assert bars[0].any() and torch.equal(bars[0], bars[1])


def as_drawn(strip: torch.Tensor) -> torch.Tensor:
    """Strips (..., 3) with what is within a rounding of the bar's ends set to these, so that `==` finds them."""
    for end in (BAR[0], BAR[-1]):
        strip = torch.where((strip - end).abs().amax(dim=-1, keepdim=True) < 1 / 255, end, strip)
    return strip


def test_the_bar_goes_from_low_to_high():
    strip = as_drawn(strips(256, ["cat"], [SCALE])[0])
    low, high = ((strip == end).all(dim=-1).nonzero()[:, 1] for end in (BAR[0], BAR[-1]))
    assert len(low) and len(high) and int(low.min()) < 10 and int(high.max()) > 245 and int(low.max()) < int(high.min())


@pytest.mark.parametrize("width", [256, 300, 1024])
@pytest.mark.parametrize("text", ["cat", LONG, f"a very long {LONG} " * 3, "two\nlines"])
def test_no_word_is_cut_whatever_its_length(width, text):
    """There is white all round what is written."""
    strip = strips(width, [text], [Scale(LONG, f"most of {LONG}", BAR)])[0]
    for border in (strip[:2], strip[-2:], strip[:, :3], strip[:, -3:]):
        assert bool((border == 1).all())
    assert bool((strip < 0.5).any())


@pytest.mark.parametrize(
    "text", ["", "cat", LONG, f"of {LONG} and {LONG}", "a (cat, a)dog f(x y) (b", f"({LONG} of {LONG})", "a ti|ger on a mat " * 5]
)
def test_lines_hold_all_of_a_text_and_none_is_too_wide(text):
    lines = wrapped(text, FONT, 120)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(FONT.getlength(line) <= 120 for line in lines)


def test_lines_break_at_spaces_and_at_line_ends():
    assert wrapped("one two\nthree", FONT, 500) == ["one two", "three"]
    assert wrapped("one two", FONT, FONT.getlength("one tw")) == ["one", "two"]


def test_what_is_in_parentheses_stays_together_where_it_can():
    width = FONT.getlength("sigma 3 (70 to")
    assert wrapped("sigma 3 (70 to 90 %)", FONT, width) == ["sigma 3", "(70 to 90 %)"]
    assert wrapped("(70 to 90 % of all of the run)", FONT, width) == ["(70 to 90 % of", "all of the run)"]


@pytest.mark.parametrize(
    ("value", "text"), [(14.6146, "14.6"), (0.02917, "0.0292"), (0, "0"), (100, "100"), (1234.5, "1230"), (3e-6, "0"), (0.5, "0.5")]
)
def test_numbers_are_short(value, text):
    assert number(value) == text


@pytest.mark.parametrize("percent", [0.01, 0.2, 0.5, 0.9, 0.99])
def test_percents_are_those_of_the_windows(model, percent):
    """As `start_percent` and `end_percent` count: the host's own way there, backwards."""
    for asked in (model, make_flow_model()):
        sampling = asked.get_model_object("model_sampling")
        assert percent_at(sampling, float(sampling.percent_to_sigma(percent))) == pytest.approx(percent, abs=2e-3)


def test_a_run_begins_at_0_and_ends_at_100_percent(sd1):
    sampling = sd1.get_model_object("model_sampling")
    first = float(sampling.sigma_max)
    assert percent_at(sampling, first) < 2e-3 and percent_at(sampling, 0.0) == 1
    assert noise_levels(sampling, [first, 1.0, 0.0]) == f"sigma {number(first)} to 0 (0 to 100 % of the run)"
    assert noise_levels(sampling, [first]) == f"sigma {number(first)} (0 % of the run)"
