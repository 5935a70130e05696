"""A prompt as it was queued, before anything of it runs: what its constants say, and where its links lead."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeVar

from comfy.sd1_clip import SD1Tokenizer
from PIL import Image

from ...attention.words import Prompt
from ..errors import GraftError
from ..families.attention import Hook
from .prompts import read_prompt
from .run import TURNS

Constant = TypeVar("Constant", str, Real)

CARRIES_A_MODEL = frozenset({"MODEL", "GUIDER"})
HANDS_ON_ITS_MASK = frozenset({"GrowMask", "FeatherMask", "ThresholdMask", "ResizeImageMaskNode", "CropMask"})
"""Nodes of the host's that make nothing of an empty mask."""


@dataclass(frozen=True)
class QueuedNode:
    """A node of a queued prompt, which is the host's: class and inputs by node id, a link being [node id, output]."""

    prompt: Mapping[str, Mapping[str, Any]]
    id: str

    @property
    def kind(self) -> str:
        return self.prompt[self.id].get("class_type", "")

    @property
    def node_class(self) -> type | None:
        import nodes

        return nodes.NODE_CLASS_MAPPINGS.get(self.kind)

    @property
    def title(self) -> str:
        return self.prompt[self.id].get("_meta", {}).get("title") or self.kind

    @property
    def inputs(self) -> Mapping[str, Any]:
        return self.prompt[self.id].get("inputs", {})

    def source(self, name: str) -> tuple[QueuedNode, int] | None:
        """The node and the output that an input is linked to; None if it is not."""
        given = self.inputs.get(name)
        if not (isinstance(given, list) and len(given) == 2 and isinstance(given[0], str) and given[0] in self.prompt):
            return None
        return QueuedNode(self.prompt, given[0]), given[1]

    def sources(self) -> list[QueuedNode]:
        """The nodes that it reads from."""
        return [source[0] for source in map(self.source, self.inputs) if source is not None]

    def value(self, name: str, kind: type[Constant]) -> Constant | None:
        """The constant of an input, also where a node brings it that does nothing else; None if only a run can tell, or if it is of
        another kind."""
        source = self.source(name)
        if source is None:
            given = self.inputs.get(name)
            return given if isinstance(given, kind) else None
        node, _ = source
        return node.value("value", kind) if node.kind.startswith("Primitive") else None

    def readers(self) -> Iterator[tuple[QueuedNode, str]]:
        """The nodes that read an output of this one, and the type of that."""
        for number in self.prompt:
            reader = QueuedNode(self.prompt, number)
            for name in reader.inputs:
                source = reader.source(name)
                if source is not None and source[0].id == self.id:
                    yield reader, self._type(source[1])

    def _type(self, output: int) -> str:
        types = getattr(self.node_class, "RETURN_TYPES", ())
        return str(types[output]) if output < len(types) else "*"

    def words_of(self, name: str) -> Prompt | None:
        """The words of the prompt that comes in through `name`; None if only a run can tell."""
        source = self.source(name)
        text = source[0].value("text", str) if source is not None and source[0].kind == "GraftEncodePrompt" else None
        if text is None:
            return None
        try:
            return read_prompt(_AnyClip(), text)
        except GraftError:
            return None  # another tokenizer may read it

    def samplings(self) -> Iterator[tuple[QueuedNode, QueuedNode | None]]:
        """The nodes that sample the model which this one makes, each with the node that brings their positive prompt to it."""
        seen = {self.id}

        def beyond(node: QueuedNode, positive: QueuedNode | None) -> Iterator[tuple[QueuedNode, QueuedNode | None]]:
            for reader, kind in node.readers():
                if kind not in CARRIES_A_MODEL or reader.id in seen:
                    continue
                seen.add(reader.id)
                told = reader if "positive" in reader.inputs else positive
                if "sampler" in reader.inputs or "sampler_name" in reader.inputs:
                    yield reader, told
                else:
                    yield from beyond(reader, told)

        return beyond(self, None)

    def new_words(self) -> list[Prompt]:
        """The words of the prompts under which the model that this node makes is sampled, as far as they can be told."""
        told = (positive.words_of("positive") for _, positive in self.samplings() if positive is not None)
        return [words for words in told if words is not None]

    def require_words(self, name: str, prompts: list[Prompt | None]) -> None:
        """Raises `GraftError` for a word in the input `name` that one of the prompts has not."""
        names = self.value(name, str)
        for prompt in prompts:
            if prompt is not None and names is not None:
                prompt.find(names, name)

    def require_turn(self, hook: Hook) -> None:
        """Raises `GraftError`, about the node that samples, where the model which this one makes meets a sampler of the host's that does not
        serve `hook`."""
        for sampling, _ in self.samplings():
            source = sampling.source("sampler")
            sampler = sampling if source is None else source[0]
            if hook not in sampler.serves():
                error = GraftError(f"sampler: {self.title} {TURNS[hook]}")
                error.about = sampling.id
                raise error

    def serves(self) -> frozenset[Hook]:
        """What a node that brings a sampler serves: what it says; nothing if it is the host's; of another pack nobody knows, so everything."""
        module = getattr(self.node_class, "RELATIVE_PYTHON_MODULE", "nodes")
        unknown = frozenset() if module == "nodes" or module.startswith("comfy_extras") else frozenset(TURNS)
        return getattr(self.node_class, "SERVES", unknown)

    def empty_mask(self, name: str) -> tuple[int, int] | None:
        """(width, height) of the mask that comes in through `name` if it is that of a picture on which nothing is painted; else None."""
        source = self.source(name)
        while source is not None and source[0].kind in HANDS_ON_ITS_MASK:
            node, _ = source
            source = node.source("mask") or node.source("input")
        if source is None or source[0].kind != "LoadImage" or source[1] != 1:
            return None
        return _unpainted(source[0].value("image", str))


class _AnyClip:
    """The tokenizer that the text encoders of SD1.x, SD2.x and SDXL share, without one of them."""

    @property
    def tokenizer(self) -> SD1Tokenizer:
        return _tokenizer()

    def tokenize(self, text: str, return_word_ids: bool = False) -> dict:
        return self.tokenizer.tokenize_with_weights(text, return_word_ids)


@functools.cache
def _tokenizer() -> SD1Tokenizer:
    import folder_paths

    return SD1Tokenizer(embedding_directory=folder_paths.get_folder_paths("embeddings"))


LOADED_WITHOUT_ALPHA = 64, 64
"""The size of the mask that Load Image gives of a picture without transparency."""


def _unpainted(file: str | None) -> tuple[int, int] | None:
    """The size of what Load Image makes of a file's transparency if nothing is painted there, else None."""
    import folder_paths

    try:
        with Image.open(folder_paths.get_annotated_filepath(file)) as picture:
            if getattr(picture, "n_frames", 1) > 1:
                return None
            if "A" not in picture.getbands() and "transparency" not in picture.info:
                return LOADED_WITHOUT_ALPHA
            lowest, _ = picture.convert("RGBA").getchannel("A").getextrema()
            return picture.size if lowest == 255 else None
    except (OSError, ValueError, TypeError, AttributeError):
        return None  # Load Image says itself what is wrong with it
