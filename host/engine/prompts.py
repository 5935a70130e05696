"""Prompts encoded with their words: which tokens of the host's own tokenisation a word is made of."""

from __future__ import annotations

import hashlib
import numbers
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from comfy.sd1_clip import SDTokenizer, escape_important, token_weights, unescape_important

from ...attention.words import LARGEST_WEIGHT, Kind, Prompt, Word, around_core
from ..errors import GraftError
from .requirements import require_finite

PROMPTS_KEY = "graft_prompts"
"""In the options of a CONDITIONING: a tuple of one `Prompt` per batch row."""

Tokens = tuple[int | str, ...]


def encode_prompt(clip, text: str) -> list:
    """A CONDITIONING as CLIPTextEncode makes it, with the prompt's words. Raises `GraftError` as `read_prompt`."""
    prompt = read_prompt(clip, text)
    conditioning = clip.encode_from_tokens_scheduled(clip.tokenize(text))
    for states, options in conditioning:
        require_finite("clip", states, "what it makes of the text")
        if states.shape[1] != prompt.length:
            raise GraftError(
                f"clip: it encodes the {prompt.length} tokens of the prompt to {states.shape[1]} states, so words cannot be told apart; "
                "use the text encoder of an SD1.x, SD2.x or SDXL checkpoint"
            )
        options[PROMPTS_KEY] = (prompt,) * len(states)
    return conditioning


def prompts_of(states_length: int, options: dict, input_name: str) -> tuple[Prompt, ...]:
    """The prompts, one per row, of a CONDITIONING's entry with these `options` and `states_length` tokens.

    Raises `GraftError`, naming the input the entry came through, if it has none or was concatenated with another.
    """
    prompts = options.get(PROMPTS_KEY)
    if prompts is None:
        raise GraftError(f"{input_name}: it does not say which words it was made of; encode it with Graft's Encode Prompt")
    for prompt in prompts:
        if prompt.length != states_length:
            raise GraftError(
                f"{input_name}: it has {states_length} tokens, the prompt it was encoded from {prompt.length}, so it was joined with another; "
                "write all of it into one text and encode it with Graft's Encode Prompt"
            )
    return prompts


def read_prompt(clip, text: str) -> Prompt:
    """The tokens and words of a text as `clip` (ComfyUI's CLIP, of SD1.x, SD2.x or SDXL) tokenises it.

    Raises `GraftError` if `clip` has another kind of tokenizer, if its encoders disagree about the text, or if a word's
    tokens cannot be told from its neighbours'.
    """
    if clip is None:
        raise GraftError("clip: the checkpoint has no text encoder; load one with CLIPLoader")
    for segment, weight in token_weights(escape_important(text), 1.0):
        if not abs(weight) <= LARGEST_WEIGHT:
            raise GraftError(
                f"text: the weight of {unescape_important(segment).strip()!r} is {weight:g}; it must lie from {-LARGEST_WEIGHT:g} to {LARGEST_WEIGHT:g}"
            )
    chunks = clip.tokenize(text, return_word_ids=True)
    tokenizers = {encoder: _tokenizer(clip, encoder) for encoder in chunks}
    sequences = [_sequence(tokenizer, chunks[encoder]) for encoder, tokenizer in tokenizers.items()]
    if len({_comparable(*sequence) for sequence in sequences}) > 1:
        raise GraftError(
            f"text: the text encoders {', '.join(tokenizers)} of this clip split it into different tokens; use the text encoders of an "
            "SDXL checkpoint, and embeddings made for SDXL"
        )
    tokens, kinds = sequences[0]
    words = _words(next(iter(tokenizers.values())), text, tokens, kinds)
    of_encoders = zip(*(tokens for tokens, _ in sequences), strict=True)
    return Prompt(tuple(a if isinstance(a, int) else " ".join((a, *others)) for a, *others in of_encoders), kinds, words)


def _comparable(tokens: Tokens, kinds: tuple[Kind, ...]) -> tuple:
    """What all encoders must agree on, because the host puts their states side by side, position by position: everything but
    the token they pad with and an embedding's values."""
    return kinds, tuple(token if isinstance(token, int) else "vector" for token, kind in zip(tokens, kinds, strict=True) if kind == "text")


def _tokenizer(clip, encoder: str) -> SDTokenizer:
    tokenizer = getattr(clip.tokenizer, f"clip_{encoder}", None)
    if not isinstance(tokenizer, SDTokenizer) or tokenizer.start_token is None or tokenizer.end_token is None:
        raise GraftError(
            f"clip: its text encoder '{encoder}' is not a CLIP; words can be found in prompts for SD1.x, SD2.x and SDXL checkpoints"
        )
    return tokenizer


def _sequence(tokenizer: SDTokenizer, chunks: list) -> tuple[Tokens, tuple[Kind, ...]]:
    """The tokens of all chunks and their kinds. The host numbers what comes from the text and gives the rest the number 0."""
    tokens: list[int | str] = []
    kinds: list[Kind] = []
    for chunk in chunks:
        end = 1 + max((index for index, (_, _, number) in enumerate(chunk) if number), default=0)
        tokens += (_stand_in(tokenizer, token) for token, _, _ in chunk)
        kinds += ["start", *["text"] * (end - 1), "end", *["padding"] * (len(chunk) - end - 1)]
    return tuple(tokens), tuple(kinds)


def _stand_in(tokenizer: SDTokenizer, token) -> int | str:
    """A token as `Prompt` keeps it: ids as they are, a vector as a digest of its values."""
    if isinstance(token, numbers.Integral):
        return int(token)
    if token.shape[-1] != tokenizer.embedding_size:
        # The host leaves such vectors out while encoding, and every later token moves to the left.
        raise GraftError(
            f"text: an embedding in it has {token.shape[-1]} channels and was made for another text encoder, this one's has "
            f"{tokenizer.embedding_size}; take it out of the prompt"
        )
    return "vector " + hashlib.sha256(token.detach().float().cpu().contiguous().numpy().tobytes()).hexdigest()[:16]


@dataclass(frozen=True)
class _Fragment:
    """What the tokenizer never joins with anything else: `text` with the tokens `before`, `inside` and `after` its core.
    `joined` says that nothing separates it from the fragment before."""

    text: str
    before: Tokens
    inside: Tokens
    after: Tokens
    joined: bool


def _words(tokenizer: SDTokenizer, text: str, tokens: Tokens, kinds: tuple[Kind, ...]) -> tuple[Word, ...]:
    """Walks through the text's tokens fragment by fragment. Punctuation goes to the word it touches."""
    places = [position for position, kind in enumerate(kinds) if kind == "text"]
    words: list[Word] = []  # without positions as long as they are punctuation only
    walked = 0
    for fragment in _fragments(tokenizer, text):
        expected = fragment.before + fragment.inside + fragment.after
        span = tuple(places[walked : walked + len(expected)])
        if tuple(tokens[position] for position in span) != expected:
            raise _lost(fragment.text)
        walked += len(expected)
        positions = span[len(fragment.before) : len(span) - len(fragment.after)] if fragment.inside else ()
        word = Word(fragment.text, positions, span)
        touched = words[-1] if words and fragment.joined else None
        if touched and not word.positions:
            words[-1] = replace(touched, span=touched.span + span)
        elif touched and not touched.positions:
            words[-1] = replace(word, span=touched.span + span)
        else:
            words.append(word)
    if walked != len(places):
        raise _lost(words[-1].text if words else text)
    return tuple(replace(word, positions=word.positions or word.span) for word in words)


def _lost(text: str) -> GraftError:
    return GraftError(f"text: the tokens of '{text}' cannot be told from its neighbours'; take unusual characters out there")


def _fragments(tokenizer: SDTokenizer, text: str) -> Iterator[_Fragment]:
    """The text cut where the host cuts it, at weights and embeddings, and at spaces, which no CLIP token crosses."""
    touching = False
    for escaped, _ in token_weights(escape_important(text), 1.0):
        segment = unescape_important(escaped)
        for part in re.split(rf"(?<=\s)(?={re.escape(tokenizer.embedding_identifier)})", segment):
            if part.startswith(tokenizer.embedding_identifier) and tokenizer.embedding_directory is not None:
                yield from _embedding_fragments(tokenizer, part, touching)
            else:
                yield from _text_fragments(tokenizer, part, touching)
            touching = not part[-1:].isspace() if part else touching


def _embedding_fragments(tokenizer: SDTokenizer, part: str, joined: bool) -> Iterator[_Fragment]:
    """An embedding's vectors and the text after it, by the host's own rule of where its name ends."""
    vectors, name, rest = tokenizer._try_get_embedding(part[len(tokenizer.embedding_identifier) :].strip("\n"))
    if vectors is not None:
        inside = tuple(_stand_in(tokenizer, vector) for vector in vectors.reshape(-1, vectors.shape[-1]))
        yield _Fragment(tokenizer.embedding_identifier + name.strip(","), (), inside, (), joined)
    yield from _text_fragments(tokenizer, rest, joined=vectors is not None)


def _text_fragments(tokenizer: SDTokenizer, part: str, joined: bool) -> Iterator[_Fragment]:
    # Python takes four control characters for spaces, the tokenizer does not.
    for match in re.finditer(r"[\S\x1c-\x1f]+", part):
        yield from _written_fragments(tokenizer, match.group(), joined and match.start() == 0)


def _written_fragments(tokenizer: SDTokenizer, written: str, joined: bool) -> Iterator[_Fragment]:
    """What stands between two spaces: one fragment, or several where commas without a space separate words."""
    pieces = re.split(r"(?<=,)(?=[^\W_])", written)
    whole = _tokenise(tokenizer, written)
    if len(pieces) > 1 and sum((_tokenise(tokenizer, piece) for piece in pieces), ()) == whole:
        for index, piece in enumerate(pieces):
            yield _core_fragment(tokenizer, piece, joined or index > 0)
    else:
        yield _core_fragment(tokenizer, written, joined)


def _core_fragment(tokenizer: SDTokenizer, written: str, joined: bool) -> _Fragment:
    whole = _tokenise(tokenizer, written)
    before, core, after = around_core(written)
    if not core:
        return _Fragment(written, whole, (), (), joined)
    parts = tuple(_tokenise(tokenizer, part) for part in (before, core, after))
    if sum(parts, ()) != whole:
        # CLIP joins some punctuation to letters, as in 's and 're; then it is a part of the word.
        return _Fragment(core, (), whole, (), joined)
    return _Fragment(core, *parts, joined)


def _tokenise(tokenizer: SDTokenizer, written: str) -> Tokens:
    return tuple(tokenizer.tokenizer(written)["input_ids"][tokenizer.tokens_start : -1]) if written else ()
