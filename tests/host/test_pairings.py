"""Every edit beside every core node that patches a UNet, in both orders: both change the picture, or the pair is refused by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from comfy_extras.nodes_apg import APG
from comfy_extras.nodes_attention_multiply import UNetCrossAttentionMultiply, UNetSelfAttentionMultiply
from comfy_extras.nodes_cfg import CFGNorm, CFGZeroStar
from comfy_extras.nodes_context_windows import ContextWindowsManualNode
from comfy_extras.nodes_differential_diffusion import DifferentialDiffusion
from comfy_extras.nodes_easycache import EasyCacheNode, LazyCacheNode
from comfy_extras.nodes_eps import EpsilonScaling, TemporalScoreRescaling
from comfy_extras.nodes_freelunch import FreeU, FreeU_V2
from comfy_extras.nodes_fresca import FreSca
from comfy_extras.nodes_hypertile import HyperTile
from comfy_extras.nodes_mahiro import Mahiro
from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete, RescaleCFG
from comfy_extras.nodes_model_downscale import PatchModelAddDownscale
from comfy_extras.nodes_nag import NAGuidance
from comfy_extras.nodes_pag import PerturbedAttentionGuidance
from comfy_extras.nodes_sag import SelfAttentionGuidance
from comfy_extras.nodes_tcfg import TCFG
from comfy_extras.nodes_tomesd import TomePatchModel
from graft.host.engine.plan import Plan
from graft.host.engine.run import carry_out
from graft.host.errors import GraftError
from graft.host.samplers.asymmetric_sampler import AsymmetricSampler, Intervals
from graft.host.samplers.sampling import GraftSampler
from test_pairs_of_edits import NEGATIVE, TARGET, close, edits
from tiny_models import make_model, noise, sample, schedule

EDITS = {
    "Replace Self-Attention": "structure",
    "Replace Keys and Values": "content",
    "Replace Keys and Values, with masks": "masked content",
    "Mask Keys and Values": "hidden keys",
    "Reference Attention": "masked reference",
    "Composite Attention": "composite, intended",
    "Cross-Attention Control": "refine",
    "Local Blend": "blend",
    "Background Preservation": "background",
    "Mix h-Space": "h",
}
NODES: dict[str, Callable] = {
    "Perturbed-Attention Guidance": lambda model: PerturbedAttentionGuidance.execute(model, 3.0)[0],
    "Self-Attention Guidance": lambda model: SelfAttentionGuidance.execute(model, 0.5, 2.0)[0],
    "Normalized Attention Guidance": lambda model: NAGuidance.execute(model, 5.0, 0.5, 1.5)[0],
    "FreeU": lambda model: FreeU.execute(model, 1.1, 1.2, 0.9, 0.2)[0],
    "FreeU V2": lambda model: FreeU_V2.execute(model, 1.3, 1.4, 0.9, 0.2)[0],
    "Kohya Deep Shrink": lambda model: PatchModelAddDownscale.execute(model, 3, 1.25, 0.0, 1.0, True, "bicubic", "bicubic")[0],
    "HyperTile": lambda model: HyperTile.execute(model, 32, 2, 0, False)[0],
    "Token Merging": lambda model: TomePatchModel.execute(model, 0.3)[0],
    "RescaleCFG": lambda model: RescaleCFG().patch(model, 0.7)[0],
    "Adaptive Projected Guidance": lambda model: APG.execute(model, 0.5, 5.0, 0.0)[0],
    "Tangential Damping CFG": lambda model: TCFG.execute(model)[0],
    "FreSca": lambda model: FreSca.execute(model, 1.0, 1.5, 3)[0],
    "Epsilon Scaling": lambda model: EpsilonScaling.execute(model, 1.05)[0],
    "Temporal Score Rescaling": lambda model: TemporalScoreRescaling.execute(model, 0.95, 1.0)[0],
    "CFG-Zero*": lambda model: CFGZeroStar.execute(model)[0],
    "CFGNorm": lambda model: CFGNorm.execute(model, 0.5)[0],
    "Mahiro": lambda model: Mahiro.execute(model)[0],
    "UNet Self-Attention Multiply": lambda model: UNetSelfAttentionMultiply.execute(model, 1.2, 1.0, 1.0, 1.1)[0],
    "UNet Cross-Attention Multiply": lambda model: UNetCrossAttentionMultiply.execute(model, 1.2, 1.0, 1.0, 1.1)[0],
    "Model Sampling Discrete": lambda model: ModelSamplingDiscrete().patch(model, "v_prediction", False)[0],
    "Differential Diffusion": lambda model: DifferentialDiffusion.execute(model, 1.0)[0],
    "Context Windows": lambda model: ContextWindowsManualNode.execute(model, 8, 4, "standard_static", 1, False, "pyramid", 2, False)[0],
    "EasyCache": lambda model: EasyCacheNode.execute(model, 100.0, 0.0, 1.0, False)[0],
    "LazyCache": lambda model: LazyCacheNode.execute(model, 100.0, 0.0, 1.0, False)[0],
}


@pytest.fixture(scope="module")
def known():
    with torch.inference_mode():
        model = make_model("sd1")
        return model, edits(model), {}


def sampled(known, edit: str | None, node: str | None, last: bool = False) -> torch.Tensor:
    """Three steps of a picture with an edit and a node, the node after the edit or before it; made once."""
    model, edits_, made = known
    asked = edit, node, last and None not in (edit, node)
    if asked not in made:
        plan = Plan() if edit is None else Plan((edits_[EDITS[edit]],))
        steps = [] if node is None else [NODES[node]]
        steps.insert(0 if last else len(steps), lambda one: carry_out(one, plan))
        patched = model
        for step in steps:
            patched = step(patched)
        sampler = AsymmetricSampler(Intervals(), 0.0) if edit == "Mix h-Space" else GraftSampler("ddim")
        made[asked] = sample(patched, TARGET, NEGATIVE, sampler=sampler, sigmas=schedule(model, 5)[:4], start=noise(0))
    return made[asked]


@pytest.mark.parametrize("last", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("edit", EDITS)
def test_both_act_or_the_pair_is_refused_by_name(known, edit, node, last, record_property):
    try:
        both = sampled(known, edit, node, last)
    except GraftError as refusal:
        assert str(refusal).partition(":")[0] in {"model", "source", "main", "reference", "content", "sampler"}
        record_property("pairing", (edit, node, "after" if last else "before", "refused"))
        return
    assert both.isfinite().all()
    # FreeU knows full-size networks by their channels, Differential Diffusion wants a mask of the latent.
    silent = close(sampled(known, None, node), sampled(known, None, None))
    if not silent:
        assert not close(both, sampled(known, edit, None)), f"{node} comes to nothing"
    assert not close(both, sampled(known, None, node)), f"{edit} comes to nothing"
    record_property("pairing", (edit, node, "after" if last else "before", "silent on this network" if silent else "works"))
