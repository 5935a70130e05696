"""The faces' judge: a small network that reads all attributes of a face back from its picture."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from .faces import ATTRIBUTES

WEIGHTS = Path(__file__).resolve().parent / "face_judge.safetensors"
FEATURES = 128


def _halving(inputs: int, outputs: int) -> nn.Sequential:
    layers = []
    for channels, stride in ((inputs, 2), (outputs, 1)):
        layers += [nn.Conv2d(channels, outputs, 3, stride, padding=1), nn.GroupNorm(8, outputs), nn.SiLU()]
    return nn.Sequential(*layers)


class FaceJudge(nn.Module):
    """Convolutions down to 4 x 4 cells, whose places it keeps apart. (B, 3, 64, 64) in [0, 1] -> logits (B, values) by attribute."""

    def __init__(self, widths: tuple[int, ...] = (24, 48, 64, 96)) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(*(_halving(i, o) for i, o in zip((3, *widths[:-1]), widths, strict=True)))
        self.summary = nn.Sequential(nn.Linear(16 * widths[-1], FEATURES), nn.SiLU())
        self.heads = nn.Linear(FEATURES, sum(map(len, ATTRIBUTES.values())))

    def features(self, pictures: Tensor) -> Tensor:
        """(B, 3, 64, 64) in [0, 1] -> (B, 128): what the heads read, in which distributions of pictures can be compared."""
        return self.summary(self.convolutions(2 * pictures - 1).flatten(1))

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        logits = self.heads(self.features(pictures)).split([len(values) for values in ATTRIBUTES.values()], dim=1)
        return dict(zip(ATTRIBUTES, logits, strict=True))

    @torch.no_grad()
    def verdicts(self, pictures: Tensor) -> dict[str, Tensor]:
        """(B, 64, 64, 3) in [0, 1] -> by attribute the numbers (B,) of the values seen, as `ATTRIBUTES` lists them."""
        return {name: logits.argmax(dim=1) for name, logits in self(pictures.permute(0, 3, 1, 2).float().contiguous()).items()}


def load_face_judge() -> FaceJudge:
    """The trained judge, float32."""
    judge = FaceJudge().eval()
    judge.load_state_dict({name: tensor.float() for name, tensor in load_file(WEIGHTS).items()})
    return judge
