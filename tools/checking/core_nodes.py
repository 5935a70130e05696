"""The core nodes that give a changed model and that no edit was tried beside, with the reason."""

from __future__ import annotations

OTHER_NETWORK = "acts on a kind of network that the edits of this table do not run on"
NO_FILE = "brings weights from a file; the same weights are tried by LoraModelLoader"
WEIGHTS = "mixes the weights of two models, as ModelMergeSimple does, which is tried"

UNTRIED: dict[str, str] = {
    **dict.fromkeys(
        (
            "ARVideoI2V", "AnimaLLLiteApply", "ChromaRadianceOptions", "FluxKVCache", "HiDreamO1PatchSeamSmoothing", "LTXVContextWindows",
            "LTXVReferenceAudio", "MiniMaxH3SigmaShift", "ModelNoiseScale", "ModelSamplingAuraFlow", "ModelSamplingFlux", "ModelSamplingLTXV", "ModelSamplingSD3",
            "ModelSamplingStableCascade", "QwenImageDiffsynthControlnet", "SUPIRApply", "ScaleROPE", "SkipLayerGuidanceDiT",
            "SkipLayerGuidanceDiTSimple", "SkipLayerGuidanceSD3", "TripoSplatSamplingPreview", "UNetTemporalAttentionMultiply",
            "USOStyleReference", "WanContextWindowsManual", "WanInfiniteTalkToVideo", "WanUni3CControlnetApply", "ZImageFunControlnet",
            "wanBlockSwap",
        ),
        OTHER_NETWORK,
    ),
    **dict.fromkeys(
        ("HypernetworkLoader", "LoraLoader", "LoraLoaderBypass", "LoraLoaderBypassModelOnly", "LoraLoaderModelOnly"), NO_FILE
    ),
    **dict.fromkeys(
        (
            "ModelMergeAdd", "ModelMergeAuraflow", "ModelMergeBlocks", "ModelMergeCosmos14B", "ModelMergeCosmos7B",
            "ModelMergeCosmosPredict2_14B", "ModelMergeCosmosPredict2_2B", "ModelMergeFlux1", "ModelMergeKrea2", "ModelMergeLTXV",
            "ModelMergeMochiPreview", "ModelMergeQwenImage", "ModelMergeSD1", "ModelMergeSD2", "ModelMergeSD35_Large", "ModelMergeSD3_2B",
            "ModelMergeSDXL", "ModelMergeSubtract", "ModelMergeWAN2_1",
        ),
        WEIGHTS,
    ),
    "MultiGPU_WorkUnits": "needs several GPUs; where there are, it is refused by name",
    "SelectModelDevice": "needs several devices",
    "TorchCompileModel": "needs a compiler",
}  # fmt: skip
"""By node id. Of the pinned ComfyUI's nodes with a MODEL among inputs and outputs, each is here or in the table of pairings."""
