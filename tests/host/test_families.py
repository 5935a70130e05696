"""Edits of self-attention on every family of flow transformers, against the joint softmax written out in float64 after rotation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from graft.host.edits.key_value_mask import MaskKeysAndValues
from graft.host.edits.self_attention import ReplaceKeysAndValues, ReplaceSelfAttention
from graft.host.engine.fingerprints import conditioning_fingerprint, model_fingerprint
from graft.host.engine.plan import Plan, plan_of
from graft.host.engine.requirements import require_text_of
from graft.host.engine.run import carry_out
from graft.host.engine.stream import Stream
from graft.host.engine.windows import Window
from graft.host.errors import GraftError
from graft.host.families.layers import all_layers, attention_layers, coarse_layers, named_layers, require_attention
from graft.inversion.trajectory import Trajectory
from graft.nodes.self_attention import CompositeAttentionNode, MaskKeysAndValuesNode, ReferenceAttentionNode
from tiny_models import Call, sample, watched
from tiny_transformers import latent, prompt, with_references
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate
from written_out import maps, require_close

TEXT = 12
"""Tokens of every prompt here."""

BEGIN = {
    "flux": TEXT,
    "flux schnell": TEXT,
    "flux2": 512,
    "chroma": TEXT,
    "qwen image": TEXT,
    "qwen image edit": TEXT,
    "z image": 32,
    "lumina 2": TEXT,
    "krea 2": TEXT,
    "krea 2 edit": TEXT,
    "anima": 0,
    "cosmos predict 2": 0,
}
"""Where the picture's tokens begin among all, by family; Z-Image fills the text up to a multiple of 32, the host Flux.2's up to 512."""

WITH_REFERENCES = ("flux", "flux2", "qwen image edit", "krea 2 edit")
PADDED = ("qwen image", "qwen image edit")
"""Families whose prompts come with a mask."""

ALWAYS = Window(1e10, -1.0)
SIGMAS = torch.tensor([1.0, 0.5])
BOX, OTHER = torch.zeros(1, 96, 64), torch.zeros(1, 96, 64)
BOX[:, 16:64, 16:48] = 1
OTHER[:, 32:96, 0:32] = 1

Attended = dict[tuple[str, int], tuple[Tensor, Tensor, Tensor]]
"""By layer: joint queries, keys and values (1, heads, N, d) in float64, after rotation."""

Compute = Callable[[tuple[str, int], Tensor, Tensor, Tensor, "Tensor | float"], Tensor]


def text(name: str, seed: int, references: bool = False) -> list:
    options = {"attention_mask": torch.tensor([[1] * (TEXT - seed) + [0] * seed])} if name in PADDED else {}
    conditioning = prompt(name, seed, TEXT, **options)
    return with_references(conditioning, [latent(name, 50 + seed, height=8, width=6)]) if references else conditioning


def trajectory(model, name: str, conditioning: list, batch: int = 1) -> Trajectory:
    latents = torch.stack([latent(name, 20, batch), latent(name, 21, batch), latent(name, 22, batch)])
    return Trajectory(latents, torch.tensor([1.0, 0.5, 0.0]), "recorded", model_fingerprint(model), conditioning_fingerprint(conditioning))


def called(model, start: Tensor, *conditionings: list, cfg: float = 1.0) -> list[Call]:
    spied, calls = watched(model)
    sample(spied, *conditionings, cfg=cfg, sigmas=SIGMAS, start=start)
    return calls


def plainly(layer, query, key, value, bias):
    return maps(query, key, bias) @ value


def predicted(model, start: Tensor, conditioning: list, compute: Compute = plainly, record: Attended | None = None) -> Tensor:
    """The prediction for one picture and one prompt, with every attention of the main layers computed by `compute`."""
    grid = picture_tokens(model, start)

    def written_out(func, query, key, value, heads, mask=None, skip_reshape=False, transformer_options=None, **kwargs):
        options = transformer_options or {}
        assert skip_reshape
        if "block_index" not in options or query.shape[2] != key.shape[2] or query.shape[2] < grid:
            return func(query, key, value, heads, mask=mask, skip_reshape=True, transformer_options=None, **kwargs)
        layer = options.get("block_type", "single"), options["block_index"]
        parts = tuple(part.double() for part in (query, key, value))
        if record is not None:
            record[layer] = parts
        return compute(layer, *parts, 0.0 if mask is None else mask.double()).transpose(1, 2).flatten(2).to(query)

    clone = model.clone()
    clone.model_options["transformer_options"]["optimized_attention_override"] = written_out
    (call,) = called(clone, start, conditioning)
    return call.denoised


def picture_tokens(model, start: Tensor) -> int:
    height, width = grid_of(model, start)
    return height * width


def grid_of(model, start: Tensor) -> tuple[int, int]:
    patch = 1 if start.shape[1] == 128 else 2  # Flux.2's latents are of patches already.
    return start.shape[-2] // patch, start.shape[-1] // patch


def place(name: str, model, start: Tensor) -> slice:
    return slice(BEGIN[name], BEGIN[name] + picture_tokens(model, start))


def with_picture(whole: Tensor, tokens: slice, picture: Tensor) -> Tensor:
    changed = whole.clone()
    changed[:, :, tokens] = picture
    return changed


# The edits, written out for one row. `source` is what the source attends with in the same layer.


def structure(tokens: slice, source: Attended, strength: float, layer, query, key, value, bias):
    query, key = (
        with_picture(own, tokens, torch.lerp(own[:, :, tokens], theirs[:, :, tokens], strength))
        for own, theirs in zip((query, key), source[layer][:2], strict=True)
    )
    return plainly(layer, query, key, value, bias)


def content(tokens: slice, source: Attended, layer, query, key, value, bias):
    key, value = (with_picture(own, tokens, theirs[:, :, tokens]) for own, theirs in zip((key, value), source[layer][1:], strict=True))
    return plainly(layer, query, key, value, bias)


def masked_content(tokens: slice, source: Attended, grid, source_mask: Tensor, target_mask: Tensor, layer, query, key, value, bias):
    """The object's queries see the text and the source's object, the background's the text and the source's background."""
    seen, inside = (interpolate(mask[:, None], grid, mode="nearest").flatten() >= 0.5 for mask in (source_mask, target_mask))
    plain = plainly(layer, query, key, value, bias)
    _, theirs, theirs_value = source[layer]
    read, read_value = with_picture(key, tokens, theirs[:, :, tokens]), with_picture(value, tokens, theirs_value[:, :, tokens])
    outputs = []
    for shown in (seen, ~seen):
        hidden = torch.zeros(key.shape[2], dtype=torch.double)
        hidden[tokens][~shown] = float("-inf")
        outputs.append(maps(query, read, bias + hidden) @ read_value)
    picture = torch.where(inside[:, None], outputs[0][:, :, tokens], outputs[1][:, :, tokens])
    return with_picture(plain, tokens, picture)


def hidden(tokens: slice, grid, mask: Tensor, layer, query, key, value, bias):
    """Nobody sees what is under the mask, text and references included."""
    unseen = torch.zeros(key.shape[2], dtype=torch.double)
    unseen[tokens][adaptive_avg_pool2d(mask[:, None], grid).flatten() > 0.1] = float("-inf")
    return maps(query, key, bias + unseen) @ value


def masked_structure(tokens: slice, source: Attended, grid, mask: Tensor, layer, query, key, value, bias):
    """Outside the mask the source's values, too."""
    inside = adaptive_avg_pool2d(mask[:, None].double(), grid).flatten()[:, None]
    value = with_picture(value, tokens, torch.lerp(source[layer][2][:, :, tokens], value[:, :, tokens], inside))
    return structure(tokens, source, 1.0, layer, query, key, value, bias)


EDITS = ("structure", "half of the structure", "masked structure", "content", "masked content", "hidden")


def edit_of(kind: str, stream: Stream, layers, masks: Tensor):
    match kind:
        case "structure":
            return ReplaceSelfAttention(stream, ALWAYS, layers)
        case "half of the structure":
            return ReplaceSelfAttention(stream, ALWAYS, layers, 0.5)
        case "masked structure":
            return ReplaceSelfAttention(stream, ALWAYS, layers, mask=masks)
        case "content":
            return ReplaceKeysAndValues(stream, ALWAYS, layers)
        case "masked content":
            return ReplaceKeysAndValues(stream, ALWAYS, layers, BOX, masks)
    return MaskKeysAndValues(masks, ALWAYS, layers)


def oracle_of(kind: str, tokens: slice, grid, source: Attended, mask: Tensor, guided_row: bool) -> Compute:
    match kind:
        case "structure" | "half of the structure":
            return partial(structure, tokens, source, 1.0 if kind == "structure" else 0.5) if guided_row else plainly
        case "masked structure":
            return partial(masked_structure, tokens, source, grid, mask) if guided_row else plainly
        case "content":
            return partial(content, tokens, source)
        case "masked content":
            return partial(masked_content, tokens, source, grid, BOX, mask)
    return partial(hidden, tokens, grid, mask)


def check(name: str, model, kind: str, *, batch: int = 1, cfg: float = 1.0, references: bool = False) -> None:
    source_text, target, negative = text(name, 1, references), text(name, 2, references), text(name, 3, references)
    start, masks = latent(name, 9, batch), torch.cat([BOX, OTHER])[-batch:]
    stream = Stream(trajectory(model, name, source_text), source_text)
    edited = carry_out(model, Plan((edit_of(kind, stream, all_layers(require_attention(model)), masks),)))
    calls = [call for call in called(edited, start, target, negative, cfg=cfg) if not call.stream]
    tokens, grid = place(name, model, start), grid_of(model, start)
    for which, own in ((0, target), *(((1, negative),) if cfg != 1 else ())):
        ours = torch.cat([call.rows(which)[1] for call in calls if which in call.order])
        attended: Attended = {}
        under = source_text if which == 0 else negative
        predicted(model, stream.trajectory.latents[0], under, record=attended)
        for row in range(batch):
            x = start[row : row + 1]
            compute = oracle_of(kind, tokens, grid, attended, masks[row : row + 1], which == 0)
            plain = predicted(model, x, own)
            expected = predicted(model, x, own, compute)
            require_close(ours[row : row + 1], expected, None if compute is plainly else plain)


@pytest.mark.parametrize("kind", EDITS)
@pytest.mark.parametrize("name", BEGIN)
def test_an_edit_is_the_joint_softmax_written_out(transformer, name, kind):
    check(name, transformer(name), kind)


@pytest.mark.parametrize("kind", ["structure", "masked structure", "content", "masked content", "hidden"])
@pytest.mark.parametrize("name", ["flux", "qwen image", "z image", "anima"])
def test_with_guidance_and_a_mask_for_each_picture(transformer, name, kind):
    check(name, transformer(name), kind, batch=2, cfg=3.0)


@pytest.mark.parametrize("kind", EDITS)
@pytest.mark.parametrize("name", WITH_REFERENCES)
def test_reference_pictures_are_seen_and_never_edited(transformer, name, kind):
    check(name, transformer(name), kind, references=True)


# What is left alone


@pytest.mark.parametrize("name", BEGIN)
def test_text_and_references_attend_with_the_same_bits(transformer, name):
    """In the first layer, before anything that was edited has come back; the owner of the override sees what it is given."""
    model, seen = transformer(name).clone(), []
    references = name in WITH_REFERENCES
    source, target, start = text(name, 1, references), text(name, 2, references), latent(name, 9)

    def owner(func, query, key, value, heads, **kwargs):
        if "block_index" in kwargs["transformer_options"] and query.shape[2] == key.shape[2]:
            seen.append((query, key, value))
        return func(query, key, value, heads, **kwargs)

    model.model_options["transformer_options"]["optimized_attention_override"] = owner
    first = frozenset([next(iter(attention_layers(require_attention(model))))])
    stream = Stream(trajectory(model, name, source), source)
    results = []
    for plan in (Plan(), Plan((ReplaceSelfAttention(stream, ALWAYS, first),)), Plan((ReplaceKeysAndValues(stream, ALWAYS, first),))):
        seen.clear()
        calls = called(carry_out(model, plan), start, target)
        layers = len(seen) // len(calls)
        results.append(seen[-layers])
    tokens = place(name, model, start)
    for edited, parts in zip(results[1:], ((0, 1), (1, 2)), strict=True):
        for part, (plain, changed) in enumerate(zip(results[0], edited, strict=True)):
            assert torch.equal(plain[:, :, : tokens.start], changed[:, :, : tokens.start])
            assert torch.equal(plain[:, :, tokens.stop :], changed[:, :, tokens.stop :])
            assert torch.equal(plain[:, :, tokens], changed[:, :, tokens]) is (part not in parts)


@pytest.mark.parametrize("name", ["flux", "z image", "anima"])
def test_outside_its_window_an_edit_changes_no_bit(transformer, name):
    model, source, target, start = transformer(name), text(name, 1), text(name, 2), latent(name, 9)
    stream = Stream(trajectory(model, name, source), source)
    edit = ReplaceSelfAttention(stream, Window(0.4, 0.1), all_layers(require_attention(model)))
    edited = sample(carry_out(model, Plan((edit,))), target, cfg=1.0, sigmas=SIGMAS, start=start)
    assert torch.equal(edited, sample(model, target, cfg=1.0, sigmas=SIGMAS, start=start))


@pytest.mark.parametrize("last", [False, True], ids=["before Graft's node", "after Graft's node"])
@pytest.mark.parametrize("kind", ["structure", "masked content", "hidden"])
def test_another_owner_of_the_override_is_asked(transformer, kind, last):
    """One that makes every query count double: oracle, the same in the softmax written out."""
    name = "flux"
    model, source, target, start = transformer(name), text(name, 1), text(name, 2), latent(name, 9)

    def owner(func, query, key, value, heads, **kwargs):
        return func(2 * query, key, value, heads, **kwargs)

    def owned(one):
        one = one.clone()
        one.model_options["transformer_options"]["optimized_attention_override"] = owner
        return one

    stream = Stream(trajectory(model, name, source), source)
    plan = Plan((edit_of(kind, stream, all_layers(require_attention(model)), BOX),))
    both = owned(carry_out(model, plan)) if last else carry_out(owned(model), plan)
    *_, call = called(both, start, target)
    attended: Attended = {}

    def doubled(layer, query, key, value, bias):
        return plainly(layer, 2 * query, key, value, bias)

    predicted(model, stream.trajectory.latents[0], source, doubled, attended)
    compute = oracle_of(kind, place(name, model, start), grid_of(model, start), attended, BOX, True)

    def double_edit(layer, query, key, value, bias):
        own = {**attended, layer: (2 * attended[layer][0], *attended[layer][1:])}
        redone = oracle_of(kind, place(name, model, start), grid_of(model, start), own, BOX, True)
        return redone(layer, 2 * query, key, value, bias)

    require_close(call.denoised, predicted(model, start, target, double_edit), predicted(model, start, target, compute))


def test_layers_are_found_and_named(transformer):
    network = require_attention(transformer("flux"))
    assert [(layer.block, layer.number) for layer in attention_layers(network)] == [
        *(("double", number) for number in range(2)),
        *(("single", number) for number in range(3)),
    ]
    assert coarse_layers(network) == all_layers(network)
    assert {layer.block for layer in named_layers(network, "not double")} == {"single"}
    with pytest.raises(GraftError, match=r"the parts double, single, and the grids full"):
        named_layers(network, "middle")


@pytest.mark.parametrize("name", BEGIN)
def test_edits_of_unets_are_refused_by_name_and_say_what_to_take(transformer, name):
    model, source = transformer(name), text(name, 1)
    replay = trajectory(model, name, source)
    inputs = {"main": replay, "reference": replay, "conditioning": source, "object_mask": BOX, "region": BOX, "end_percent": 0.4}
    with pytest.raises(GraftError, match=r"^model: .*is not a Stable Diffusion UNet.*take Replace Self-Attention"):
        CompositeAttentionNode.EXECUTE_NORMALIZED(model=model, mode="intended", **inputs)
    words = {"target_words": "", "threshold": 0.5, "interpolation": "bilinear", "word_map_grid": "half"}
    with pytest.raises(GraftError, match=r"^model: .*is not a Stable Diffusion UNet.*take Replace Keys and Values"):
        ReferenceAttentionNode.EXECUTE_NORMALIZED(
            model=model, reference=replay, reference_conditioning=source, start_percent=0.0, end_percent=1.0, **words
        )


def test_the_node_masks_keys_on_a_transformer(transformer):
    model = transformer("z image")
    inputs = {"mask_threshold": 0.1, "interpolation": "area", "start_percent": 0.0, "end_percent": 1.0, "layers": {"layers": "paper"}}
    edited = MaskKeysAndValuesNode.EXECUTE_NORMALIZED(model=model, mask=BOX, **inputs)[0]
    assert plan_of(edited).edits[0].layers == all_layers(require_attention(model))
    start, target = latent("z image", 9), text("z image", 2)
    plain, changed = (called(one, start, target)[-1].denoised for one in (model, edited))
    assert not torch.allclose(plain, changed, rtol=0.01)


def test_a_film_is_refused(transformer):
    model = transformer("anima")
    edited = carry_out(model, Plan((MaskKeysAndValues(BOX, ALWAYS, all_layers(require_attention(model))),)))
    film = torch.cat([latent("anima", 0), latent("anima", 1)], dim=2)
    with pytest.raises(GraftError, match=r"^latent_image: .*2 frames"):
        sample(edited, text("anima", 1), cfg=1.0, start=film, sigmas=SIGMAS)


@pytest.mark.parametrize("name", BEGIN)
def test_a_prompt_of_another_text_encoder_is_refused_by_its_width(name, transformer):
    model, ((states, options),) = transformer(name), prompt(name, 1)
    require_text_of(model, [[states, options]], "positive")
    width = states.shape[-1]
    with pytest.raises(GraftError, match=rf"^positive: its text states are {width + 1} wide, this model reads {width}"):
        require_text_of(model, [[torch.nn.functional.pad(states, (0, 1)), options]], "positive")
