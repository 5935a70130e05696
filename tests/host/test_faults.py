"""An error at any call that a node makes comes out as it is, and leaves the model as it was: the next run has the same bits.

Every live node is tried, with every choice that brings other inputs; errors are put in at calls of the network, the VAE, the text
encoder, and where a file is written.
"""

import errno
import itertools
from pathlib import Path

import comfy.model_management
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from every_node import NODES, BlockVAE, carried_out, digest, inputs_of, model_for, ways
from graft.errors import GraftError
from graft.host.engine.plan import RUN_KEY
from PIL import Image
from tiny_models import snapshot

pytestmark = pytest.mark.usefixtures("folders")
ERRORS = {
    "out of memory": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "interrupt": comfy.model_management.InterruptProcessingException,
    "Ctrl-C": KeyboardInterrupt,
    "an exception": lambda: RuntimeError("a kernel failed"),
}
FIRST = {node: options for node, options in reversed(ways())}
TRIED = [
    pytest.param(node, options, id=" ".join([node, *options.values()]), marks=[pytest.mark.full] * (options != FIRST[node]))
    for node, options in ways()
]
"""The first way of each node, and with --full the others."""


class Fuse:
    """Counts the calls that it is shown, and fails at one of them."""

    def __init__(self) -> None:
        self.calls, self.at, self.error = 0, None, None

    def set(self, at: int | None = None, error: BaseException | None = None) -> None:
        self.calls, self.at, self.error = 0, at, error

    def burn(self) -> None:
        self.calls += 1
        if self.calls == self.at:
            raise self.error


class FusedVAE(BlockVAE):
    """A VAE whose every call goes through a fuse."""

    def __init__(self, fuse: Fuse) -> None:
        self.fuse = fuse

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        self.fuse.burn()
        return super().encode(pixels)

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        self.fuse.burn()
        return super().decode(latent)


def fused_model(model, fuse: Fuse):
    """A clone of which every call of the network goes through a fuse."""
    clone = model.clone()

    def through(executor, *args, **kwargs):
        fuse.burn()
        return executor(*args, **kwargs)

    clone.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "test", through)
    return clone


def fused_clip(clip, fuse: Fuse):
    clone = clip.clone()
    encode = clone.encode_from_tokens_scheduled

    def through(*args, **kwargs):
        fuse.burn()
        return encode(*args, **kwargs)

    clone.encode_from_tokens_scheduled = through
    return clone


def calls(pytestconfig, number: int) -> list[int]:
    """At which of so many calls it fails: at all with --full, else at one in the middle and the last."""
    return list(range(1, number + 1)) if pytestconfig.getoption("--full") else sorted({number // 2 + 1, number})


@pytest.mark.parametrize(("node_id", "options"), TRIED)
def test_an_error_at_any_call_comes_out_and_leaves_nothing(sd1, miniature_clip, pytestconfig, monkeypatch, folders, gave, node_id, options):
    schema = NODES[node_id].define_schema()
    fuses = {kind: Fuse() for kind in ("network", "VAE", "text encoder")}
    model = fused_model(model_for(node_id, sd1), fuses["network"])
    clip = fused_clip(miniature_clip, fuses["text encoder"])
    changes = {input.id: FusedVAE(fuses["VAE"]) for input in schema.inputs if input.get_io_type() == "VAE"}
    before, given = snapshot(model), inputs_of(node_id, options, model, clip, **changes)
    for fuse in fuses.values():
        fuse.set()
    here = files(folders)
    whole = digest(carried_out(NODES[node_id], given, model))
    writes = files(folders) != here
    made = {kind: fuse.calls for kind, fuse in fuses.items()}
    every_kind = pytestconfig.getoption("--full")
    names = itertools.cycle(ERRORS)
    for kind, number in made.items():
        for call in calls(pytestconfig, number) if number else ():
            for name in ERRORS if every_kind else (next(names),):
                error = ERRORS[name]()
                for fuse in fuses.values():
                    fuse.set()
                fuses[kind].set(call, error)
                with pytest.raises(type(error)) as raised:
                    carried_out(NODES[node_id], given, model)
                clean = raised.value is error and snapshot(model) == before and RUN_KEY not in model.model_options["transformer_options"]
                gave("Faults", schema.display_name, f"{name}, {kind}", f"{options} {call}", "as before" if clean else "left behind")
                assert clean, (kind, call, name)
    for fuse in fuses.values():
        fuse.set()
    assert writes or node_id != "GraftSaveTrajectory"
    if writes:
        here = files(folders)
        with monkeypatch.context() as full:
            full.setattr(Image.Image, "save", full_disk)
            full.setattr("graft.inversion.trajectory.save_file", full_disk)
            with pytest.raises((OSError, GraftError), match="No space left") as raised:
                carried_out(NODES[node_id], given, model)
        clean = snapshot(model) == before and files(folders) == here
        outcome = "as before" if raised.type is OSError else "ends"
        gave("Faults", schema.display_name, "full disk", str(options), outcome if clean else "left behind")
        assert clean
    assert digest(carried_out(NODES[node_id], given, model)) == whole


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}
