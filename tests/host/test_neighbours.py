"""Other nodes on the same model: what they do still happens beside the edits, or the pair is refused by name before the first step."""

import gc
import weakref

import comfy.controlnet
import comfy.samplers
import pytest
import torch
from comfy_extras.nodes_easycache import EasyCacheNode, LazyCacheNode
from comfy_extras.nodes_pag import PerturbedAttentionGuidance
from comfy_extras.nodes_sag import SelfAttentionGuidance
from graft.host.edits.key_value_mask import MaskKeysAndValues
from graft.host.edits.local_blend import LocalBlend
from graft.host.edits.self_attention import ReplaceKeysAndValues, ReplaceSelfAttention
from graft.host.engine.plan import RUN_KEY, Plan
from graft.host.engine.run import carry_out
from graft.host.engine.stream import Stream
from graft.host.engine.windows import Window
from graft.host.errors import GraftError
from graft.host.families.layers import all_layers, attention_layers, require_bottleneck, require_unet
from graft.host.samplers.guided import Prompts
from graft.host.samplers.latent_optimization import Optimization, optimize
from graft.host.samplers.sampling import GraftSampler
from tiny_models import make_model, noise, prompt, random_trajectory, sample, schedule, snapshot, watched
from written_out import guided, maps, predict, require_close

SOURCE, TARGET, NEGATIVE = prompt(1), prompt(2), prompt(3)
ALWAYS = Window(1e10, -1.0)
BOX = torch.zeros(1, 128, 128)
BOX[:, 20:90, 30:100] = 1


def hiding(model):
    """`model` with an edit that computes self-attention."""
    return carry_out(model, Plan((MaskKeysAndValues(BOX, ALWAYS, all_layers(require_unet(model))),)))


def mutual(model, batch: int = 1, conditioning: list = SOURCE):
    """`model` with an edit of self-attention that looks at a stream."""
    stream = Stream(random_trajectory(model, conditioning, batch=batch), conditioning)
    return carry_out(model, Plan((ReplaceSelfAttention(stream, ALWAYS, all_layers(require_unet(model))),)))


def masked_maps(site, query, key, value):
    hidden = torch.nn.functional.adaptive_avg_pool2d(BOX[:, None].double(), site.grid).flatten(2) > 0.1
    bias = torch.zeros_like(hidden, dtype=torch.double).masked_fill(hidden & ~hidden.all(), float("-inf"))
    return maps(query, key, bias[:, :, None]) @ value


def one_step(model, **options):
    return sample(model, TARGET, NEGATIVE, sigmas=schedule(model, 5)[:2], **options)


def in_both_orders(edit, node):
    return [lambda model: node(edit(model)), lambda model: edit(node(model))]


def test_a_model_that_leaves_a_node_carries_a_plan_and_a_wrapper_and_nothing_else(sd1):
    before, after = snapshot(sd1)["model_options"]["transformer_options"], snapshot(hiding(sd1))["model_options"]["transformer_options"]
    assert after.keys() - before.keys() <= {"graft_plan", "wrappers"}


# Guidance that replaces attention for its own call


@pytest.mark.parametrize("order", [0, 1], ids=["after the edit", "before the edit"])
def test_perturbed_attention_guidance_acts_beside_an_edit_that_computes_attention(sd1, order):
    """Oracle: the update written out, in which the perturbed prediction has the edit in every layer but the middle one."""
    scale, cfg = 3.0, 4.0
    both = in_both_orders(hiding, lambda model: PerturbedAttentionGuidance.execute(model, scale)[0])[order](sd1)
    sigmas = schedule(sd1, 5)[:2]
    x = noise(0) * sigmas[0]

    def perturbed(site, query, key, value):
        return value if site.block == "middle" else masked_maps(site, query, key, value)

    negative, positive = (predict(sd1, x, sigmas[0], text, attn1=masked_maps) for text in (NEGATIVE, TARGET))
    denoised = guided(negative, positive, cfg) + scale * (positive - predict(sd1, x, sigmas[0], TARGET, attn1=perturbed))
    expected = sd1.model.process_latent_out(x + (sigmas[1] - sigmas[0]) * (x - denoised) / sigmas[0])
    require_close(one_step(both), expected, one_step(hiding(sd1)))


def test_what_perturbed_attention_guidance_changes_is_about_what_it_changes_alone(sd1):
    def change(model):
        return one_step(PerturbedAttentionGuidance.execute(model, 3.0)[0]) - one_step(model)

    alone, beside = change(sd1), change(hiding(sd1))
    assert 0.5 < float(beside.norm() / alone.norm()) < 2


@pytest.mark.parametrize("order", [0, 1], ids=["after the edit", "before the edit"])
def test_self_attention_guidance_runs_beside_an_edit_that_computes_all_rows_of_its_layer(sd1, order):
    """It records the attention of the middle block, which it is shown whether the edit asks for it or not."""
    node = lambda model: SelfAttentionGuidance.execute(model, 0.5, 2.0)[0]  # noqa: E731
    both = in_both_orders(hiding, node)[order](sd1)
    large = {"start": noise(0, 1, 32, 32)}  # It leaves pictures alone whose middle is smaller.
    result = one_step(both, **large)
    assert result.isfinite().all()
    assert not torch.equal(result, one_step(hiding(sd1), **large)) and not torch.equal(result, one_step(node(sd1), **large))


# Replacements under either form of key


def doubled(query, key, value, options):
    heads = [part.unflatten(2, (options["n_heads"], -1)).transpose(1, 2) for part in (query, key, value)]
    return 2 * (maps(heads[0], heads[1]) @ heads[2]).transpose(1, 2).flatten(2)


def replaced(model, form: str):
    """A node that replaces self-attention in every layer: under the block's key, the layer's, or by extending what it finds there."""
    clone = model.clone()
    for layer in all_layers(require_unet(model)):
        index = None if form == "block" else layer.index
        if form == "extended":  # as newer IP-Adapters do: they call a method of the entry that they find
            key = layer.block, layer.number, layer.index
            present = clone.model_options["transformer_options"].get("patches_replace", {}).get("attn1", {}).get(key)
            if present is not None:
                present.add(doubled)
                continue
        clone.set_model_attn1_replace(doubled, layer.block, layer.number, index)
    return clone


@pytest.mark.parametrize("form", ["block", "layer", "extended"])
@pytest.mark.parametrize("order", [0, 1], ids=["after the edit", "before the edit"])
def test_another_nodes_replacement_acts_beside_an_edit_of_what_goes_in(sd1, form, order):
    """Oracle: the same node on a model whose plan is put there last."""
    both = in_both_orders(mutual, lambda model: replaced(model, form))[order](sd1)
    expected = one_step(mutual(replaced(sd1, "block")))
    assert torch.equal(one_step(both), expected)
    assert not torch.allclose(expected, one_step(mutual(sd1)), rtol=0.1)


@pytest.mark.parametrize("form", ["block", "layer", "extended"])
@pytest.mark.parametrize("order", [0, 1], ids=["after the edit", "before the edit"])
def test_where_an_edit_computes_attention_a_note_says_that_it_comes_first(sd1, caplog, form, order):
    both = in_both_orders(hiding, lambda model: replaced(model, form))[order](sd1)
    result = one_step(both)
    assert caplog.text.count("another node replaces self-attention too") == 1
    assert torch.equal(result, one_step(hiding(replaced(sd1, "block"))))


# Nodes that skip the network


def function_wrapper_cache(model):
    """A cache in the way of TeaCache: a function wrapper that gives the last answer again."""
    clone, kept = model.clone(), []

    def teacache_wrapper(apply_model, args):
        if not kept:
            kept.append(apply_model(args["input"], args["timestep"], **args["c"]))
        return kept[0]

    clone.set_model_unet_function_wrapper(teacache_wrapper)
    return clone


CACHES = {
    "easycache": lambda model: EasyCacheNode.execute(model, 100.0, 0.0, 1.0, False)[0],
    "lazycache": lambda model: LazyCacheNode.execute(model, 100.0, 0.0, 1.0, False)[0],
    "teacache": function_wrapper_cache,
}


@pytest.mark.parametrize("order", [0, 1], ids=["after the edit", "before the edit"])
@pytest.mark.parametrize("sampler", ["euler", "heun", GraftSampler("ddim")], ids=["euler", "heun", "graft"])
@pytest.mark.parametrize("cache", CACHES)
def test_a_cache_is_refused_by_name_beside_an_edit_that_looks_at_a_stream(sd1, cache, sampler, order):
    both, calls = watched(in_both_orders(mutual, CACHES[cache])[order](sd1))
    with pytest.raises(GraftError, match=rf"(?i)^model: .*{cache}.* skips calls of the network"):
        sample(both, TARGET, NEGATIVE, sampler=sampler)
    assert not calls


@pytest.mark.parametrize("cache", CACHES)
def test_a_cache_is_refused_beside_local_blend_and_optimize_latent(sd1, cache):
    stream = Stream(random_trajectory(sd1, SOURCE), SOURCE)
    blend = carry_out(sd1, Plan((LocalBlend(stream, ALWAYS, None, BOX, "the source's own step"),)))
    with pytest.raises(GraftError, match="skips calls of the network"):
        sample(CACHES[cache](blend), TARGET, NEGATIVE, sampler=GraftSampler("ddim"))
    with pytest.raises(GraftError, match="skips calls of the network"):
        optimize(CACHES[cache](sd1), Prompts(TARGET, SOURCE, NEGATIVE), noise(1), 0, Optimization(iterations=3))


def test_a_node_that_skips_the_network_under_any_name_ends_in_a_sentence(sd1):
    clone = mutual(sd1).clone()
    clone.set_model_unet_function_wrapper(lambda apply_model, args: torch.zeros_like(args["input"]))
    with pytest.raises(GraftError, match=r"^model: another node has kept the network from computing"):
        one_step(clone)


@pytest.mark.parametrize("cache", ["easycache", "lazycache"])
def test_a_cache_runs_beside_an_edit_without_streams(sd1, cache):
    assert sample(CACHES[cache](hiding(sd1)), TARGET, NEGATIVE).isfinite().all()


# Tiles


def tiled(model):
    """A node that shows the network the latent in two halves."""
    clone = model.clone()

    def tiles(apply_model, args):
        halves = zip(args["input"].chunk(2, dim=-1), range(2), strict=True)
        return torch.cat([apply_model(half, args["timestep"], **args["c"]) for half, _ in halves], dim=-1)

    clone.set_model_unet_function_wrapper(tiles)
    return clone


@pytest.mark.parametrize("late", [False, True], ids=["from the first step", "from a later step"])
@pytest.mark.parametrize("edit", [hiding, mutual])
def test_tiles_are_refused_before_the_first_step(sd1, edit, late):
    steps = []
    plan = edit(sd1).model_options["transformer_options"]["graft_plan"]
    if late:
        object.__setattr__(plan.edits[0], "window", Window(float(schedule(sd1, 5)[2]), -1.0))
    both = tiled(carry_out(sd1, plan))
    with pytest.raises(GraftError, match=r"^model: another node \(.*tiles\) has the network see 8 x 16 of the latent's 16 x 16 cells"):
        sample(both, TARGET, NEGATIVE, callback=lambda *args: steps.append(args))
    assert not steps


# ControlNet hints


class Hint(comfy.controlnet.ControlBase):
    """A ControlNet that keeps its hint for the rows that it was first asked for, as the host's do, and adds it to the bottleneck."""

    def get_control(self, x_noisy, t, cond, batched_number, transformer_options):
        if self.cond_hint is None:
            self.cond_hint = self.cond_hint_original
        if len(x_noisy) != len(self.cond_hint):
            self.cond_hint = comfy.controlnet.broadcast_image_to(self.cond_hint, len(x_noisy), batched_number)
        return {"input": [], "middle": [self.cond_hint.mean(dim=(1, 2, 3), keepdim=True)], "output": []}

    def copy(self):
        copied = Hint()
        self.copy_to(copied)
        return copied


@pytest.mark.parametrize("chained", [False, True], ids=["alone", "behind another"])
@pytest.mark.parametrize("sources", [1, 2])
def test_one_controlnet_for_source_and_target_keeps_the_hint_of_each_picture(sd1, sources, chained):
    """Oracle: the same run with a ControlNet of the stream's own."""
    hints = torch.tensor([1.0, 5.0]).view(2, 1, 1, 1).expand(2, 3, 128, 128)

    def control():
        one = Hint().set_cond_hint(hints)
        return Hint().set_cond_hint(hints * 2).set_previous_controlnet(one) if chained else one

    def controlled(text: list, net) -> list:
        return [[text[0][0], {**text[0][1], "control": net, "control_apply_to_uncond": False}]]

    results, shared = [], control()
    for net in (shared, control()):
        edited = mutual(sd1, sources, controlled(SOURCE, shared))
        start = {"start": noise(0, 2), "sigmas": schedule(sd1, 5)[:3]}
        results.append(sample(edited, controlled(TARGET, net), NEGATIVE, **start))
    assert torch.equal(*results)


# Other networks


@pytest.mark.parametrize("edit", [hiding, mutual])
def test_a_unet_without_a_middle_block_is_edited(edit):
    model = make_model("sd1", transformer_depth_middle=-2)
    assert model.model.diffusion_model.middle_block is None
    assert {layer.block for layer in attention_layers(require_unet(model))} == {"input", "output"}
    assert not torch.equal(one_step(edit(model)), one_step(model))
    with pytest.raises(GraftError, match=r"^model: .*has no bottleneck"):
        require_bottleneck(model)


# What is left and what is printed


def test_an_edited_model_is_freed_without_the_cyclic_collector(sd1):
    """And with it all that the run made of its edits."""
    left, patched = [], mutual(sd1)

    def look(executor, *args, **kwargs):
        engine = args[-1]["transformer_options"][RUN_KEY]
        left.extend(weakref.ref(one) for one in (engine, engine.run, *engine.edits))
        return executor(*args, **kwargs)

    patched.add_wrapper_with_key("calc_cond_batch", "test", look)
    gc.collect()
    gc.disable()
    try:
        one_step(patched)
        assert len(left) >= 3 and not any(one() for one in left)
        left.append(weakref.ref(patched))
        del patched
        assert left[-1]() is None
    finally:
        gc.enable()


def test_trajectories_and_streams_print_in_a_line(sd1):
    stream = Stream(random_trajectory(sd1, SOURCE), SOURCE)
    edit = ReplaceKeysAndValues(stream, ALWAYS, frozenset())
    for printed in (repr(stream.trajectory), repr(stream), repr(edit)):
        assert len(printed) < 300 and "tensor" not in printed
