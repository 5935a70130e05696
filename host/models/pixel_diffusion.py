"""Folders of diffusers' UNet2DModel, the pixel-space models InjectFusion was made for, as MODEL, CONDITIONING and VAE."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import comfy.latent_formats
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.sd
import comfy.supported_models_base
import folder_paths
import torch

from ..errors import GraftError
from .pixel_unet import PixelUNet

BETA_SCHEDULES = {"linear": "sqrt_linear", "scaled_linear": "linear", "squaredcos_cap_v2": "cosine"}
"""The host's names of diffusers' schedules: what everyone else calls linear is "sqrt_linear" there, and "linear" is Stable
Diffusion's."""

PREDICTIONS = {"epsilon": comfy.model_base.ModelType.EPS, "v_prediction": comfy.model_base.ModelType.V_PREDICTION}

BLOCKS = {
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "ResnetDownsampleBlock2D"),
    "up_block_types": ("UpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D"),
}
"""Blocks that the two halves of `PixelUNet` call as diffusers does. Others hand a second picture on, or need a prompt."""

WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.safetensors.index.json")
"""Files that weights are read from: one, or a list of several. Never from pickles."""

FACES = Path(__file__).resolve().parents[2] / "miniature" / "face_model"

logger = logging.getLogger("graft")

TIMESTEPS = 1000
"""The host counts percents of a schedule in this many timesteps."""


class PixelFormat(comfy.latent_formats.LatentFormat):
    """Latents are pixels in [-1, 1]; previews show them as they are."""

    latent_channels = 3
    spacial_downscale_ratio = 1
    latent_rgb_factors = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]


class PixelConfig(comfy.supported_models_base.BASE):
    unet_extra_config = {}
    latent_format = PixelFormat
    memory_usage_factor = 0.4

    def inpaint_model(self) -> bool:
        return False


def names() -> list[str]:
    """Folders below models/diffusers that hold a single network, or a pipeline with one, sorted."""
    found = set()
    for root in map(Path, folder_paths.get_folder_paths("diffusers")):
        for configuration in (*root.glob("*/config.json"), *root.glob("*/*/config.json")):
            folder = configuration.parent
            if folder.parent == root or folder.name == "unet":
                found.add((folder if folder.parent == root else folder.parent).relative_to(root).as_posix())
    return sorted(found)


def find(name: str) -> Path:
    """The folder of that name that holds the network's config.json. Raises `GraftError` if there is none."""
    if name in names():
        for root in map(Path, folder_paths.get_folder_paths("diffusers")):
            for folder in (root / name, root / name / "unet"):
                if (folder / "config.json").is_file():
                    return folder
    raise GraftError(f"folder: {name!r} is not in models/diffusers, or holds no config.json; put the model's whole folder there")


def load(name: str):
    """The ModelPatcher of a folder in models/diffusers. Raises `GraftError` by name for what is no unconditional UNet of RGB pixels."""
    return load_folder(find(name), name)


def load_faces():
    """The ModelPatcher of the miniature's faces, 64 x 64 pixels."""
    return load_folder(FACES, "the miniature's faces")


def load_folder(folder: Path, name: str):
    """The ModelPatcher of a folder with the network's config.json, called `name` in errors."""
    _require_supported(name, _json(folder / "config.json"))
    schedule = _schedule_of(folder)
    config = PixelConfig({"disable_unet_model_creation": True, "in_channels": 3})
    config.sampling_settings = _sampling_settings(name, schedule)
    config.set_inference_dtype(torch.float32, None)
    offload = comfy.model_management.unet_offload_device()
    model = comfy.model_base.BaseModel(config, model_type=_prediction(name, schedule), device=offload)
    model.diffusion_model = PixelUNet(_network(folder, name)).requires_grad_(False)
    # Its layers are not the host's, which can be moved while they compute: so no dynamic loading.
    return comfy.model_patcher.ModelPatcher(model.eval(), comfy.model_management.get_torch_device(), offload)


def load_vae() -> comfy.sd.VAE:
    """The host's VAE that leaves pixels as they are: [0, 1] to [-1, 1] and back."""
    return comfy.sd.VAE(sd={"pixel_space_vae": torch.tensor(1.0)})


def no_prompt() -> list:
    """A CONDITIONING for networks that take none: a single token of zeros, since nodes expect text states."""
    return [[torch.zeros(1, 1, 1), {}]]


def _network(folder: Path, name: str):
    try:
        from diffusers import UNet2DModel
    except ImportError as problem:
        raise GraftError("folder: pixel-space models need the package diffusers; run: python -m pip install diffusers") from problem
    if not any((folder / file).is_file() for file in WEIGHTS):
        others = sorted(path.name for path in folder.iterdir() if path.suffix in (".bin", ".ckpt", ".pt", ".pth"))
        instead = f", only {', '.join(others)}, which may hold programs and is not read" if others else ""
        raise GraftError(f"folder: {name!r} holds no {WEIGHTS[0]}{instead}; get the model's weights as safetensors")
    reading = {"local_files_only": True, "use_safetensors": True, "low_cpu_mem_usage": False, "torch_dtype": torch.float32}
    try:
        network, found = UNet2DModel.from_pretrained(folder, output_loading_info=True, **reading)
    except Exception as problem:  # whatever a folder of somebody else's makes diffusers say
        raise GraftError(f"folder: {name!r} cannot be read ({_first_line(problem)}); put the model's whole folder there again") from problem
    if missing := sorted(found["missing_keys"]):
        raise GraftError(
            f"folder: {name!r} lacks {len(missing)} of its weights, {missing[0]} first; put the model's whole folder there again"
        )
    for weight, values in network.state_dict().items():
        if not bool(values.isfinite().all()):
            raise GraftError(f"folder: {name!r} holds a weight that is not finite, {weight}; get the model's weights again")
    return network


def _first_line(problem: Exception) -> str:
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0][:200]


def _require_supported(name: str, configuration: dict) -> None:
    kind = configuration.get("_class_name", "network of no named class")
    if kind != "UNet2DModel":
        raise GraftError(f"folder: {name!r} is a {kind}; only an unconditional UNet2DModel works in pixel space here")
    unsupported = {
        "in_channels": configuration.get("in_channels", 3) != 3,
        "out_channels": configuration.get("out_channels", 3) not in (3, 6),
        "time_embedding_type": configuration.get("time_embedding_type", "positional") != "positional",
        "class_embed_type": configuration.get("class_embed_type") is not None,
        "num_class_embeds": configuration.get("num_class_embeds") is not None,
        "mid_block_type": configuration.get("mid_block_type", "UNetMidBlock2D") is None,
    }
    for setting, wrong in unsupported.items():
        if wrong:
            raise GraftError(
                f"folder: {name!r} has {setting} {configuration.get(setting)!r}; only unconditional RGB models of discrete timesteps work here"
            )
    for setting, known in BLOCKS.items():
        # Old folders write UNetResDownBlock2D.
        given = configuration.get(setting, [])
        if not isinstance(given, list) or not all(isinstance(block, str) for block in given):
            raise GraftError(f"folder: {name!r} has no list of names as its {setting}; put the model's config.json there again")
        unknown = [block for block in given if block.removeprefix("UNetRes") not in known]
        if unknown:
            raise GraftError(f"folder: {name!r} has {unknown[0]} among its {setting}; networks of {', '.join(known)} work here")


def _schedule_of(folder: Path) -> dict:
    """The scheduler's configuration, which lies beside a single network's and beside the folder of a pipeline's."""
    for path in (
        folder / "scheduler_config.json",
        folder / "scheduler" / "scheduler_config.json",
        folder.parent / "scheduler" / "scheduler_config.json",
    ):
        if path.is_file():
            return _json(path)
    logger.warning("Graft: %s has no scheduler_config.json; it is taken for DDPM's own schedule, linear betas from 1e-4 to 2e-2", folder)
    return {}


def _sampling_settings(name: str, schedule: dict) -> dict:
    betas, timesteps = schedule.get("beta_schedule", "linear"), schedule.get("num_train_timesteps", TIMESTEPS)
    if not isinstance(betas, str) or betas not in BETA_SCHEDULES or schedule.get("trained_betas") is not None or timesteps != TIMESTEPS:
        raise GraftError(
            f"folder: {name!r} has {timesteps} timesteps of {'trained' if schedule.get('trained_betas') else betas} betas; "
            f"schedules of {TIMESTEPS} timesteps work here: {', '.join(BETA_SCHEDULES)}"
        )
    start, end = ends = schedule.get("beta_start", 1e-4), schedule.get("beta_end", 2e-2)
    if not all(type(beta) in (int, float) for beta in ends) or not 0 < start <= end < 1:
        raise GraftError(f"folder: {name!r} has betas from {start!r} to {end!r}; they must lie between 0 and 1, and rise")
    return {
        "beta_schedule": BETA_SCHEDULES[betas],
        "linear_start": start,
        "linear_end": end,
        "zsnr": bool(schedule.get("rescale_betas_zero_snr", False)),
    }


def _prediction(name: str, schedule: dict) -> comfy.model_base.ModelType:
    predicts = schedule.get("prediction_type", "epsilon")
    if not isinstance(predicts, str) or predicts not in PREDICTIONS:
        raise GraftError(f"folder: {name!r} predicts {predicts!r}; models that predict {' or '.join(PREDICTIONS)} work here")
    return PREDICTIONS[predicts]


def _json(path: Path) -> dict:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(settings, dict):
            raise ValueError("it holds no settings")
        return settings
    except (OSError, ValueError, RecursionError) as problem:
        raise GraftError(f"folder: {path} cannot be read ({_first_line(problem)}); put the model's whole folder there again") from problem
