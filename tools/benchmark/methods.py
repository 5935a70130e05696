"""The methods: as the pack ships each, and as its paper has it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from graft.host.families.layers import is_unet
from torch import Tensor

from . import naive, shipped
from .networks import Subject
from .shipped import Shipped


@dataclass(frozen=True)
class Method:
    """`prepare` makes the trajectories that the pack's edit needs; `procedure` gives the paper's picture, from picture to picture."""

    title: str
    prepare: Callable[[Subject], Shipped]
    procedure: Callable[[Subject], Tensor]
    transformers: bool = False
    """Whether it works on networks that are no UNet."""
    keeps: bool = True
    """Whether a second edit of the same pictures has streams to skip."""

    def serves(self, subject: Subject) -> bool:
        return self.transformers or is_unet(subject.model)


METHODS = {
    "free_prompt_editing": Method("Free-Prompt-Editing", shipped.free_prompt_editing, naive.free_prompt_editing, transformers=True),
    "specref": Method("SpecRef", shipped.specref, naive.specref),
    "tf_icon": Method("TF-ICON", shipped.tf_icon, naive.tf_icon),
    "freecompose": Method("FreeCompose, removal", shipped.freecompose, naive.freecompose, keeps=False),
    "injectfusion": Method("InjectFusion", shipped.injectfusion, naive.injectfusion, keeps=False),
}
