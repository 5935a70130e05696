"""The text encoder, trained alone as CLIP is, before any picture is painted: both models read the same states of its tokens.

What it has to know is what was said up to a token: the style, each thing with its colour, ground and light. So the end of a prompt, and the
padding after it, tell all of it, and a thing's word tells which colour is its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from comfy.clip_model import CLIPEncoder
from comfy.ops import disable_weight_init
from graft.host.models.miniature import tokenizer
from graft.miniature.network import SHAPES, Shapes
from graft.miniature.scenes.prompts import EMPTY, PLACE, TIME, prompt_of, sample_wording
from graft.miniature.scenes.sampling import sample_scene
from graft.miniature.scenes.scene import COLOURED, COLOURS, GROUNDS, KINDS, LIGHTS, STYLES, Scene
from torch import Tensor, nn
from torch.nn import functional

from .trainer import Machine, Trainer, averages_of, initialise, load_part, save_part

FACTS = {"style": STYLES, "kind 1": KINDS, "colour 1": COLOURS, "kind 2": KINDS, "colour 2": COLOURS, "ground": GROUNDS, "light": LIGHTS}
NAMED = {"this kind": KINDS, "this colour": COLOURS}
"""Of the thing that was named last."""
HEADS = FACTS | NAMED


class Tokens:
    """Prompts as CLIP token rows, and their words numbered densely: only words of the world get an embedding."""

    def __init__(self) -> None:
        self.tokenizer, self.words = tokenizer(), {}
        frame = {self.tokenizer.start_token, self.tokenizer.end_token}
        self.known = torch.tensor(
            sorted(frame | {token for text in _vocabulary() for word in text.split() for token in self._of_word(word)})
        )
        self.position = {int(token): index for index, token in enumerate(self.known)}
        self.start, self.end = self.position[self.tokenizer.start_token], self.position[self.tokenizer.end_token]

    def _of_word(self, word: str) -> list[int]:
        """CLIP's tokens never reach over a space, so a word has the same ones in every prompt."""
        if word not in self.words:
            (chunk,) = self.tokenizer.tokenize_with_weights(word)
            self.words[word] = [int(token) for token, _ in chunk if token not in (self.tokenizer.start_token, self.tokenizer.end_token)]
        return self.words[word]

    def __call__(self, prompts: list[str]) -> Tensor:
        """(B, tokens) positions in `known`."""
        rows = torch.full((len(prompts), self.tokenizer.max_length), self.end)
        for row, prompt in zip(rows, prompts, strict=True):
            said = [self.start, *(self.position[token] for word in prompt.split() for token in self._of_word(word))]
            row[: len(said)] = torch.tensor(said)
        return rows

    def ends(self, prompt: str) -> list[int]:
        """How many characters of the prompt, spaces not counted, were read after each token."""
        lengths = [0, *(len(self._letters(token)) for word in prompt.split() for token in self._of_word(word))]
        read = np.cumsum(lengths).tolist()
        return read + read[-1:] * (self.tokenizer.max_length - len(read))

    def _letters(self, token: int) -> str:
        return self.tokenizer.inv_vocab[token].removesuffix("</w>")


def _vocabulary() -> Iterator[str]:
    yield from (*STYLES, *KINDS, *COLOURS, *PLACE.values(), *EMPTY.values(), *TIME.values(), "a an of and an empty place")


class TextEncoder(nn.Module):
    """ComfyUI's CLIP layers with a small embedding table, run without its in-place sums, which autograd refuses. The parameters' names
    are those of ComfyUI's CLIPTextModel."""

    def __init__(self, words: int, shapes: Shapes = SHAPES) -> None:
        super().__init__()
        sizes = shapes.text
        width = sizes["hidden_size"]
        layers = (sizes["num_hidden_layers"], width, sizes["num_attention_heads"], sizes["intermediate_size"], sizes["hidden_act"])
        self.text_model = nn.Module()
        self.text_model.embeddings = nn.Module()
        self.text_model.embeddings.token_embedding = nn.Embedding(words, width)
        self.text_model.embeddings.position_embedding = nn.Embedding(sizes["max_position_embeddings"], width)
        self.text_model.encoder = initialise(CLIPEncoder(*layers, torch.float32, "cpu", disable_weight_init))
        self.text_model.final_layer_norm = nn.LayerNorm(width)
        nn.init.normal_(self.text_model.embeddings.token_embedding.weight, std=0.5)
        nn.init.normal_(self.text_model.embeddings.position_embedding.weight, std=0.1)

    def forward(self, rows: Tensor) -> Tensor:
        """(B, tokens) -> states (B, tokens, width)."""
        parts = self.text_model
        x = parts.embeddings.token_embedding(rows) + parts.embeddings.position_embedding.weight
        mask = torch.full((rows.shape[1],) * 2, float("-inf"), dtype=x.dtype, device=x.device).triu_(1)
        for layer in parts.encoder.layers:
            x = x + layer.self_attn(layer.layer_norm1(x), mask, plain_attention)
            x = x + layer.mlp(layer.layer_norm2(x))
        return parts.final_layer_norm(x)


def plain_attention(q, k, v, heads, mask=None, **_):
    """Softmax attention in the operands' own precision: on CPUs its backward pass is several times faster than the
    fused kernel's at these sizes. (B, N, H*D) each."""
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
    scores = q @ (k * k.shape[-1] ** -0.5).transpose(-1, -2)
    return ((scores if mask is None else scores + mask).softmax(-1) @ v).transpose(1, 2).flatten(-2)


@dataclass(frozen=True)
class Encoded:
    """What models read of prompts: states (B, tokens, width), and those of the end tokens (B, width), CLIP's pooled output."""

    states: Tensor
    pooled: Tensor


@torch.no_grad()
def encode_prompts(tokens: Tokens, encoder: TextEncoder, prompts: list[str], machine: Machine) -> Encoded:
    rows = tokens(prompts)
    states = encoder(rows.to(machine.device))
    return Encoded(states, states[torch.arange(len(rows)), (rows == tokens.end).int().argmax(dim=1)])


def train(work: Path, machine: Machine, steps: int = 2000, size: int = 64, rate: float = 1.5e-3, shapes: Shapes = SHAPES) -> None:
    """Cross entropy of every fact at every token, "not said" among the answers."""
    torch.manual_seed(2)
    tokens = Tokens()
    encoder = TextEncoder(len(tokens.known), shapes)
    heads = nn.Linear(shapes.text["hidden_size"], sum(len(values) + 1 for values in HEADS.values()))
    model = machine.place(nn.ModuleDict({"encoder": encoder, "heads": heads}))
    trainer = Trainer(
        model,
        machine=machine,
        rate=rate,
        steps=steps,
        average=0.99,
        checkpoint=work / "text_encoder.pt",
        start=work / "model" / "text_encoder.safetensors",
        within="encoder.",
    )
    while trainer.unfinished:
        rng = np.random.default_rng([31, trainer.step])
        rows, facts = examples(tokens, rng, size)
        logits = heads(encoder(rows.to(machine.device))).float()
        targets = facts.to(machine.device)
        losses = [functional.cross_entropy(part.flatten(0, 1), targets[..., i].flatten()) for i, part in enumerate(_split(logits))]
        trainer.update(torch.stack(losses).sum())
        if trainer.step % 250 == 0 or not trainer.unfinished:
            with trainer.averaged(), torch.no_grad():
                rows, facts = examples(tokens, np.random.default_rng(2**41 - 1), 512)
                answers = torch.stack([part.argmax(dim=-1) for part in _split(heads(encoder(rows.to(machine.device))))], dim=-1).cpu()
                trainer.note(**{f"{name} right": 100 * (answers == facts)[..., i].float().mean().item() for i, name in enumerate(HEADS)})


def _split(logits: Tensor) -> tuple[Tensor, ...]:
    return logits.split([len(values) + 1 for values in HEADS.values()], dim=-1)


def examples(tokens: Tokens, rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
    """Rows (B, tokens), and the number of each of `HEADS` known at each token (B, tokens, heads), 0 for what was not said."""
    prompts, facts = [], []
    for _ in range(count):
        scene = sample_scene(rng)
        prompts.append("" if rng.random() < 0.05 else prompt_of(scene, sample_wording(rng)))
        facts.append(_facts(prompts[-1], scene, tokens.ends(prompts[-1])))
    return tokens(prompts), torch.tensor(facts)


def _facts(prompt: str, scene: Scene, ends: list[int]) -> list[list[int]]:
    known, said = dict.fromkeys(HEADS, 0), list(_said(prompt, scene))
    rows = []
    for end in ends:
        while said and said[0][0] <= end:
            _, name, number = said.pop(0)
            known[name] = number
            if name.startswith("colour"):
                known |= {"this colour": number, "this kind": 0}
            elif name.startswith("kind"):
                known |= {"this colour": known[f"colour {name[-1]}"], "this kind": number}
        rows.append([known[name] for name in HEADS])
    return rows


def _said(prompt: str, scene: Scene) -> Iterator[tuple[int, str, int]]:
    """(how many characters have been read, spaces not counted; fact; number of its value, from 1), in the order of the prompt."""
    text, at = prompt.replace(" ", ""), 0
    things = sorted(scene.things, key=lambda thing: thing.x)
    phrases = [("style", scene.style, STYLES.index(scene.style))]
    for number, thing in enumerate(things, start=1):
        phrases += [(f"colour {number}", thing.colour, COLOURS.index(thing.colour))] if thing.kind in COLOURED else []
        phrases.append((f"kind {number}", thing.kind, KINDS.index(thing.kind)))
    phrases.append(("ground", (PLACE if things else EMPTY)[scene.ground], GROUNDS.index(scene.ground)))
    phrases.append(("light", TIME[scene.light], LIGHTS.index(scene.light)))
    for name, phrase, number in phrases:
        words = phrase.replace(" ", "")
        start = text.find(words, at)
        if start >= 0:
            at = start + len(words)
            yield at, name, number + 1


def export(work: Path) -> None:
    averages, step = averages_of(work / "text_encoder.pt")
    tensors = {name.removeprefix("encoder."): value for name, value in averages.items() if name.startswith("encoder.")}
    save_part(work / "model" / "text_encoder.safetensors", tensors | {"known": Tokens().known}, step)


def load_text_encoder(work: Path, machine: Machine, shapes: Shapes = SHAPES) -> tuple[Tokens, TextEncoder]:
    tensors, _ = load_part(work / "model" / "text_encoder.safetensors")
    tokens, known = Tokens(), tensors.pop("known")
    if not torch.equal(known.long(), tokens.known):
        raise SystemExit("the text encoder was trained on other words than the world has now: train and export it again")
    encoder = TextEncoder(len(known), shapes)
    encoder.load_state_dict(tensors)
    return tokens, machine.place(encoder).eval()
