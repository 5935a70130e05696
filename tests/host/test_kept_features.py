"""Streams answered from what an earlier run of them showed: the same bits, in fewer calls, within a budget."""

import copy
import gc
import logging

import pytest
import tiny_transformers
import torch
from graft.host.engine.features import FEATURES_KEY, KeptFeatures
from graft.host.engine.fingerprints import model_fingerprint
from graft.host.samplers.sampling import GraftSampler, invert
from graft.nodes.cross_attention import CrossAttentionControlNode
from graft.nodes.latents import LocalBlendNode
from graft.nodes.sampling import KeepFeatures
from graft.nodes.self_attention import CompositeAttentionNode, ReferenceAttentionNode, ReplaceSelfAttentionNode
from test_stream_batches import controlled
from tiny_models import make_guider, make_model, prompt, random_trajectory, sample_from, watched, worded
from tiny_transformers import make_transformer

SOURCE, TARGET, NEGATIVE, EMPTY, OTHER = (
    worded(1, "a cat on a mat"),
    worded(2, "a dog on a mat"),
    prompt(3),
    prompt(4),
    worded(5, "a dog on a mat"),
)
STEPS = 5
DISC = (torch.linspace(-1, 1, 128)[:, None] ** 2 + torch.linspace(-1, 1, 128) ** 2 < 0.3).float()[None]
BOX = torch.zeros(1, 128, 128)
BOX[:, 32:96, 32:96] = 1


def keeping(model, where: str = "host memory", budget: int = 64):
    """The node itself, as a graph runs it, and what it keeps."""
    kept = KeepFeatures.EXECUTE_NORMALIZED(model=model, where=where, budget=budget)[0]
    return kept, kept.model_options["transformer_options"][FEATURES_KEY]


def layout_kept(model, source, conditioning=SOURCE, strength: float = 1.0, end: float = 0.8, layers: str = "paper"):
    inputs = {"strength": strength, "start_percent": 0.0, "end_percent": end, "layers": {"layers": layers}}
    return ReplaceSelfAttentionNode.EXECUTE_NORMALIZED(model=model, source=source, source_conditioning=conditioning, **inputs)[0]


def composed(model, main, reference, mode: str = "intended"):
    inputs = {"object_mask": DISC * BOX, "region": BOX, "end_percent": 0.6, "mode": mode}
    return CompositeAttentionNode.EXECUTE_NORMALIZED(model=model, main=main, reference=reference, conditioning=EMPTY, **inputs)[0]


def specref(model, source, reference):
    """With Prompt-to-Prompt's control of cross-attention, and local blend by words, which watches the source."""
    cross = {"mode": "replace", "start_percent": 0.0, "end_percent": 0.8, "word_weights": "", "word_windows": "", "alignment": "corrected"}
    model = CrossAttentionControlNode.EXECUTE_NORMALIZED(model=model, source=source, source_conditioning=SOURCE, **cross)[0]
    looks = {"threshold": 0.5, "interpolation": "area", "start_percent": 0.2, "end_percent": 1.0, "layers": {"layers": "paper"}}
    looks |= {"target_words": "dog", "word_map_grid": "quarter (paper)", "reference_mask": DISC}
    model = ReferenceAttentionNode.EXECUTE_NORMALIZED(model=model, reference=reference, reference_conditioning=EMPTY, **looks)[0]
    blend = {"source_words": "cat", "target_words": "dog", "threshold": 0.9, "subtract_source_words": "", "subtract_target_words": ""}
    blend |= {"subtract_threshold": 0.3, "start_percent": 0.2, "end_percent": 1.0, "background": "the source's own step"}
    blend |= {"word_map_grid": "quarter (paper)"}
    return LocalBlendNode.EXECUTE_NORMALIZED(model=model, source=source, source_conditioning=SOURCE, **blend)[0]


METHODS = {
    "Free-Prompt-Editing": lambda model, source, other: layout_kept(model, source),
    "TF-ICON": composed,
    "SpecRef": specref,
}


def run(model, source, positive=TARGET, **options):
    """The picture, and how many calls ran streams."""
    spied, calls = watched(model)
    options = {"cfg": 3.0, "sampler": GraftSampler("ddim"), **options}
    picture = sample_from(spied, source.latents[0], source.sigmas, positive, NEGATIVE, **options)
    return picture, sum(call.stream for call in calls)


def spied_once(model):
    """Two runs of one model are among the same neighbours: the spy is put on once."""
    spied, calls = watched(model)

    def again(source, positive=TARGET, **options):
        calls.clear()
        options = {"cfg": 3.0, "sampler": GraftSampler("ddim"), **options}
        picture = sample_from(spied, source.latents[0], source.sigmas, positive, NEGATIVE, **options)
        return picture, sum(call.stream for call in calls)

    return again


@pytest.mark.parametrize("method, where", [(method, "host memory") for method in METHODS] + [("TF-ICON", "device")])
def test_the_second_run_has_the_same_bits_and_runs_no_stream(model, method, where):
    source, other = random_trajectory(model, SOURCE), random_trajectory(model, EMPTY, seed=1)
    plain, ran = run(METHODS[method](model, source, other), source)
    kept, store = keeping(model, where)
    sampled = spied_once(METHODS[method](kept, source, other))
    first, second, turned = sampled(source), sampled(source), sampled(source, OTHER, cfg=5.0)
    assert torch.equal(first[0], plain) and torch.equal(second[0], plain)
    assert first[1] == ran > 0 and second[1] == turned[1] == 0
    expected, _ = run(METHODS[method](model, source, other), source, OTHER, cfg=5.0)
    assert torch.equal(turned[0], expected) and not torch.equal(expected, plain)
    assert store.answered == store.calls == ran


def test_flow_models_keep_them_too(flow):
    model, source, positive, negative = flow
    plain = sampled_flow(layout_kept(model, source, negative, layers="all"), source, positive, negative)
    kept, store = keeping(model)
    edited = layout_kept(kept, source, negative, layers="all")
    first, second = (sampled_flow(edited, source, positive, negative) for _ in range(2))
    assert torch.equal(first, plain) and torch.equal(second, plain) and store.answered == store.calls > 0


@pytest.fixture
def flow():
    name = "flux schnell"
    model, positive, negative = make_transformer(name), tiny_transformers.prompt(name, 1), tiny_transformers.prompt(name, 2)
    return model, invert(model, negative, tiny_transformers.latent(name, 0), torch.linspace(1, 0, 4), "ddim", 1), positive, negative


def sampled_flow(model, source, positive, negative):
    guider = make_guider(model, positive, negative, 2.0)
    latent = model.model.process_latent_out(source.latents[0])
    return guider.sample(torch.zeros_like(latent), latent, GraftSampler("ddim"), source.sigmas, disable_pbar=True, seed=0)


# Which runs are answered


def test_a_turned_knob_is_answered_and_what_was_not_looked_at_is_run(sd1):
    source, (kept, _) = random_trajectory(sd1, SOURCE), keeping(sd1)
    assert run_on(kept, source)[1] == 4
    assert run_on(kept, source, strength=0.5)[1] == 0
    assert run_on(kept, source, end=0.4)[1] == 0
    assert run_on(kept, source, end=1.0)[1] == 1
    everywhere, ran = run_on(kept, source, layers="all")
    assert ran == 4 and torch.equal(everywhere, run_on(sd1, source, layers="all")[0])
    assert run_on(kept, source, layers="all")[1] == 0 and run_on(kept, source)[1] == 0


def run_on(model, source, conditioning=SOURCE, **knobs):
    """The picture, and how many calls of streams were not answered; None where nothing is kept."""
    edited = layout_kept(model, source, conditioning, **knobs)
    store = edited.model_options["transformer_options"].get(FEATURES_KEY)
    picture = sample_from(edited, source.latents[0], source.sigmas, TARGET, NEGATIVE, cfg=3.0, sampler=GraftSampler("ddim"))
    return picture, None if store is None else store.calls - store.answered


@pytest.mark.parametrize("change", ["prompt", "LoRA", "weights", "trajectory", "size of the prompt", "patch", "object patch", "precision"])
def test_another_key_is_not_answered(sd1, change):
    source, (kept, store) = random_trajectory(sd1, SOURCE), keeping(sd1)
    assert run_on(kept, source)[1] == 4 and run_on(kept, source)[1] == 0
    model, conditioning = kept.clone(), SOURCE
    match change:
        case "prompt":
            conditioning = OTHER
        case "LoRA":
            weight = "diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight"
            model.add_patches({weight: ("diff", (torch.ones(32, 32),))}, 0.1)
            source = the_same_object_by(source, model)
        case "weights":
            model.model = make_model("sd1", seed=9).model
            source = the_same_object_by(source, model)
        case "trajectory":
            source = random_trajectory(sd1, SOURCE)
        case "size of the prompt":
            conditioning = [[states, {**options, "width": 512}] for states, options in SOURCE]
        case "patch":
            model.set_model_output_block_patch(lambda h, skip, options: (1.1 * h, skip))
        case "object patch":
            sampling = copy.deepcopy(model.get_model_object("model_sampling"))
            model.add_object_patch("model_sampling", sampling)
        case "precision":
            run_on(kept, source)
            (key, *_) = store.entries
            assert torch.float32 in key[3]
            return
    assert run_on(model, source, conditioning)[1] == 4
    assert run_on(model, source, conditioning)[1] == 0


def the_same_object_by(source, model):
    """The trajectory passes for one of the changed model, and stays the object whose features are kept."""
    object.__setattr__(source, "model", model_fingerprint(model))
    return source


def test_a_source_with_a_controlnet_is_run_every_time(sd1):
    source, (kept, store) = random_trajectory(sd1, SOURCE), keeping(sd1)
    conditioning = controlled(1, 0.1)
    first, second = (run_on(kept, source, conditioning) for _ in range(2))
    assert store.calls == 0 and not store.entries and torch.equal(first[0], second[0])


def test_streams_that_an_edit_computes_are_run_every_time(sd1):
    """The released code's cross pass, together with the streams that run in its batch."""
    main, reference = random_trajectory(sd1, EMPTY), random_trajectory(sd1, EMPTY, seed=1)
    kept, store = keeping(sd1)
    edited = composed(kept, main, reference, "released code")
    sample_from(edited, main.latents[0], main.sigmas, TARGET, NEGATIVE, cfg=3.0)
    assert store.calls == 0 and not store.entries


# The budget


def test_what_is_kept_is_the_smaller_of_hidden_states_and_their_projections(sd1):
    """TF-ICON reads queries and keys of two streams in all layers: their hidden states are half."""
    main, reference = random_trajectory(sd1, EMPTY), random_trajectory(sd1, EMPTY, seed=1)
    kept, store = keeping(sd1)
    sample_from(composed(kept, main, reference), main.latents[0], main.sigmas, TARGET, NEGATIVE, cfg=3.0)
    tokens = 256 * 5 + 64 * 5 + 16 * 5 + 4
    hidden, denoised = 2 * tokens * 32 * 4, 2 * 4 * 16 * 16 * 4
    assert {entry.size for entry in store.entries.values()} == {hidden + denoised}
    assert all(not entry.shown.taps and len(entry.shown.inputs) == 16 for entry in store.entries.values())


def test_a_run_that_does_not_fit_keeps_as_many_steps_as_fit_and_the_same_ones_again(sd1):
    source, (kept, store) = random_trajectory(sd1, SOURCE), keeping(sd1)
    plain, _ = run_on(kept, source)
    size = next(iter(store.entries.values())).size
    small, store = keeping(sd1)
    store.budget = 2 * size + size // 2
    for left in (4, 2, 2):
        picture, ran = run_on(small, source)
        assert ran == left and torch.equal(picture, plain) and store.size <= store.budget and len(store.entries) == 2


def test_what_is_not_looked_at_any_more_makes_room(sd1):
    one, two = random_trajectory(sd1, SOURCE), random_trajectory(sd1, SOURCE, seed=1)
    kept, store = keeping(sd1)
    run_on(kept, one)
    store.budget = store.size
    assert run_on(kept, two)[1] == 4 and run_on(kept, two)[1] == 0 and store.size <= store.budget
    assert run_on(kept, one)[1] == 4


def test_features_go_with_their_trajectory(sd1):
    one, two = random_trajectory(sd1, SOURCE), random_trajectory(sd1, SOURCE, seed=1)
    kept, store = keeping(sd1)
    run_on(kept, one), run_on(kept, two)
    before = store.size
    assert len(store.entries) == 8
    del one
    gc.collect()
    assert len(store.entries) == 4 and store.size == before / 2


def test_off_is_the_model_that_came_in(sd1):
    assert KeepFeatures.EXECUTE_NORMALIZED(model=sd1, where="off", budget=64)[0] is sd1


def test_the_log_says_how_much_is_kept(sd1, caplog):
    source, (kept, store) = random_trajectory(sd1, SOURCE), keeping(sd1)
    with caplog.at_level(logging.INFO, "graft"):
        run_on(kept, source), run_on(kept, source)
    said = [entry.getMessage() for entry in caplog.records if "Keep Features" in entry.getMessage()]
    kept_bytes = sum(tensor.numel() * 4 for entry in store.entries.values() for tensor in unique(entry.shown.tensors()))
    assert len(said) == 2 and "answered 0 of 4" in said[0] and "answered 4 of 4" in said[1]
    assert f"4 are kept, {kept_bytes / 2**20:.1f} of 64 MiB in host memory" in said[1]


def unique(tensors) -> list:
    return list({tensor.data_ptr(): tensor for tensor in tensors}.values())


def test_an_interrupted_run_leaves_whole_steps(sd1, monkeypatch):
    source, (kept, _) = random_trajectory(sd1, SOURCE), keeping(sd1)
    plain, _ = run_on(sd1, source)
    keep, made = KeptFeatures.keep, []

    def break_off(self, *args):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(keep(self, *args))

    monkeypatch.setattr(KeptFeatures, "keep", break_off)
    with pytest.raises(KeyboardInterrupt):
        run_on(kept, source)
    monkeypatch.undo()
    picture, ran = run_on(kept, source)
    assert ran == 2 and torch.equal(picture, plain)
