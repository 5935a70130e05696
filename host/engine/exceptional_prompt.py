"""TF-ICON's exceptional prompt (Lu et al. 2023): one token at every position, and no positions."""

from __future__ import annotations

import comfy.ops
import torch
from comfy.clip_model import CLIPTextModel
from comfy.sd1_clip import SDClipModel
from torch import Tensor

from ..errors import GraftError

TOKEN = 7788
"""The token of the authors' code, the piece "rian" of CLIP's vocabulary; what it means plays no part."""


def encode_exceptional_prompt(clip) -> list:
    """A CONDITIONING whose token vectors are all the same, of ComfyUI's CLIP for SD1.x, SD2.x or SDXL. It has no words.

    No token is special, neither start nor end nor padding, and the text model sees no positions: its states are equal, and
    attention to them is one constant, whatever asks. The paper does this on SD2.x; on the encoders of SD1.x and SDXL it is
    the same by analogy, with the layer that the host takes from each, and the pooled output the host makes of these tokens.

    All of the model's tokens are given although one would say the same: the host runs conditionings in one call only if their
    lengths are near (`comfy.conds.CONDCrossAttn`), and one token beside the 77 of a usual prompt would cost a call of its own.

    Raises `GraftError` for a clip with another kind of text encoder.
    """
    if clip is None:
        raise GraftError("clip: the checkpoint has no text encoder; load one with CLIPLoader")
    encoders = {name: _text_model(clip, name) for name in clip.tokenize("")}
    clip.load_model()  # brings patches of the weights into effect, as encoding does
    tokens = {name: [[(vector, 1.0) for vector in _vectors(model, clip.patcher.load_device)]] for name, model in encoders.items()}
    conditioning = clip.encode_from_tokens_scheduled(tokens)
    # The first state stands for all: the others differ from it by rounding.
    return [[states[:, :1].repeat(1, states.shape[1], 1), options] for states, options in conditioning]


def _text_model(clip, name: str) -> CLIPTextModel:
    encoder = getattr(clip.cond_stage_model, f"clip_{name}", None)
    if not isinstance(encoder, SDClipModel) or not isinstance(encoder.transformer, CLIPTextModel):
        raise GraftError(
            f"clip: its text encoder '{name}' is not a CLIP, and the exceptional prompt exists for CLIP only; use the text encoder of an "
            "SD1.x, SD2.x or SDXL checkpoint"
        )
    return encoder.transformer


def _vectors(model: CLIPTextModel, device: torch.device) -> Tensor:
    """(positions, C): the token without each position's embedding, which the host goes on to add to whatever it is given.

    Both are read as the host reads them (`SDClipModel.process_tokens`, `CLIPTextModel_.forward`).
    """
    token = model.get_input_embeddings()(torch.tensor([TOKEN], device=device), out_dtype=torch.float32)
    positions = comfy.ops.cast_to(model.text_model.embeddings.position_embedding.weight, dtype=torch.float32, device=device)
    return token - positions
