"""Which streams share a batch of the host, and that sharing one changes nothing."""

import comfy.controlnet
import pytest
import torch
from graft.host.edits.self_attention import ReplaceKeysAndValues, ReplaceSelfAttention
from graft.host.engine.plan import Plan
from graft.host.engine.run import carry_out
from graft.host.engine.stream import Stream
from graft.host.engine.windows import Window
from graft.host.families.layers import coarse_layers, require_unet
from tiny_models import noise, prompt, random_trajectory, sample, schedule, watched

TARGET = prompt(2)


class Push(comfy.controlnet.ControlBase):
    """A ControlNet that adds a number to the bottleneck."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = number

    def get_control(self, x_noisy, t, cond, batched_number, transformer_options):
        return {"input": [], "middle": [torch.full((len(x_noisy), 1, 1, 1), self.number)], "output": []}

    def copy(self):
        copied = Push(self.number)
        self.copy_to(copied)
        return copied


def controlled(seed: int, number: float) -> list:
    ((states, options),) = prompt(seed)
    return [[states, {**options, "control": Push(number), "control_apply_to_uncond": False}]]


def calls_of(model, *streams: Stream, batch: int = 1, size: tuple[int, int] = (16, 16)) -> list:
    """The calls that run the streams in a single step."""
    layers = coarse_layers(require_unet(model))
    edits = tuple(ReplaceSelfAttention(stream, Window(1e10, -1.0), layers, 0.5) for stream in streams)
    spied, calls = watched(carry_out(model, Plan(edits)))
    sample(spied, TARGET, cfg=1.0, sigmas=schedule(model, 5)[:2], start=noise(0, batch, *size))
    return [call for call in calls if call.stream]


@pytest.mark.parametrize("batch", [1, 2])
def test_streams_that_share_a_batch_are_computed_as_each_alone(model, batch):
    """SDXL's pooled outputs and sizes go with their rows; a prompt of one row serves all pictures of its stream."""
    streams = [Stream(random_trajectory(model, prompt(seed), seed=seed, batch=batch), prompt(seed)) for seed in (1, 3)]
    streams.append(Stream(random_trajectory(model, prompt(4), seed=4), prompt(4)))
    (together,) = calls_of(model, *streams, batch=batch)
    rows = together.denoised.split([batch, batch, 1])
    for stream, shared in zip(streams, rows, strict=True):
        (alone,) = calls_of(model, stream, batch=batch)
        torch.testing.assert_close(shared, alone.denoised, rtol=1e-4, atol=1e-3)
    assert not torch.allclose(rows[0], rows[1], rtol=0.1)


def test_a_prompt_per_picture_goes_with_its_picture(model):
    prompts = prompt(5, rows=2)
    source, other = random_trajectory(model, prompts, seed=1, batch=2), random_trajectory(model, prompt(1), seed=2)
    (together,) = calls_of(model, Stream(other, prompt(1)), Stream(source, prompts), batch=2)
    (alone,) = calls_of(model, Stream(source, prompts), batch=2)
    assert torch.equal(together.context[1:], prompts[0][0])
    torch.testing.assert_close(together.denoised[1:], alone.denoised, rtol=1e-4, atol=1e-3)


def test_streams_with_a_controlnet_run_apart_and_with_their_own(sd1):
    """Two ControlNets that push the other way, and a stream without one."""
    sources = [random_trajectory(sd1, prompt(seed), seed=seed) for seed in (1, 3, 4)]
    prompts = [controlled(1, 5.0), controlled(3, -5.0), prompt(4)]
    streams = [Stream(*pair) for pair in zip(sources, prompts, strict=True)]
    together = calls_of(sd1, *streams)
    assert [len(call.x) for call in together] == [1, 1, 1]
    for stream, call in zip(streams, together, strict=True):
        (alone,) = calls_of(sd1, stream)
        assert torch.equal(call.x, alone.x) and torch.equal(call.denoised, alone.denoised)
    (plain,) = calls_of(sd1, Stream(sources[0], prompt(1)))
    assert not torch.allclose(plain.denoised, together[0].denoised, rtol=1e-2)


def test_one_picture_with_and_without_a_controlnet_are_two_streams(sd1):
    source = random_trajectory(sd1, prompt(1), seed=1)
    with_control = controlled(1, 5.0)
    assert Stream(source, with_control) != Stream(source, prompt(1))
    assert Stream(source, with_control) == Stream(source, with_control)
    assert [len(call.x) for call in calls_of(sd1, Stream(source, with_control), Stream(source, prompt(1)))] == [1, 1]


def test_the_targets_controlnet_does_not_reach_the_streams(sd1):
    source = Stream(random_trajectory(sd1, prompt(1), seed=1), prompt(1))
    layers = coarse_layers(require_unet(sd1))
    outputs = []
    for positive in (TARGET, controlled(2, 5.0)):
        spied, calls = watched(carry_out(sd1, Plan((ReplaceSelfAttention(source, Window(1e10, -1.0), layers, 0.5),))))
        sample(spied, positive, cfg=1.0, sigmas=schedule(sd1, 5)[:2])
        outputs.append([call.denoised for call in calls])
    assert torch.equal(outputs[0][0], outputs[1][0]) and not torch.equal(outputs[0][1], outputs[1][1])


def test_the_negatives_controlnet_does_not_reach_the_sources_negative_rows(sd1):
    """Apply ControlNet puts the target's hint on both prompts; the source's rows are of another picture."""
    source = Stream(random_trajectory(sd1, prompt(1), seed=1), prompt(1))
    layers, outputs = coarse_layers(require_unet(sd1)), []
    for positive, negative in ((TARGET, prompt(3)), (controlled(2, 5.0), controlled(3, 5.0))):
        spied, calls = watched(carry_out(sd1, Plan((ReplaceKeysAndValues(source, Window(1e10, -1.0), layers),))))
        sample(spied, positive, negative, sigmas=schedule(sd1, 5)[:2])
        outputs.append([call for call in calls if call.stream])
    (plain,), (beside,) = outputs
    assert len(plain.x) == 2 and torch.equal(plain.denoised, beside.denoised)


@pytest.mark.parametrize("pairing", ["same level", "as inverted"])
def test_streams_of_one_picture_at_two_pairings_are_two(sd1, pairing):
    source = random_trajectory(sd1, prompt(1), seed=1)
    stream = Stream(source, prompt(1), pairing)
    sigma = float(source.sigmas[2])
    assert torch.equal(stream.latents(sigma), source.at(sigma) if pairing == "same level" else source.shown_at(sigma))
    assert [len(call.x) for call in calls_of(sd1, Stream(source, prompt(1)), stream)] == [1 if pairing == "same level" else 2]


TF_ICON, TF_ICON_CROSS = "TF-ICON", "TF-ICON cross"


def test_tf_icons_pairings_show_what_the_released_code_shows(sd1):
    """The first evaluation gets the second's level and latents; from the third on the cross pass sees the latents of the level
    before, rescaled as they are in the variance-preserving scale."""
    source = random_trajectory(sd1, prompt(1), seed=1)
    own, cross = (Stream(source, prompt(1), pairing) for pairing in (TF_ICON, TF_ICON_CROSS))
    scale = (1 + source.sigmas**2).sqrt()
    for index, sigma in enumerate(source.sigmas[:-1]):
        level = max(index, 1)
        assert own.label(float(sigma)) == cross.label(float(sigma)) == float(source.sigmas[level])
        assert torch.equal(own.latents(float(sigma)), source.latents[level])
        before = max(level - 1, 1)
        shown = source.latents[before] / scale[before] * scale[level]
        torch.testing.assert_close(cross.latents(float(sigma)), shown, rtol=1e-5, atol=1e-5)


def test_tf_icons_pairings_between_and_beside_the_levels(sd1):
    """Above the first level the second's; between two levels the cross pass sees the last stage above both of them."""
    source = random_trajectory(sd1, prompt(1), seed=1)
    own, cross = (Stream(source, prompt(1), pairing) for pairing in (TF_ICON, TF_ICON_CROSS))
    above, between = 2 * float(source.sigmas[0]), float(source.sigmas[2] + source.sigmas[3]) / 2
    assert own.label(above) == float(source.sigmas[1]) and torch.equal(cross.latents(above), source.latents[1])
    assert own.label(between) == between and torch.equal(own.latents(between), source.at(between))
    shown = source.latents[2] * ((1 + between**2) / (1 + source.sigmas[2] ** 2)).sqrt()
    torch.testing.assert_close(cross.latents(between), shown, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pairing", ["same level", "as inverted"])
def test_other_pairings_are_labelled_with_the_targets_level(sd1, pairing):
    source = random_trajectory(sd1, prompt(1), seed=1)
    assert [Stream(source, prompt(1), pairing).label(sigma) for sigma in (20.0, 3.0, 0.0)] == [20.0, 3.0, 0.0]


def test_streams_of_one_batch_may_have_levels_of_their_own(model):
    """At the first level one stream is shown it and the other the second one: each row as in a batch of its own."""
    source, other = random_trajectory(model, prompt(1), seed=1, batch=2), random_trajectory(model, prompt(4), seed=4)
    streams = Stream(source, prompt(1), TF_ICON), Stream(other, prompt(4)), Stream(source, prompt(1))
    (together,) = calls_of(model, *streams, batch=2)
    rows = together.denoised.split([2, 1, 2])
    for stream, shared in zip(streams, rows, strict=True):
        (alone,) = calls_of(model, stream, batch=2)
        assert alone.sigma == stream.label(float(source.sigmas[0]))
        torch.testing.assert_close(shared, alone.denoised, rtol=1e-4, atol=1e-3)
    assert not torch.allclose(rows[0], rows[2], rtol=0.1)


def test_a_stream_says_which_input_its_prompt_came_through(sd1, caplog):
    source = random_trajectory(sd1, prompt(1), seed=1)
    calls_of(sd1, Stream(source, prompt(5), name="main", prompt_name="conditioning"))
    calls_of(sd1, Stream(source, prompt(6), name="reference"))
    noted = [entry.getMessage().split(" is not the prompt")[0] for entry in caplog.records if entry.name == "graft"]
    assert noted == ["Graft: conditioning", "Graft: reference_conditioning"]
