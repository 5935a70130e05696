"""Writes a checkpoint of full size with random weights: the shapes of Stable Diffusion, or of an adapter to it, none of its knowledge.

    python tools random_checkpoint --comfyui PATH --kind sd15 FILE

For running workflows at full size where no checkpoint may be downloaded. The file has the original single-file layout in float16
(sd15: 2.0 GiB, sd21: 2.4 GiB, sdxl: 6.5 GiB, t2i_adapter: 0.1 GiB), so ComfyUI's own loader reads it. The same kind and seed make the same file.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from hosting.pack import load_host
from hosting.quickstart_error import QuickstartError, reporting

if TYPE_CHECKING:
    import torch

UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 320,
    "use_spatial_transformer": True,
    "use_temporal_attention": False,
    "legacy": False,
}
FOUR_LEVELS = {
    "channel_mult": [1, 2, 4, 4],
    "num_res_blocks": [2, 2, 2, 2],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_output": [1] * 9 + [0] * 3,
    "transformer_depth_middle": 1,
    "adm_in_channels": None,
}
THREE_LEVELS = {
    "channel_mult": [1, 2, 4],
    "num_res_blocks": [2, 2, 2],
    "transformer_depth": [0, 0, 2, 2, 10, 10],
    "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10],
    "transformer_depth_middle": 10,
    "num_classes": "sequential",
    "adm_in_channels": 2816,
}
# ComfyUI keeps these numbers inside a function (comfy.sd.VAE), as the defaults of every Stable Diffusion.
VAE = {"double_z": True, "z_channels": 4, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": 128, "ch_mult": [1, 2, 4, 4]}
VAE |= {"num_res_blocks": 2, "attn_resolutions": [], "dropout": 0.0}


@dataclass(frozen=True)
class Kind:
    """A family of checkpoints. `config` is the name of its class in comfy.supported_models, `unet` the arguments of ComfyUI's UNetModel."""

    config: str
    unet: dict[str, Any]


KINDS = {
    "sd15": Kind("SD15", {**UNET, **FOUR_LEVELS, "context_dim": 768, "use_linear_in_transformer": False}),
    # ComfyUI tells v-prediction by the spread of one bias; the one drawn here (`random_values`) says v-prediction, as SD2.1 is.
    "sd21": Kind("SD20", {**UNET, **FOUR_LEVELS, "context_dim": 1024, "use_linear_in_transformer": True}),
    "sdxl": Kind("SDXL", {**UNET, **THREE_LEVELS, "context_dim": 2048, "use_linear_in_transformer": True}),
}

ADAPTER = "t2i_adapter"
"""The kind of file that holds a T2I-Adapter for SD1.x, for one channel of sketch."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comfyui", type=Path, required=True)
    parser.add_argument("--kind", choices=[*sorted(KINDS), ADAPTER], default="sd15")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("file", type=Path, metavar="FILE")
    options = parser.parse_args()
    load_host(options.comfyui, cpu=True)
    write(options.file, options.kind, options.seed)
    print(f"{options.file}: {options.file.stat().st_size / 2**20:.0f} MiB")


def write(file: Path, kind: str, seed: int = 0) -> None:
    """Write a random checkpoint of a kind of `KINDS`, or the `ADAPTER`. ComfyUI must be loaded. QuickstartError if the file cannot be written.

    One tensor is in memory at a time, and `file` appears when it is complete.
    """
    import torch

    state = layout(kind)
    generator = torch.Generator().manual_seed(seed)
    unfinished = file.with_name(file.name + ".part")
    try:
        with unfinished.open("wb") as sink:
            _write_header(sink, state, note=f"random weights in the shapes of {kind}, seed {seed}")
            for name, tensor in state.items():
                # What has values already is a constant of the family.
                values = random_values(name, tensor.shape, generator).to(tensor.dtype) if tensor.is_meta else tensor
                sink.write(values.contiguous().numpy().tobytes())
        os.replace(unfinished, file)
    except OSError as error:
        size = sum(map(_bytes, state.values())) / 1e9
        raise QuickstartError(f"Could not write {file}, which takes {size:.1f} GB: {error}") from error
    finally:
        unfinished.unlink(missing_ok=True)


def layout(kind: str) -> dict[str, torch.Tensor]:
    """Names, shapes and types of a checkpoint's tensors in the order of the file; weights are on the meta device, without values.

    ComfyUI's own classes make the shapes, its Save Checkpoint the names.
    """
    import comfy.supported_models
    import torch
    from comfy.ldm.models.autoencoder import AutoencoderKL
    from comfy.t2i_adapter.adapter import Adapter

    if kind == ADAPTER:
        with torch.device("meta"):
            return Adapter(cin=64, nums_rb=2, ksize=1, sk=True, use_conv=False, xl=False).half().state_dict()
    config = getattr(comfy.supported_models, KINDS[kind].config)(KINDS[kind].unet)
    config.set_inference_dtype(torch.float16, None)
    model = config.get_model({}, device="meta")
    text_encoder = config.clip_target().clip(device="meta", dtype=torch.float16)
    with torch.device("meta"):
        autoencoder = AutoencoderKL(ddconfig=VAE, embed_dim=VAE["z_channels"]).half()
    state = model.state_dict_for_saving(model.diffusion_model.state_dict(), text_encoder.state_dict(), autoencoder.state_dict())
    # Wide types first, so that every tensor starts where its type may start.
    return dict(sorted(state.items(), key=lambda item: (-item[1].element_size(), item[0])))


def random_values(name: str, shape: torch.Size, generator: torch.Generator) -> torch.Tensor:
    """float32 weights that keep the size of what passes, so that pictures stay finite and attention maps neither flat nor one-hot.

    Matrices and kernels have standard deviation fan-in^-1/2, gains lie around 1, biases around 0.
    """
    import torch

    values = torch.randn(shape, generator=generator)
    if len(shape) > 1:
        return values * shape[1:].numel() ** -0.5
    return values * 0.1 + (1.0 if name.endswith("weight") else 0.0)


TYPE_NAMES = {"torch.float16": "F16", "torch.float32": "F32", "torch.int64": "I64"}


def _write_header(sink: BinaryIO, state: dict[str, torch.Tensor], note: str) -> None:
    """The head of a safetensors file. The library's own writer wants all tensors at once, and makes a copy of each."""
    header, offset = {"__metadata__": {"note": note}}, 0
    for name, tensor in state.items():
        end = offset + _bytes(tensor)
        header[name] = {"dtype": TYPE_NAMES[str(tensor.dtype)], "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8 bytes
    sink.write(len(text).to_bytes(8, "little") + text)


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


if __name__ == "__main__":
    sys.exit(reporting(main))
