"""Free-Prompt-Editing against attention maps that are written out and overwritten, as its paper says it."""

from dataclasses import replace

import comfy.ops
import pytest
import torch
from comfy.ldm.modules.attention import BasicTransformerBlock
from einops import rearrange
from graft.attention.self_attention import replace_queries_and_keys
from graft.host.edits.self_attention import ReplaceKeysAndValues, ReplaceSelfAttention
from graft.host.engine.fingerprints import conditioning_fingerprint, model_fingerprint
from graft.host.engine.plan import Plan, plan_of
from graft.host.engine.run import carry_out
from graft.host.engine.stream import Stream
from graft.host.engine.windows import Window
from graft.host.errors import GraftError
from graft.host.families.layers import attention_layers, coarse_layers, require_unet
from graft.inversion.trajectory import Trajectory
from graft.nodes.self_attention import ReplaceSelfAttentionNode
from random_weights import fill
from tiny_models import noise, prompt, sample, schedule, snapshot

STEPS = 5
SOURCE, TARGET, NEGATIVE = prompt(1), prompt(2), prompt(3)
PAPER = {"layers": "paper"}
ALWAYS = Window(1e10, -1.0)


def trajectory(model, size: tuple[int, int] = (16, 16)) -> Trajectory:
    sigmas = schedule(model, STEPS)
    latents = torch.stack([noise(10 * level, 1, *size) * (1 + sigma**2).sqrt() for level, sigma in enumerate(sigmas)])
    return Trajectory(latents, sigmas, "ddim", model_fingerprint(model), conditioning_fingerprint(SOURCE))


def edited(model, source: Trajectory, strength: float = 1.0, start: float = 0.0, end: float = 1.0, layers: dict | None = PAPER, mask=None):
    """The node itself, as a graph runs it."""
    inputs = {"strength": strength, "start_percent": start, "end_percent": end, "layers": layers, "mask": mask}
    return ReplaceSelfAttentionNode.EXECUTE_NORMALIZED(model=model, source=source, source_conditioning=SOURCE, **inputs)[0]


def explicit_maps(query, key, options):
    """softmax(Q K^T / sqrt(d)), (rows, heads, tokens, tokens)."""
    query, key = (rearrange(part, "rows tokens (heads d) -> rows heads tokens d", heads=options["n_heads"]) for part in (query, key))
    return (query @ key.mT * options["dim_head"] ** -0.5).softmax(dim=-1)


def apply_maps(maps, value, options):
    value = rearrange(value, "rows tokens (heads d) -> rows heads tokens d", heads=options["n_heads"])
    return rearrange(maps @ value, "rows heads tokens d -> rows tokens (heads d)")


def overwrite_last_rows_map(query, key, value, options):
    """An attn1 replacement for a batch whose first row is the source and whose last is the conditional target."""
    maps = explicit_maps(query, key, options)
    maps[-1] = maps[0]
    return apply_maps(maps, value, options)


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_in_the_hosts_block_the_swap_is_a_replaced_attention_map_in_float64(strength):
    block = BasicTransformerBlock(32, 4, 8, context_dim=16, dtype=torch.float64, operations=comfy.ops.disable_weight_init)
    fill(block, 0)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(2, 20, 32, generator=generator, dtype=torch.float64)
    context = torch.randn(2, 7, 16, generator=generator, dtype=torch.float64)
    place = {"block": ("input", 1), "block_index": 0}

    def overwrite(query, key, value, options):
        if strength < 1:  # projections are linear: half way between hidden states is half way between queries
            query, key = (torch.stack([part[0], torch.lerp(part[1], part[0], strength)]) for part in (query, key))
            return apply_maps(explicit_maps(query, key, options), value, options)
        return overwrite_last_rows_map(query, key, value, options)

    expected = block(hidden, context, {**place, "patches_replace": {"attn1": {("input", 1): overwrite}}})

    taps = []

    def tap(query, key, value, options):
        taps.append(query.clone())
        return query, key, value

    def swap(query, key, value, options):
        return replace_queries_and_keys((query, key, value), taps[0], taps[0], strength)

    source = block(hidden[:1], context[:1], {**place, "patches": {"attn1_patch": [tap]}})
    target = block(hidden[1:], context[1:], {**place, "patches": {"attn1_patch": [swap]}})
    torch.testing.assert_close(torch.cat([source, target]), expected, rtol=1e-11, atol=1e-11)
    plain = block(hidden[1:], context[1:], dict(place))
    assert float((target - plain).abs().max()) > 0.05


def free_prompt_editing(model, source: Trajectory, ratio: float, cfg: float, blocks: set) -> torch.Tensor:
    """The method written out with nothing of Graft's engine: source, unconditional and conditional row in one batch, source
    row overwritten by the trajectory before each step, maps overwritten in the first int(S * r) steps, DDIM."""
    real = model.model
    rows = torch.cat([SOURCE[0][0], NEGATIVE[0][0], TARGET[0][0]])
    extra = {}
    if real.adm_channels:
        pooled = [conditioning[0][1]["pooled_output"] for conditioning in (SOURCE, NEGATIVE, TARGET)]
        extra["y"] = torch.cat([real.encode_adm(pooled_output=one, width=128, height=128) for one in pooled])
    x = source.latents[0]
    for step in range(STEPS):
        sigma, sigma_next = source.sigmas[step], source.sigmas[step + 1]
        replaced = {block: overwrite_last_rows_map for block in blocks} if step < int(STEPS * ratio) else {}
        options = {"patches_replace": {"attn1": replaced}}
        batch = torch.cat([source.latents[step], x, x])
        _, negative, positive = real.apply_model(batch, sigma.expand(3), c_crossattn=rows, transformer_options=options, **extra).chunk(3)
        denoised = negative + cfg * (positive - negative)
        x = x + (sigma_next - sigma) * (x - denoised) / sigma
    return real.process_latent_out(x)


def upper_quarter_blocks(model, kind: str) -> set:
    """Every layer but those on the latent's own grid: written down per layout, not asked of Graft. In the tiny SDXL the
    first level has no attention, so the coarse layers are all there are."""
    if kind == "sdxl":
        return {("input", number, index) for number in (4, 5, 7, 8) for index in range(2)} | {
            (block, number, index)
            for block, numbers in (("middle", (0,)), ("output", range(6)))
            for number in numbers
            for index in range(2)
        }
    return {("input", number) for number in (4, 5, 7, 8)} | {("middle", 0)} | {("output", number) for number in range(3, 9)}


@pytest.mark.parametrize("ratio", [0.8, 0.4])
def test_a_whole_edit_is_the_method_written_out(model, kind, ratio):
    source = trajectory(model)
    start = model.model.process_latent_out(source.latents[0])
    ours = sample(
        edited(model, source, end=ratio), TARGET, NEGATIVE, cfg=3.0, sigmas=source.sigmas, start=torch.zeros_like(start), latent=start
    )
    theirs = free_prompt_editing(model, source, ratio, 3.0, upper_quarter_blocks(model, kind))
    unedited = free_prompt_editing(model, source, 0.0, 3.0, set())
    scale = float(theirs.abs().max())
    assert float((ours - theirs).abs().max()) < 2e-3 * scale
    assert float((theirs - unedited).abs().max()) > 0.05 * scale


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m"])
def test_zero_strength_and_an_empty_window_are_bitwise_off(model, sampler):
    """And hand the very model on: nothing of Graft's runs."""
    source, plain = trajectory(model), sample(model, TARGET, NEGATIVE, sampler=sampler, steps=3)
    for off in (edited(model, source, strength=0.0), edited(model, source, end=0.0), edited(model, source, start=0.4, end=0.4)):
        assert off is model
        assert torch.equal(sample(off, TARGET, NEGATIVE, sampler=sampler, steps=3), plain)
    assert not torch.equal(sample(edited(model, source), TARGET, NEGATIVE, sampler=sampler, steps=3), plain)


def test_a_window_that_holds_no_step_of_the_run_is_bitwise_off(model):
    """Between 0.999 and 1 lies no step of this schedule: the engine runs and changes nothing."""
    plain = sample(model, TARGET, NEGATIVE, steps=3)
    quiet = edited(model, trajectory(model), start=0.9995, end=1.0)
    assert plan_of(quiet).edits
    assert torch.equal(sample(quiet, TARGET, NEGATIVE, steps=3), plain)


def test_a_whisper_of_strength_changes_little_and_more_changes_more(sd1):
    """The edit fades in: no jump between off and on, nor on the way to the full swap."""
    source, sigmas = trajectory(sd1), schedule(sd1, STEPS)[:2]
    plain = sample(sd1, TARGET, NEGATIVE, sigmas=sigmas)
    whole = float((sample(edited(sd1, source), TARGET, NEGATIVE, sigmas=sigmas) - plain).abs().max())
    nearly = float((sample(edited(sd1, source, strength=0.999), TARGET, NEGATIVE, sigmas=sigmas) - plain).abs().max())
    whisper = float((sample(edited(sd1, source, strength=0.001), TARGET, NEGATIVE, sigmas=sigmas) - plain).abs().max())
    assert 0 < whisper < 0.02 * whole
    assert abs(nearly - whole) < 0.02 * whole


def test_the_node_takes_layers_by_rule_and_by_range(sd1):
    source = trajectory(sd1)
    by_rule = plan_of(edited(sd1, source)).edits[0]
    assert by_rule.layers == coarse_layers(require_unet(sd1))
    by_range = plan_of(edited(sd1, source, layers={"layers": "custom", "custom_layers": "2-12"})).edits[0]
    layers = tuple(attention_layers(require_unet(sd1)))
    assert by_range.layers == frozenset(layers[2:13])
    ours, theirs = (
        sample(edited(sd1, source, layers=choice), TARGET, NEGATIVE, steps=2)
        for choice in (PAPER, {"layers": "custom", "custom_layers": "2-12"})
    )
    assert torch.equal(ours, theirs)


def test_the_node_leaves_the_model_and_chains(sd1):
    before, source = snapshot(sd1), trajectory(sd1)
    first = edited(sd1, source, end=0.5)
    middle = snapshot(first)
    second = edited(first, source, start=0.5)
    assert snapshot(sd1) == before and snapshot(first) == middle
    assert plan_of(sd1) == Plan() and len(plan_of(first).edits) == 1
    assert plan_of(second).edits[:1] == plan_of(first).edits
    assert [edit.window for edit in plan_of(second).edits] == [Window.of_percent(sd1, 0.0, 0.5), Window.of_percent(sd1, 0.5, 1.0)]
    whole = edited(sd1, source)
    assert torch.equal(sample(second, TARGET, NEGATIVE, steps=3), sample(whole, TARGET, NEGATIVE, steps=3))


def test_the_node_carries_the_streams_prompt_and_trajectory(sd1):
    source = trajectory(sd1)
    stream = plan_of(edited(sd1, source)).edits[0].stream
    assert isinstance(stream, Stream)
    assert stream.trajectory is source and stream.conditioning is SOURCE


def test_all_layers_are_the_whole_range(sd1):
    source, last = trajectory(sd1), len(attention_layers(require_unet(sd1))) - 1
    by_name = edited(sd1, source, layers={"layers": "all"})
    by_number = edited(sd1, source, layers={"layers": "custom", "custom_layers": f"0-{last}"})
    assert torch.equal(*(sample(one, TARGET, NEGATIVE, steps=STEPS) for one in (by_name, by_number)))
    with pytest.raises(GraftError, match=r"^layers: 'none'"):
        edited(sd1, source, layers={"layers": "none"})


def test_a_mask_says_where_the_content_is_free(model):
    """Everywhere: the edit without a mask, to the bit. Nowhere: the source's keys and values as well, as another edit replaces them."""
    source, layers = trajectory(model), coarse_layers(require_unet(model))
    stream = Stream(source, SOURCE)

    def sampled(*edits):
        return sample(carry_out(model, Plan(edits)), TARGET, cfg=1.0, sigmas=source.sigmas)

    structure = ReplaceSelfAttention(stream, ALWAYS, layers)
    assert torch.equal(sampled(replace(structure, mask=torch.ones(1, 128, 128))), sampled(structure))
    kept = sampled(replace(structure, mask=torch.zeros(1, 128, 128)))
    assert torch.equal(kept, sampled(structure, ReplaceKeysAndValues(stream, ALWAYS, layers)))
    assert not torch.allclose(kept, sampled(structure), rtol=0.1)


def test_a_mask_of_another_aspect_is_refused(sd1):
    wide = edited(sd1, trajectory(sd1), mask=torch.ones(1, 64, 128))
    with pytest.raises(GraftError, match=r"^mask: it is 128 x 64 pixels"):
        sample(wide, TARGET, NEGATIVE)


def test_a_mask_is_brought_to_each_grid_once_a_run(sd1, monkeypatch):
    from graft.host.edits import self_attention

    resized, asked = self_attention.resized, []
    monkeypatch.setattr(self_attention, "resized", lambda mask, grid, how: asked.append(tuple(grid)) or resized(mask, grid, how))
    sample(edited(sd1, trajectory(sd1), mask=torch.ones(1, 128, 128), layers={"layers": "all"}), TARGET, NEGATIVE, steps=STEPS)
    assert len(asked) == len(set(asked)) > 1
