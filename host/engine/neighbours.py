"""Other nodes on the same model that Graft's edits cannot run beside: refused by name, before the first step."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from comfy.patcher_extension import WrappersMP

from ..errors import GraftError
from .plan import PLAN_KEY, RunningEdit
from .requirements import covers_area
from .sampling_run import Run
from .stream import Stream

CACHE = re.compile("cache", re.IGNORECASE)
"""What nodes that skip the network have in their names: EasyCache, LazyCache, TeaCache, First Block Cache."""

TOKEN_NODES = {"nodes_hypertile": "HyperTile", "nodes_tomesd": "Token Merging"}
"""Modules whose patches take self-attention's tokens together or apart."""


def check_host(run: Run) -> None:
    """Raises `GraftError` for what no edit can run beside."""
    if run.model.get_additional_models_with_key("multigpu"):
        raise GraftError("model: Graft's edits do not run on several GPUs at once; remove the multi-GPU node")
    if "context_handler" in run.guider.model_options:
        raise GraftError("model: Graft's edits do not run in context windows; remove the Context Windows node")
    if len(run.shape) == 5 and run.shape[2] > 1:
        raise GraftError(f"latent_image: it is a film of {run.shape[2]} frames, and Graft edits pictures; connect the latent of a picture")
    # The host gives every conditioning the areas of every other, so that an area on the negative crops the positive too.
    for name, conditioning in run.guider.conds.items():
        if any(covers_area(entry) for entry in conditioning):
            raise GraftError(
                f"{name}: Graft's edits cover the whole picture; remove the area from the prompt or use a mask without bounds instead"
            )


def check_neighbours(run: Run, edits: Sequence[RunningEdit], streams: Sequence[Stream], levels: Sequence[float], twice: bool) -> None:
    """Raises `GraftError` for nodes that these edits cannot run beside; `twice` says that two predictions are made per step."""
    if streams or twice:
        for name in _cache_names(run.guider.model_options):
            raise GraftError(
                f"model: {name} skips calls of the network, and Graft's edits look at what it computes in every step; remove {name}"
            )
    if any(edit.changes and any(map(edit.active_at, levels)) for edit in edits):
        for patch in run.guider.model_options["transformer_options"].get("patches", {}).get("attn1_patch", ()):
            if node := TOKEN_NODES.get(_module(patch).rpartition(".")[2]):
                raise GraftError(
                    f"model: {node} has self-attention see other tokens than the picture's, and Graft edits them; remove the {node} node"
                )


def _cache_names(model_options: dict) -> Iterator[str]:
    """Names of the nodes that skip calls of the network, as far as they say so."""
    for wrappers in model_options["transformer_options"].get("wrappers", {}).values():
        for key, functions in wrappers.items():
            yield from (str(key) for function in functions if CACHE.search(f"{key} {_described(function)}"))
    wrapper = model_options.get("model_function_wrapper")
    if wrapper is not None and CACHE.search(_described(wrapper)):
        yield _described(wrapper)


def whole_picture(model_options: dict, size: tuple[int, int]) -> dict:
    """The options of a denoise call for latents of a `size` that refuse another node that shows the network a part of them."""

    def check(executor, x, *args, **kwargs):
        if tuple(x.shape[-2:]) != tuple(size):
            wrapper = model_options.get("model_function_wrapper")
            named = "" if wrapper is None else f" ({_described(wrapper)})"
            raise GraftError(
                f"model: another node{named} has the network see {x.shape[-1]} x {x.shape[-2]} of the latent's {size[1]} x {size[0]} cells at "
                "a time, and Graft's edits look at the whole picture; remove the tiled diffusion node"
            )
        return executor(x, *args, **kwargs)

    options = model_options["transformer_options"]
    wrappers = options.get("wrappers", {})
    around = {**wrappers.get(WrappersMP.APPLY_MODEL, {}), PLAN_KEY: [check]}
    return {**model_options, "transformer_options": {**options, "wrappers": {**wrappers, WrappersMP.APPLY_MODEL: around}}}


def _module(function) -> str:
    return getattr(function, "__module__", None) or type(function).__module__


def _described(function) -> str:
    """The name of a function, or of the class of an object that is called."""
    kind = function if hasattr(function, "__qualname__") else type(function)
    return f"{_module(function).rpartition('.')[2]}: {kind.__qualname__.replace('.<locals>', '')}"
