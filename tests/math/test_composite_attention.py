"""TF-ICON's composite self-attention against explicit N x N maps in float64, and against rectangles merged by log-sum-exp."""

import pytest
import torch
from einops import rearrange
from graft.attention.composite_attention import QueryKey, compose_queries_and_keys, composite_attention, token_areas
from torch.nn.functional import scaled_dot_product_attention
from torch.utils._python_dispatch import TorchDispatchMode

ROWS, HEADS, WIDTH, GRID = 2, 3, 4, (5, 7)
TOKENS, CHANNELS = GRID[0] * GRID[1], HEADS * WIDTH
FLOAT64 = {"rtol": 1e-11, "atol": 1e-11}
FLOAT32 = {"rtol": 1e-4, "atol": 1e-5}


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def features(seed: int, rows: int = ROWS, tokens: int = TOKENS, channels: int = CHANNELS) -> QueryKey:
    return QueryKey(draw(seed, rows, tokens, channels), draw(seed + 1, rows, tokens, channels))


TARGET, MAIN, REFERENCE, CROSS_PASS = (features(seed) for seed in (0, 2, 4, 6))
VALUE = draw(8, ROWS, TOKENS, CHANNELS)
CROSS = {"main asks reference": None, "cross pass": CROSS_PASS}


def rectangle(top: int, bottom: int, left: int, right: int) -> torch.Tensor:
    mask = torch.zeros(1, *GRID, dtype=torch.bool)
    mask[:, max(top, 0) : bottom, max(left, 0) : right] = True
    return mask.flatten(1)


NOTHING, EVERYTHING, REGION = rectangle(0, 0, 0, 0), rectangle(0, GRID[0], 0, GRID[1]), rectangle(1, 4, 2, 6)
SOME = draw(9, 1, TOKENS) > 0
MASKS = {  # object, region
    "random": (SOME & (draw(10, 1, TOKENS) > 0), SOME),
    "object in a rectangle": (REGION & SOME, REGION),
    "region over the border": (rectangle(-1, 2, 5, 9), rectangle(-2, 3, 4, 9)),
    "no object": (NOTHING, REGION),
    "no region": (NOTHING, NOTHING),
    "no gap": (REGION, REGION),
    "region fills the picture": (REGION, EVERYTHING),
    "object fills the picture": (EVERYTHING, EVERYTHING),
    "gap fills the picture": (NOTHING, EVERYTHING),
    "one token": (rectangle(2, 3, 3, 4), rectangle(2, 3, 3, 4)),
}


def split(part: torch.Tensor, heads: int = HEADS) -> torch.Tensor:
    return rearrange(part, "rows n (heads d) -> rows heads n d", heads=heads)


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, heads: int = HEADS) -> torch.Tensor:
    output = scaled_dot_product_attention(*(split(part, heads) for part in (query, key, value)))
    return rearrange(output, "rows heads n d -> rows n (heads d)")


def composite(masks, cross=None, target=TARGET, value=VALUE, main=MAIN, reference=REFERENCE, attend=attend) -> torch.Tensor:
    return composite_attention(target, value, main, reference, token_areas(*masks, value.dtype), HEADS, attend, cross)


def products(pair: QueryKey, heads: int = HEADS) -> torch.Tensor:
    """Q(i) K(j) / sqrt(d): (rows, heads, N, N)."""
    query, key = split(pair.query, heads), split(pair.key, heads)
    return query @ key.mT / query.shape[-1] ** 0.5


def composite_map(masks, cross=None, target=TARGET, main=MAIN, reference=REFERENCE, heads: int = HEADS) -> torch.Tensor:
    """The softmax of the composite logits (rows, heads, N, N), block by block, later ones over earlier ones."""
    object_mask, region_mask = masks
    outside, on_object = ~region_mask[:, None], object_mask[:, None]
    across = products(cross or QueryKey(main.query, reference.key), heads)
    logits = products(target, heads)
    logits = torch.where(outside[..., :, None] & outside[..., None, :], products(main, heads), logits)
    logits = torch.where(on_object[..., None, :], across, logits)
    logits = torch.where(on_object[..., :, None], across.mT, logits)
    logits = torch.where(on_object[..., :, None] & on_object[..., None, :], products(reference, heads), logits)
    return logits.softmax(dim=-1)


def explicit(masks, cross=None, **pictures) -> torch.Tensor:
    return rearrange(composite_map(masks, cross, **pictures) @ split(VALUE), "rows heads n d -> rows n (heads d)")


def merged(masks, cross: QueryKey) -> torch.Tensor:
    """Seven rectangles, each an attention of its own, weighted by their log-sum-exp: softmax over a union of keys."""
    object_mask, region_mask = (mask[0] for mask in masks)
    outside, gap, region = ~region_mask, region_mask & ~object_mask, region_mask
    swapped, beside = QueryKey(cross.key, cross.query), ~object_mask
    output = torch.empty_like(VALUE)
    for queries, rectangles in (
        (outside, ((MAIN, outside), (TARGET, gap), (cross, object_mask))),
        (gap, ((TARGET, beside), (cross, object_mask))),
        (region & object_mask, ((swapped, beside), (REFERENCE, object_mask))),
    ):
        parts = []
        for pair, keys in rectangles:
            if keys.any() and queries.any():
                query, key, value = pair.query[:, queries], pair.key[:, keys], VALUE[:, keys]
                parts.append(torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(*(split(part) for part in (query, key, value))))
        if parts:
            outputs, normalisers = (torch.stack(part) for part in zip(*parts, strict=True))
            whole = (normalisers.softmax(dim=0)[..., None] * outputs).sum(dim=0)
            output[:, queries] = rearrange(whole, "rows heads n d -> rows n (heads d)")
    return output


@pytest.mark.parametrize("masks", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("cross", CROSS.values(), ids=CROSS)
def test_composite_attention_is_one_softmax_over_the_composite_logits(cross, masks):
    torch.testing.assert_close(composite(masks, cross), explicit(masks, cross), **FLOAT64)


@pytest.mark.parametrize("masks", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("cross", CROSS.values(), ids=CROSS)
def test_composite_attention_is_rectangles_merged_by_log_sum_exp(cross, masks):
    expected = merged(masks, cross or QueryKey(MAIN.query, REFERENCE.key))
    torch.testing.assert_close(composite(masks, cross), expected, **FLOAT64)


@pytest.mark.parametrize("keys", range(3), ids=("outside", "gap", "object"))
@pytest.mark.parametrize("queries", range(3), ids=("outside", "gap", "object"))
@pytest.mark.parametrize("released", [False, True], ids=CROSS)
def test_every_block_of_the_map(released, queries, keys):
    """Values that are unit vectors, so that what comes out is the map, in heads as wide as there are tokens."""
    object_mask, region_mask = masks = MASKS["object in a rectangle"]
    areas = [mask[0] for mask in (~region_mask, region_mask & ~object_mask, object_mask)]
    target, main, reference, cross = (features(seed, 1, TOKENS, 2 * TOKENS) for seed in (20, 22, 24, 26))
    cross = cross if released else None
    unit = torch.eye(TOKENS, dtype=torch.float64).repeat(1, 2)[None]
    output = composite_attention(
        target, unit, main, reference, token_areas(*masks, unit.dtype), 2, lambda *parts: attend(*parts, heads=2), cross
    )
    expected = composite_map(masks, cross, target, main, reference, heads=2)
    block = (..., areas[queries].nonzero(), areas[keys].nonzero()[:, 0])
    assert expected[block].numel() >= 2 * 9
    torch.testing.assert_close(split(output, 2)[block], expected[block], **FLOAT64)


def test_no_region_is_the_main_pictures_map():
    torch.testing.assert_close(composite(MASKS["no region"]), attend(MAIN.query, MAIN.key, VALUE), **FLOAT64)


def test_an_object_that_fills_the_picture_is_the_references_map():
    torch.testing.assert_close(composite(MASKS["object fills the picture"]), attend(REFERENCE.query, REFERENCE.key, VALUE), **FLOAT64)


def test_without_an_object_the_reference_has_no_say():
    masks = MASKS["no object"]
    assert torch.equal(composite(masks), composite(masks, CROSS_PASS, reference=features(30)))


def test_an_object_token_outside_the_region_belongs_to_the_region():
    object_mask, region_mask = MASKS["region over the border"]
    assert torch.equal(composite((object_mask, region_mask & ~object_mask)), composite((object_mask, region_mask)))


def test_rows_with_masks_of_their_own_get_what_they_get_alone():
    """Rows of equal masks, wherever they are, share their attentions."""
    names = ["random", "no object", "random", "region over the border", "no region"]
    object_mask, region_mask = masks = tuple(torch.cat(parts) for parts in zip(*(MASKS[name] for name in names), strict=True))
    target, main, reference, cross = (features(seed, len(names)) for seed in (40, 42, 44, 46))
    value, rows = draw(48, len(names), TOKENS, CHANNELS), []

    def counted(*parts):
        rows.append(len(parts[0]))
        return attend(*parts)

    output = composite_attention(target, value, main, reference, token_areas(*masks, value.dtype), HEADS, counted, cross)
    assert sorted(rows) == [1, 1, 1, 1, 1, 1, 2, 2, 2]
    for row in range(len(names)):
        one = slice(row, row + 1)
        pictures = [QueryKey(pair.query[one], pair.key[one]) for pair in (target, main, reference, cross)]
        areas = token_areas(object_mask[one], region_mask[one], torch.float64)
        alone = composite_attention(pictures[0], value[one], *pictures[1:3], areas, HEADS, attend, pictures[3])
        torch.testing.assert_close(output[one], alone, **FLOAT64)


def test_equal_masks_of_all_rows_are_one_group():
    object_mask, region_mask = MASKS["random"]
    (areas,) = token_areas(object_mask.expand(ROWS, -1), region_mask, torch.float64)
    assert areas.rows is None and len(areas.tokens) == len(areas.members) == 3
    assert torch.equal(torch.cat(areas.tokens)[areas.back], torch.arange(TOKENS))


def test_only_queries_that_differ_cost_width():
    """The main picture's cross map shares its queries with the main picture's: two slots at most. A pass of its own makes it three outside."""
    widths = []

    def watched(query, key, value):
        widths.append(query.shape[-1] // CHANNELS)
        assert query.shape[-1] == key.shape[-1] == value.shape[-1]
        return attend(query, key, value)

    def slots(name: str, cross: QueryKey | None) -> list[int]:
        widths.clear()
        composite(MASKS[name], cross, attend=watched)
        return list(widths)

    assert slots("object in a rectangle", None) == [2, 2, 2]
    assert slots("object in a rectangle", CROSS_PASS) == [3, 2, 2]
    assert slots("no gap", None) == [1, 2]
    assert slots("no object", None) == [2, 1]
    assert slots("no region", CROSS_PASS) == [1]


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float32, FLOAT32), (torch.float16, {"rtol": 0, "atol": 5e-3}), (torch.bfloat16, {"rtol": 0, "atol": 4e-2})],
)
@pytest.mark.parametrize("cross", CROSS.values(), ids=CROSS)
def test_low_precision_stays_close(cross, dtype, tolerance):
    def low(part):
        return QueryKey(low(part.query), low(part.key)) if isinstance(part, QueryKey) else part.to(dtype)

    pictures = {"target": low(TARGET), "main": low(MAIN), "reference": low(REFERENCE)}
    output = composite(MASKS["random"], cross and low(cross), value=low(VALUE), **pictures)
    assert output.dtype == dtype
    torch.testing.assert_close(output.double(), explicit(MASKS["random"], cross), **tolerance)


class Largest(TorchDispatchMode):
    """The most elements of any tensor that an operation returns."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        output = function(*args, **(kwargs or {}))
        for part in output if isinstance(output, (tuple, list)) else (output,):
            if isinstance(part, torch.Tensor):
                self.elements = max(self.elements, part.numel())
        return output


@pytest.mark.parametrize("released", [False, True], ids=CROSS)
def test_no_map_is_ever_built(released):
    tokens, channels, heads = 1024, 16, 2
    target, main, reference, cross = (features(seed, 1, tokens, channels) for seed in (50, 52, 54, 56))
    value, cross = draw(58, 1, tokens, channels), cross if released else None
    region = draw(59, 1, tokens) > 0
    masks = region & (draw(60, 1, tokens) > 0), region
    with Largest() as watch:
        composite_attention(
            target, value, main, reference, token_areas(*masks, value.dtype), heads, lambda *parts: attend(*parts, heads=heads), cross
        )
    assert 0 < watch.elements <= 3 * tokens * channels
    with Largest() as watch:
        composite_map(masks, cross, target, main, reference, heads)
    assert watch.elements >= tokens * tokens


@pytest.mark.parametrize("context", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_nothing_is_written_to(context):
    inputs = [VALUE, *(part for pair in (TARGET, MAIN, REFERENCE, CROSS_PASS) for part in (pair.query, pair.key))]
    before = [part.clone() for part in inputs]
    with context():
        for cross in CROSS.values():
            composite(MASKS["random"], cross)
        compose_queries_and_keys(TARGET, MAIN, REFERENCE, *MASKS["random"])
    assert all(torch.equal(*pair) for pair in zip(inputs, before, strict=True))


def light(masks, target=TARGET, main=MAIN, reference=REFERENCE) -> torch.Tensor:
    composed = compose_queries_and_keys(target, main, reference, *masks)
    return attend(composed.query, composed.key, VALUE)


@pytest.mark.parametrize("masks", MASKS.values(), ids=MASKS)
def test_composed_queries_and_keys_come_from_the_picture_of_their_area(masks):
    composed = compose_queries_and_keys(TARGET, MAIN, REFERENCE, *masks)
    for token in range(TOKENS):
        object_, region = (bool(mask[0, token]) for mask in masks)
        picture = REFERENCE if object_ else TARGET if region else MAIN
        assert torch.equal(composed.query[:, token], picture.query[:, token])
        assert torch.equal(composed.key[:, token], picture.key[:, token])


def test_rows_compose_by_masks_of_their_own():
    masks = tuple(torch.cat(parts) for parts in zip(MASKS["random"], MASKS["no gap"], strict=True))
    output = light(masks)
    for row, name in enumerate(("random", "no gap")):
        torch.testing.assert_close(output[row], light(MASKS[name])[row], **FLOAT64)


def test_composed_attention_is_exact_where_pictures_agree_and_logits_are_symmetric():
    same = QueryKey(TARGET.query, TARGET.query)
    pictures = {"target": same, "main": same, "reference": same}
    torch.testing.assert_close(light(MASKS["random"], **pictures), composite(MASKS["random"], **pictures), **FLOAT64)


def test_composed_attention_is_exact_inside_one_picture():
    for name in ("no region", "object fills the picture", "gap fills the picture"):
        torch.testing.assert_close(light(MASKS[name]), composite(MASKS[name]), **FLOAT64)


def test_composed_attention_is_something_else_because_of_the_transposed_map():
    """Pictures that agree leave no other difference: all tokens but the object's are the same."""
    pictures = {"target": TARGET, "main": TARGET, "reference": TARGET}
    object_mask = MASKS["random"][0][0]
    difference = (light(MASKS["random"], **pictures) - composite(MASKS["random"], **pictures)).abs()
    assert float(difference[:, ~object_mask].max()) < 1e-11
    assert bool((difference[:, object_mask].amax(dim=-1) > 0.01).all())
