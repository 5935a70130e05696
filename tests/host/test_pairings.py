"""Every edit beside every core node that patches a UNet, in both orders: both change the picture, or the pair is refused by name."""

from __future__ import annotations

from collections.abc import Callable

import comfy_extras.nodes_post_processing  # noqa: F401  (nodes_latent, which it needs, needs it first)
import pytest
import torch
from comfy_extras.nodes_apg import APG
from comfy_extras.nodes_attention_multiply import UNetCrossAttentionMultiply, UNetSelfAttentionMultiply
from comfy_extras.nodes_cfg import CFGNorm, CFGZeroStar
from comfy_extras.nodes_context_windows import ContextWindowsManualNode
from comfy_extras.nodes_custom_sampler import CFGOverride
from comfy_extras.nodes_differential_diffusion import DifferentialDiffusion
from comfy_extras.nodes_easycache import EasyCacheNode, LazyCacheNode
from comfy_extras.nodes_eps import EpsilonScaling, TemporalScoreRescaling
from comfy_extras.nodes_freelunch import FreeU, FreeU_V2
from comfy_extras.nodes_fresca import FreSca
from comfy_extras.nodes_hypertile import HyperTile
from comfy_extras.nodes_latent import LatentApplyOperationCFG
from comfy_extras.nodes_lumina2 import RenormCFG
from comfy_extras.nodes_mahiro import Mahiro
from comfy_extras.nodes_model_advanced import (
    ModelComputeDtype,
    ModelSamplingContinuousEDM,
    ModelSamplingContinuousV,
    ModelSamplingDiscrete,
    RescaleCFG,
)
from comfy_extras.nodes_model_downscale import PatchModelAddDownscale
from comfy_extras.nodes_model_merging import ModelMergeSimple
from comfy_extras.nodes_nag import NAGuidance
from comfy_extras.nodes_pag import PerturbedAttentionGuidance
from comfy_extras.nodes_perpneg import PerpNeg
from comfy_extras.nodes_sag import SelfAttentionGuidance
from comfy_extras.nodes_tcfg import TCFG
from comfy_extras.nodes_tomesd import TomePatchModel
from comfy_extras.nodes_train import LoraModelLoader
from comfy_extras.nodes_video_model import VideoLinearCFGGuidance, VideoTriangleCFGGuidance
from graft.host.engine.plan import Plan
from graft.host.engine.run import carry_out
from graft.host.errors import GraftError
from graft.host.samplers.asymmetric_sampler import AsymmetricSampler, Intervals
from graft.host.samplers.sampling import GraftSampler
from test_pairs_of_edits import NEGATIVE, TARGET, close, edits
from tiny_models import make_model, noise, prompt, sample, schedule

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
EMPTY = prompt(9)
LAYER = "diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q"
LORA = {f"{LAYER}.lora_{end}.weight": torch.full(shape, 0.1) for end, shape in (("up", (32, 4)), ("down", (4, 32)))}
NODES: dict[str, Callable] = {
    "PerturbedAttentionGuidance": lambda model: PerturbedAttentionGuidance.execute(model, 3.0)[0],
    "SelfAttentionGuidance": lambda model: SelfAttentionGuidance.execute(model, 0.5, 2.0)[0],
    "NAGuidance": lambda model: NAGuidance.execute(model, 5.0, 0.5, 1.5)[0],
    "FreeU": lambda model: FreeU.execute(model, 1.1, 1.2, 0.9, 0.2)[0],
    "FreeU_V2": lambda model: FreeU_V2.execute(model, 1.3, 1.4, 0.9, 0.2)[0],
    "PatchModelAddDownscale": lambda model: PatchModelAddDownscale.execute(model, 3, 1.25, 0.0, 1.0, True, "bicubic", "bicubic")[0],
    "HyperTile": lambda model: HyperTile.execute(model, 32, 2, 0, False)[0],
    "TomePatchModel": lambda model: TomePatchModel.execute(model, 0.3)[0],
    "RescaleCFG": lambda model: RescaleCFG().patch(model, 0.7)[0],
    "APG": lambda model: APG.execute(model, 0.5, 5.0, 0.0)[0],
    "TCFG": lambda model: TCFG.execute(model)[0],
    "FreSca": lambda model: FreSca.execute(model, 1.0, 1.5, 3)[0],
    "Epsilon Scaling": lambda model: EpsilonScaling.execute(model, 1.05)[0],
    "TemporalScoreRescaling": lambda model: TemporalScoreRescaling.execute(model, 0.95, 1.0)[0],
    "CFGZeroStar": lambda model: CFGZeroStar.execute(model)[0],
    "CFGNorm": lambda model: CFGNorm.execute(model, 0.5)[0],
    "Mahiro": lambda model: Mahiro.execute(model)[0],
    "UNetSelfAttentionMultiply": lambda model: UNetSelfAttentionMultiply.execute(model, 1.2, 1.0, 1.0, 1.1)[0],
    "UNetCrossAttentionMultiply": lambda model: UNetCrossAttentionMultiply.execute(model, 1.2, 1.0, 1.0, 1.1)[0],
    "ModelSamplingDiscrete": lambda model: ModelSamplingDiscrete().patch(model, "v_prediction", False)[0],
    "DifferentialDiffusion": lambda model: DifferentialDiffusion.execute(model, 1.0)[0],
    "ContextWindowsManual": lambda model: ContextWindowsManualNode.execute(model, 8, 4, "standard_static", 1, False, "pyramid", 2, False)[
        0
    ],
    "EasyCache": lambda model: EasyCacheNode.execute(model, 100.0, 0.0, 1.0, False)[0],
    "LazyCache": lambda model: LazyCacheNode.execute(model, 100.0, 0.0, 1.0, False)[0],
}
RARER: dict[str, Callable] = {
    "CFGOverride": lambda model: CFGOverride.execute(model, 2.0, 0.0, 1.0)[0],
    "LatentApplyOperationCFG": lambda model: LatentApplyOperationCFG.execute(model, lambda latent, **_: 0.9 * latent)[0],
    "RenormCFG": lambda model: RenormCFG.execute(model, 100.0, 0.5)[0],
    "PerpNeg": lambda model: PerpNeg.execute(model, EMPTY, 1.0)[0],
    "VideoLinearCFGGuidance": lambda model: VideoLinearCFGGuidance().patch(model, 1.5)[0],
    "VideoTriangleCFGGuidance": lambda model: VideoTriangleCFGGuidance().patch(model, 1.5)[0],
    "ModelSamplingContinuousEDM": lambda model: ModelSamplingContinuousEDM().patch(model, "eps", 100.0, 0.01)[0],
    "ModelSamplingContinuousV": lambda model: ModelSamplingContinuousV().patch(model, "v_prediction", 300.0, 0.01)[0],
    "ModelComputeDtype": lambda model: ModelComputeDtype().patch(model, "bf16")[0],
    "ModelMergeSimple": lambda model: ModelMergeSimple().merge(model, make_model("sd1", seed=1), 0.5)[0],
    "LoraModelLoader": lambda model: LoraModelLoader.execute(model, LORA, 1.0)[0],
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
        steps = [] if node is None else [{**NODES, **RARER}[node]]
        steps.insert(0 if last else len(steps), lambda one: carry_out(one, plan))
        patched = model
        for step in steps:
            patched = step(patched)
        sampler = AsymmetricSampler(Intervals(), 0.0) if edit == "Mix h-Space" else GraftSampler("ddim")
        made[asked] = sample(patched, TARGET, NEGATIVE, sampler=sampler, sigmas=schedule(model, 5)[:4], start=noise(0))
    return made[asked]


@pytest.mark.parametrize("last", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("node", [*NODES, *(pytest.param(node, marks=pytest.mark.full) for node in RARER)])
@pytest.mark.parametrize("edit", EDITS)
def test_both_act_or_the_pair_is_refused_by_name(known, edit, node, last, gave):
    outcome = outcome_of(known, edit, node, last)
    gave("Beside nodes of ComfyUI", node, edit, "after" if last else "before", outcome)
    assert outcome in ("works", "idle", "refused by name")


def outcome_of(known, edit: str, node: str, last: bool) -> str:
    """What a pair gives, in a word."""
    try:
        both = sampled(known, edit, node, last)
    except GraftError as refusal:
        named = str(refusal).partition(":")[0] in {"model", "source", "main", "reference", "content", "sampler"}
        return "refused by name" if named else f"refused without a name: {refusal}"
    if not both.isfinite().all():
        return "not finite"
    if close(both, sampled(known, None, node)):
        return f"silently without effect: {edit}"
    # FreeU knows full-size networks by their channels, Differential Diffusion wants a mask of the latent.
    if close(sampled(known, None, node), sampled(known, None, None)):
        return "idle"
    return f"silently without effect: {node}" if close(both, sampled(known, edit, None)) else "works"
