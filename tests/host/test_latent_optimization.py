"""Delta Denoising Score in the real host, against its loop written out row by row."""

from dataclasses import replace

import comfy.controlnet
import comfy.model_management
import comfy.utils
import latent_preview
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from graft.host.engine.noise_levels import level_at
from graft.host.errors import GraftError
from graft.host.families.layers import fine_decoder_layers, require_unet
from graft.host.samplers.guided import Prompts
from graft.host.samplers.latent_optimization import MaskedKeys, Optimization, SourceKeys, drawn_levels, optimize
from graft.host.samplers.perceptual import PerceptualLoss
from graft.nodes import optimization
from graft.nodes.optimization import OptimizeLatent, PerceptualLossNode
from graft.nodes.self_attention import MaskKeysAndValuesNode
from graft.optimization.descent import Descent
from test_stream_batches import controlled
from tiny_models import make_flow_model, noise, prompt, snapshot, watched
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d
from written_out import guided, maps, predict

POSITIVE, SOURCE, NEGATIVE = prompt(1), prompt(2), prompt(3)
SEED, GUIDANCE = 11, 5.0
SHORT = Optimization(iterations=4, guidance=GUIDANCE)
BOX = torch.zeros(1, 128, 128)
BOX[:, 20:90, 30:100] = 1


def picture(batch: int = 1) -> Tensor:
    """A clean latent in the VAE's space."""
    return noise(21, batch) * 4


def ours(
    model, settings: Optimization = SHORT, editors=(), losses=(), *, positive=POSITIVE, source=SOURCE, batch: int = 1, seed: int = SEED
):
    """In sampler space."""
    result = optimize(model, Prompts(positive, source, NEGATIVE), picture(batch), seed, settings, editors, losses)
    return model.model.process_latent_in(result)


def fine(model) -> frozenset:
    return fine_decoder_layers(require_unet(model))


def in_decoder(site) -> bool:
    """The last six of SD1.x's sixteen layers, on a latent of 16 x 16."""
    return site.block == "output" and site.grid[0] >= 8


def masked(mask: Tensor):
    def attention(site, query, key, value):
        if not in_decoder(site):
            return maps(query, key) @ value
        tokens = adaptive_avg_pool2d(mask[:, None].double(), site.grid).flatten(2) > 0.1
        return maps(query, key, torch.zeros(tokens.shape).double().masked_fill(tokens, float("-inf"))[:, :, None]) @ value

    return attention


def written_out(
    model, settings: Optimization = SHORT, *, batch: int = 1, mask=None, start: int = 0, source_keys_until: int = 0, row=predict
) -> Tensor:
    """The released loop with a call of the network for every row: one timestep and one noise for both pictures, guidance on
    eps = (x - D) / sigma, G = eps_t - eps_s, a loss of 10 sum(z G w) / (h w), Adam."""
    generator = torch.Generator().manual_seed(SEED)
    drawn = torch.randint(settings.timesteps[0], settings.timesteps[1] - 1, (settings.iterations,), generator=generator)
    noises = torch.Generator().manual_seed(SEED)
    clean = model.model.process_latent_in(picture(batch))
    z = clean.clone()
    optimizer = torch.optim.Adam([z], lr=5e-2)
    weights = 1.0 if settings.mask is None else settings.outside + (1 - settings.outside) * adaptive_avg_pool2d(settings.mask[:, None], 16)
    for iteration, timestep in enumerate(drawn):
        sigma = model.get_model_object("model_sampling").sigmas[timestep]
        n = torch.randn(clean.shape, generator=noises)
        kept = {"positive": {}, "negative": {}}

        def keep(name, kept=kept):
            def attention(site, query, key, value):
                kept[name][site] = key, value
                return maps(query, key) @ value

            return attention

        def read(name, kept=kept):
            def attention(site, query, key, value):
                key, value = kept[name][site] if in_decoder(site) else (key, value)
                return maps(query, key) @ value

            return attention

        def edited(name, iteration=iteration, read=read):
            if mask is not None and iteration >= start:
                return masked(mask)
            return read(name) if iteration < source_keys_until else None

        eps = []
        for latent, conditioning, compute in ((clean, SOURCE, keep), (z, POSITIVE, edited)):
            x = latent + sigma * n
            rows = [
                (x - row(model, x, sigma, text, attn1=compute(name))) / sigma
                for name, text in (("negative", NEGATIVE), ("positive", conditioning))
            ]
            eps.append(guided(*rows, settings.guidance))
        z.grad = 10 * (eps[1] - eps[0]) * weights / (16 * 16)
        optimizer.step()
    return z


def require_same_way(ours: Tensor, theirs: Tensor, other: Tensor | None = None) -> None:
    """Adam normalises every cell's gradient, so that a rounding error where it is nearly zero moves as far as any: all but a few cells
    agree, and without the edit many do not."""
    off = (ours - theirs).abs() > 5e-3
    assert float(off.float().mean()) < 0.01
    if other is not None:
        assert float(((other - theirs).abs() > 5e-3).float().mean()) > 0.1


# The loop


def test_the_loop_is_the_released_one_on_eps_and_v_models(model):
    result = ours(model)
    clean = model.model.process_latent_in(picture())
    require_same_way(result, written_out(model), clean)


def test_the_direction_itself_is_the_equations(model):
    """SGD is linear in the gradient: after one iteration what has changed is the gradient."""
    settings = replace(SHORT, iterations=1, descent=Descent("sgd", 1.0))
    change = ours(model, settings) - model.model.process_latent_in(picture())
    sigma = drawn_levels(model.get_model_object("model_sampling"), settings, SEED)[0]
    n = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(SEED))
    clean = model.model.process_latent_in(picture())
    x = clean + sigma * n
    eps = [
        guided(*((x - predict(model, x, sigma, text)) / sigma for text in (NEGATIVE, conditioning)), GUIDANCE)
        for conditioning in (POSITIVE, SOURCE)
    ]
    expected = -10 * (eps[0] - eps[1]) / (16 * 16) * 2000 * (16 * 16) / (64 * 64)
    assert float((change - expected).abs().max()) < 2e-3 * float(expected.abs().max())


def test_a_batch_is_optimised_together(sd1):
    require_same_way(ours(sd1, batch=2), written_out(sd1, batch=2), sd1.model.process_latent_in(picture(2)))


def test_each_iteration_is_two_calls_of_two_rows(sd1):
    spied, calls = watched(sd1)
    ours(spied, batch=2)
    assert [(call.stream, len(call.x)) for call in calls] == [(True, 4), (False, 4)] * 4
    streams, targets = calls[::2], calls[1::2]
    assert [call.sigma for call in streams] == [call.sigma for call in targets]
    assert torch.equal(streams[0].x[:2], targets[0].x[:2])


def test_without_guidance_each_picture_takes_one_row(sd1):
    spied, calls = watched(sd1)
    settings = replace(SHORT, guidance=1.0)
    result = ours(spied, settings)
    assert [len(call.x) for call in calls] == [1] * 8
    require_same_way(result, written_out(sd1, settings))


def test_the_same_timestep_twice_is_new_noise(sd1):
    """Streams run once per noise level otherwise."""
    spied, calls = watched(sd1)
    ours(spied, replace(SHORT, timesteps=(500, 502)))
    shown = [call for call in calls if call.stream]
    assert len({call.sigma for call in shown}) == 1 and len(shown) == 4
    assert not torch.equal(shown[0].x, shown[1].x)


def test_rows_that_agree_stay_where_they_are_until_an_editor_tells_them_apart(model):
    clean = model.model.process_latent_in(picture())
    agreed = ours(model, replace(SHORT, descent=Descent("sgd", 0.1)), positive=SOURCE)
    assert float((agreed - clean).abs().max()) < 1e-3
    edited = ours(model, replace(SHORT, descent=Descent("sgd", 0.1)), [MaskedKeys(BOX, fine(model), 0, 0.1, "area")], positive=SOURCE)
    assert float((edited - clean).abs().max()) > 0.05


def test_what_else_guides_the_model_guides_both_rows_alike(sd1):
    """Rescale CFG and the like: with equal prompts there is still no direction."""
    rescaled = sd1.clone()
    rescaled.set_model_sampler_cfg_function(lambda args: args["uncond"] + 0.3 * args["cond_scale"] * (args["cond"] - args["uncond"]))
    rescaled.set_model_sampler_post_cfg_function(lambda args: 1.1 * args["denoised"])
    rescaled.set_model_sampler_pre_cfg_function(lambda args: [args["conds_out"][0] + 0.1, args["conds_out"][1]])
    settings = replace(SHORT, descent=Descent("sgd", 0.1))
    clean = sd1.model.process_latent_in(picture())
    assert float((ours(rescaled, settings, positive=SOURCE) - clean).abs().max()) < 1e-3
    assert not torch.allclose(ours(rescaled, settings), ours(sd1, settings))


# Editors


def test_keys_under_the_mask_are_hidden_from_the_latents_rows_alone_and_from_an_iteration_on(model):
    result = ours(model, editors=[MaskedKeys(BOX, fine(model), 2, 0.1, "area")])
    require_same_way(result, written_out(model, mask=BOX, start=2), written_out(model, mask=BOX))


def test_the_sources_keys_are_read_by_prompt_until_an_iteration(sd1):
    result = ours(sd1, editors=[SourceKeys(fine(sd1), 2)])
    require_same_way(result, written_out(sd1, source_keys_until=2), written_out(sd1, source_keys_until=4))


def test_edits_that_the_model_carries_go_along(sd1):
    inputs = {"mask_threshold": 0.1, "interpolation": "area", "start_percent": 0.0, "end_percent": 1.0, "layers": {"layers": "paper"}}
    carrying = MaskKeysAndValuesNode.EXECUTE_NORMALIZED(model=sd1, mask=BOX, **inputs)[0]
    require_same_way(ours(carrying), written_out(sd1, mask=BOX), ours(sd1))


def test_a_mask_counts_what_is_outside_less(sd1):
    settings = replace(SHORT, mask=BOX, outside=0.2, descent=Descent("sgd", 0.01))
    clean = sd1.model.process_latent_in(picture())
    weighted, plain = ours(sd1, replace(settings, iterations=1)) - clean, ours(sd1, replace(settings, iterations=1, mask=None)) - clean
    torch.testing.assert_close(weighted[..., 12:, :], 0.2 * plain[..., 12:, :], rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(weighted[..., 4:10, 5:11], plain[..., 4:10, 5:11], rtol=1e-3, atol=1e-6)
    require_same_way(ours(sd1, replace(SHORT, mask=BOX, outside=0.2)), written_out(sd1, replace(SHORT, mask=BOX, outside=0.2)))


def test_weights_that_are_all_one_are_no_weights(sd1):
    assert torch.equal(ours(sd1, replace(SHORT, mask=BOX, outside=1.0)), ours(sd1))


# ControlNets


def test_both_pictures_keep_their_own_controlnet(sd1):
    """Numbers pushed into the bottleneck: the source's rows, both prompts', take +4, the latent's positive row -4; a batch of two."""
    source, positive = controlled(2, 4.0), controlled(1, -4.0)

    def row(model, x, sigma, text, attn1=None):
        number = -4.0 if text is POSITIVE else 4.0 if text is SOURCE or attn1 is not None else None
        control = None if number is None else {"input": [], "middle": [torch.full((len(x), 1, 1, 1), number)], "output": []}
        inputs = {"c_crossattn": text[0][0].expand(len(x), -1, -1), "control": control}
        return model.model.apply_model(x, sigma.expand(len(x)), transformer_options={}, **inputs)

    result = ours(sd1, positive=positive, source=source, batch=2)
    require_same_way(result, written_out(sd1, batch=2, row=row), ours(sd1, batch=2))


class Adapter(torch.nn.Module):
    """A T2I-Adapter's network in small: the mean of each picture's hint, on the first level."""

    unshuffle_amount = 8

    def forward(self, hint: Tensor) -> dict:
        self.seen = hint.clone()
        return {"input": [hint.mean(dim=(1, 2, 3), keepdim=True).expand(-1, 32, 16, 16) * 10], "middle": [], "output": []}


def test_two_sketches_of_two_pictures_each_reach_their_own_rows(sd1):
    """A hint for each picture of the batch, for the source and for the latent: four in all."""

    def sketched(conditioning: list, hints: tuple[float, float]) -> tuple[list, Adapter]:
        adapter = Adapter()
        control = comfy.controlnet.T2IAdapter(adapter, 3, 8, "nearest-exact", device=torch.device("cpu"))
        control.set_cond_hint(torch.tensor(hints).view(2, 1, 1, 1).expand(2, 3, 128, 128), 1.0, (0.0, 1.0))
        ((states, options),) = conditioning
        return [[states, {**options, "control": control, "control_apply_to_uncond": True}]], adapter

    source, source_adapter = sketched(SOURCE, (0.1, 0.2))
    positive, adapter = sketched(POSITIVE, (0.7, 0.9))
    result = ours(sd1, positive=positive, source=source, batch=2)
    assert source_adapter.seen.mean(dim=(1, 2, 3)).tolist() == pytest.approx([0.1, 0.2])
    assert adapter.seen.mean(dim=(1, 2, 3)).tolist() == pytest.approx([0.7, 0.9] * 2)
    same = ours(sd1, replace(SHORT, descent=Descent("sgd", 0.1)), positive=sketched(SOURCE, (0.1, 0.2))[0], source=source, batch=2)
    assert float((same - sd1.model.process_latent_in(picture(2))).abs().max()) < 2e-3
    assert not torch.allclose(result, ours(sd1, batch=2))


# Timesteps and noise


def test_timesteps_are_the_models_own_and_end_before_the_last_two(sd1):
    sampling = sd1.get_model_object("model_sampling")
    levels = drawn_levels(sampling, Optimization(20000, timesteps=(50, 60), polish=100, polish_timesteps=(3, 6)), SEED)
    drawn = [int((sampling.sigmas - level).abs().argmin()) for level in levels[:-1]]
    assert set(drawn[:-100]) == set(range(50, 59)) and set(drawn[-100:]) == {3, 4} and float(levels[-1]) == 0
    assert torch.equal(level_at(sampling, torch.arange(1000)), sampling.sigmas)


def test_the_same_seed_is_the_same_bits_and_another_is_not(sd1):
    assert torch.equal(ours(sd1), ours(sd1)) and not torch.equal(ours(sd1), ours(sd1, seed=12))


def test_the_hosts_own_random_state_neither_counts_nor_changes(sd1):
    torch.manual_seed(5)
    state, first = torch.get_rng_state(), ours(sd1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    assert torch.equal(ours(sd1), first)


# Running it


def test_progress_and_previews_show_the_latent_and_change_nothing(sd1, monkeypatch):
    plain, shown = ours(sd1), []
    monkeypatch.setattr(latent_preview.args, "preview_method", latent_preview.LatentPreviewMethod.Latent2RGB)
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", lambda value, total, preview, **_: shown.append((value, total, preview)))
    monkeypatch.setattr(comfy.utils, "PROGRESS_THROTTLE_MIN_INTERVAL", 0.0, raising=False)
    assert torch.equal(ours(sd1), plain)
    assert shown[-1][:2] == (4, 4) and all(preview is not None for *_, preview in shown)


@pytest.mark.parametrize("call", [1, 5, 6])
def test_interrupting_in_either_pass_leaves_the_model_clean_and_usable(sd1, call):
    plain = ours(sd1)
    counted = []

    def interrupt(executor, *args, **kwargs):
        counted.append(1)
        if len(counted) == call:
            comfy.model_management.interrupt_current_processing()
        return executor(*args, **kwargs)

    spied = sd1.clone()
    spied.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "test", interrupt)
    before = snapshot(spied)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        ours(spied)
    assert snapshot(spied) == before and len(counted) <= call + 1
    comfy.model_management.interrupt_current_processing(False)
    assert torch.equal(ours(spied), plain)


def test_a_plateau_ends_it_early(sd1):
    spied, calls = watched(sd1)
    ours(spied, replace(SHORT, iterations=200, plateau=0.9, guidance=1.0, timesteps=(900, 902)))
    assert 2 * 40 <= len(calls) < 2 * 200


def test_a_flow_model_is_optimised_and_asked_by_its_own_mixture():
    model = make_flow_model()
    settings = replace(SHORT, iterations=1, descent=Descent("sgd", 1.0))
    clean = model.model.process_latent_in(picture())
    change = ours(model, settings) - clean
    sigma = drawn_levels(model.get_model_object("model_sampling"), settings, SEED)[0]
    x = (1 - sigma) * clean + sigma * torch.randn(clean.shape, generator=torch.Generator().manual_seed(SEED))
    eps = []
    for conditioning in (POSITIVE, SOURCE):
        velocities = [model.model.diffusion_model(x, 1000 * sigma.expand(1), text[0][0]) for text in (NEGATIVE, conditioning)]
        eps.append(x + (1 - sigma) * guided(*velocities, GUIDANCE))
    expected = -10 * (eps[0] - eps[1]) * 2000 / (64 * 64)
    torch.testing.assert_close(change, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
    assert not torch.equal(ours(model), clean)


# The nodes

PACE = {"iterations": 3, "lowest_timestep": 50, "highest_timestep": 950, "polish_iterations": 0}
KEYS = {"mask_start": 1, "mask_threshold": 0.1, "interpolation": "area"}
REMOVAL = {"stage": "removal", **PACE, **KEYS, "mask": BOX, "background_weight": 0.3, "outside_weight": 0.2}
HARMONISATION = {"stage": "harmonisation", **PACE, "mask": BOX, "background_weight": 0.3, "foreground_weight": 0.1}
TEXT = {"stage": "text composition", **PACE, "source_keys_until": 2}
PLAIN = {"stage": "prompts only", **PACE}


def node(model, stage: dict, latent: dict | None = None, **changes) -> Tensor:
    """The node itself, as a graph runs it."""
    inputs = {
        "positive": POSITIVE,
        "source_conditioning": SOURCE,
        "negative": NEGATIVE,
        "latent_image": {"samples": picture()} if latent is None else latent,
        "seed": SEED,
        "guidance": GUIDANCE,
        "optimizer": "Adam (paper)",
        "learning_rate": 0.05,
        "prompt_weight": 10.0,
        "plateau": 0.0,
        **changes,
    }
    return OptimizeLatent.EXECUTE_NORMALIZED(model=model, stage=stage, **inputs)[0]["samples"]


def latent_loss() -> PerceptualLoss:
    return PerceptualLossNode.EXECUTE_NORMALIZED(network={"network": "latent", "every": 1})[0]


def test_stages_are_the_articles_editors_and_losses(sd1):
    settings = replace(SHORT, iterations=3)
    removal = replace(settings, mask=BOX, outside=0.2)
    loss = PerceptualLoss("latent", None)
    keys = [MaskedKeys(BOX, fine(sd1), 1, 0.1, "area")]
    cases = (
        (REMOVAL, removal, keys, [(loss, [(1 - BOX, 0.3)])]),
        (HARMONISATION, settings, [], [(loss, [(1 - BOX, 0.3), (BOX, 0.1)])]),
        (TEXT, settings, [SourceKeys(fine(sd1), 2)], []),
        ({**TEXT, "stage": "sketch composition"}, settings, [SourceKeys(fine(sd1), 2)], []),
        (PLAIN, settings, [], []),
    )
    for stage, expected, editors, losses in cases:
        result = node(sd1, stage, perceptual=latent_loss())
        assert torch.equal(sd1.model.process_latent_in(result), ours(sd1, expected, editors, losses)), stage["stage"]


def test_the_presets_have_the_articles_numbers():
    (stages,) = (given for given in OptimizeLatent.define_schema().inputs if given.id == "stage")
    defaults = {option.key: {given.id: getattr(given, "default", None) for given in option.inputs} for option in stages.options}
    assert {key: part["iterations"] for key, part in defaults.items()} == {
        "removal": 150, "harmonisation": 200, "text composition": 500, "sketch composition": 200, "prompts only": 200,
    }  # fmt: skip
    assert (defaults["removal"]["background_weight"], defaults["removal"]["outside_weight"], defaults["removal"]["mask_start"]) == (
        0.3,
        0.2,
        4,
    )
    assert (defaults["harmonisation"]["background_weight"], defaults["harmonisation"]["foreground_weight"]) == (0.3, 0.1)
    assert defaults["text composition"]["source_keys_until"] == defaults["sketch composition"]["source_keys_until"] == 400
    assert (defaults["sketch composition"]["lowest_timestep"], defaults["sketch composition"]["highest_timestep"]) == (100, 600)


def test_a_flow_model_has_prompts_and_harmonisation_but_no_editors():
    model = make_flow_model()
    for stage in (PLAIN, HARMONISATION):
        assert not torch.equal(node(model, stage, perceptual=latent_loss()), picture())
    for stage in (REMOVAL, TEXT):
        with pytest.raises(GraftError, match=r"^model: BaseModel is not a Stable Diffusion UNet"):
            node(model, stage, perceptual=latent_loss())


def test_harmonisation_that_counts_nothing_outside_changes_the_masked_cells_alone(sd1):
    alone = {**HARMONISATION, "background_weight": 0.0, "foreground_weight": 0.0}
    masked = adaptive_avg_pool2d(BOX[:, None], 16)[0, 0] > 0
    for outside, elsewhere in ((0.0, False), (1.0, True)):
        result = node(sd1, {**alone, "outside_weight": outside}, optimizer="SGD", learning_rate=0.1)
        changed = ((result - picture()).abs() > 1e-5).any(dim=1)[0]
        assert changed[masked].all()
        assert changed[~masked].any() == elsewhere


def test_the_latent_given_is_left_as_it_was_and_its_other_parts_stay(sd1):
    latent = {"samples": picture(), "batch_index": [3]}
    given = latent["samples"].clone()
    output = OptimizeLatent.EXECUTE_NORMALIZED(
        model=sd1, stage=PLAIN, positive=POSITIVE, source_conditioning=SOURCE, negative=NEGATIVE, latent_image=latent, seed=1,
        guidance=2.0, optimizer="SGD", learning_rate=0.1, prompt_weight=1.0, plateau=0.0,
    )[0]  # fmt: skip
    assert output["batch_index"] == [3] and torch.equal(latent["samples"], given)


ZEROS, ONES = torch.zeros_like(BOX), torch.ones_like(BOX)
REFUSED = {
    "a mask of another aspect": ({**REMOVAL, "mask": BOX[:, :64]}, {}, r"^mask: it is 128 x 64 pixels, the latent 16 x 16 cells"),
    "an empty mask": ({**REMOVAL, "mask": ZEROS}, {}, r"^mask: it is empty"),
    "an empty mask of the second picture": ({**HARMONISATION, "mask": torch.cat([BOX, ZEROS])}, {}, r"^mask: number 2 of its 2 masks is empty"),
    "a full mask": ({**HARMONISATION, "mask": ONES}, {}, r"^mask: it covers the whole picture"),
    "three masks": ({**REMOVAL, "mask": BOX.expand(3, -1, -1)}, {}, r"^mask: it holds 3, the latent_image 1 pictures"),
    "no loss": (REMOVAL, {"perceptual": None}, r"^perceptual: background_weight above 0 needs a loss"),
    "nothing to draw": ({**PLAIN, "lowest_timestep": 949}, {}, r"^lowest_timestep, highest_timestep: 949 and 950 leave nothing to draw"),
    "other channels": (PLAIN, {"latent_image": {"samples": torch.zeros(1, 16, 16, 16)}}, r"^latent_image: its latents have 16 channels"),
    "a video": (PLAIN, {"latent_image": {"samples": torch.zeros(1, 4, 1, 16, 16)}}, r"^latent_image: its latent has 5 dimensions"),
    "a noise mask": (PLAIN, {"latent_image": {"samples": picture(), "noise_mask": BOX}}, r"^latent_image: it carries a noise mask"),
    "two prompts of the source": (PLAIN, {"source_conditioning": [*SOURCE, *POSITIVE]}, r"^source_conditioning: a stream needs one prompt"),
    "prompts for other pictures": (PLAIN, {"source_conditioning": prompt(2, rows=3)}, r"^source_conditioning: it holds 3 prompts"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_work_is_refused_before_the_first_call(sd1, case):
    stage, changes, message = REFUSED[case]
    spied, calls = watched(sd1)
    with pytest.raises(GraftError, match=message):
        node(spied, stage, **{"perceptual": latent_loss(), **changes})
    assert not calls


@pytest.mark.parametrize("shown", optimization.NODES, ids=lambda shown: shown.__name__)
def test_every_input_and_output_says_what_it_is(shown):
    schema = shown.define_schema()
    assert schema.node_id == "Graft" + schema.display_name.replace(" ", "")
    assert schema.category == "Graft/optimization" and schema.description
    assert all(part.tooltip for given in schema.inputs for part in [*given.get_all(), *schema.outputs])
