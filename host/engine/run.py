"""What puts a plan on a model, and begins and ends it with a sampling run.

A model that leaves a node carries its plan and one wrapper. Everything else is put on the guider's own options when a run begins, and
is gone when it ends, fails or is interrupted.
"""

from __future__ import annotations

import comfy.model_patcher
import comfy.sampler_helpers
from comfy.patcher_extension import WrappersMP, add_wrapper_with_key

from ..errors import GraftError
from ..naming import executing_node, named
from .engine import Engine
from .plan import PLAN_KEY, RUN_KEY, Plan
from .streams import encoded

TURNS = {
    "step": "works between steps, which only the Graft Sampler node lets it do; connect Graft Sampler",
    "h": "needs two predictions per step, which only the Asymmetric Sampler node makes; connect Asymmetric Sampler",
}
"""What edits need of a sampler, which says in `serves` what of it it has."""


def carry_out(model, plan: Plan):
    """A clone of `model` that runs `plan` whenever it is sampled."""
    clone = model.clone()
    clone.model_options["transformer_options"][PLAN_KEY] = plan
    if not clone.get_wrappers(WrappersMP.OUTER_SAMPLE, PLAN_KEY):
        clone.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, PLAN_KEY, _outer_sample)
    return clone


def _outer_sample(executor, noise, latent_image, sampler, sigmas, *args, **kwargs):
    guider = executor.class_obj
    plan: Plan = guider.model_options["transformer_options"][PLAN_KEY]
    with named(executing_node()):
        for hook, complaint in TURNS.items():
            if hook in plan.hooks - getattr(sampler, "serves", frozenset()):
                names = ", ".join(sorted({type(edit).__name__ for edit in plan.edits if hook in edit.hooks}))
                raise GraftError(f"sampler: {names} {complaint}")
        engine = Engine(plan, guider, sampler, sigmas, latent_image.shape)
    before = guider.model_options
    guider.model_options = comfy.model_patcher.create_model_options_clone(before)
    guider.model_options["transformer_options"][RUN_KEY] = engine
    for kind, wrapper in ((WrappersMP.SAMPLER_SAMPLE, _sampler_sample), (WrappersMP.CALC_COND_BATCH, engine.denoise)):
        add_wrapper_with_key(kind, PLAN_KEY, wrapper, guider.model_options, is_model_options=True)
    # Listed among the guider's conditionings while models are loaded, so that a stream's own ControlNet is loaded too.
    listed = {_listed(number): comfy.sampler_helpers.convert_cond(prompt) for number, prompt in enumerate(engine.prompts)}
    guider.conds.update(listed)
    try:
        return executor(noise, latent_image, sampler, sigmas, *args, **kwargs)
    finally:
        guider.model_options = before
        engine.end()
        for name in listed:
            guider.conds.pop(name, None)


def _listed(number: int) -> str:
    return f"graft {number}"


def _sampler_sample(executor, guider, sigmas, extra_args, callback, noise, latent_image=None, *args, **kwargs):
    engine: Engine = extra_args["model_options"]["transformer_options"][RUN_KEY]
    for number, (stream, prompt) in enumerate(zip(engine.streams, engine.prompts, strict=True)):
        guider.conds.pop(_listed(number), None)
        engine.run.conditionings[stream] = encoded(guider, stream, prompt, noise, latent_image, extra_args.get("seed"))
    return executor(guider, sigmas, extra_args, callback, noise, latent_image, *args, **kwargs)
