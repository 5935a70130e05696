"""Words and their tokens in the host's own tokenizations, and what corresponds in the prompts of the papers."""

import re
from functools import cache
from types import SimpleNamespace

import comfy.text_encoders.sd2_clip
import pytest
import torch
from comfy.sd1_clip import SD1Tokenizer
from comfy.sdxl_clip import SDXLTokenizer
from graft.attention.alignment import refinement, replacement
from graft.attention.words import WordError
from graft.host.engine.prompts import PROMPTS_KEY, encode_prompt, prompts_of, read_prompt
from graft.host.errors import GraftError
from graft.host.models.miniature import MiniatureTokenizer, load_clip
from graft.miniature.network import TEXT_TOKENS
from graft.nodes.prompts import EncodePrompt
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

TOKENIZERS = {"sd1": SD1Tokenizer, "sd2": comfy.text_encoders.sd2_clip.SD2Tokenizer, "sdxl": SDXLTokenizer}


def clip_of(tokenizer) -> SimpleNamespace:
    """As much of ComfyUI's CLIP as reads a text."""
    return SimpleNamespace(tokenizer=tokenizer, tokenize=tokenizer.tokenize_with_weights)


@cache
def clip(kind: str = "sd1") -> SimpleNamespace:
    return clip_of(TOKENIZERS[kind]())


def read(text: str, kind: str = "sd1"):
    return read_prompt(clip(kind), text)


def vocabulary():
    """The tokenizer of transformers itself."""
    return clip().tokenizer.clip_l.tokenizer


def spelled(prompt, positions) -> str:
    return vocabulary().decode([prompt.tokens[position] for position in positions]).replace(" ", "")


def sources(alignment) -> list[int]:
    """The source position of every target position, -1 where it keeps its own map."""
    return [int(column.argmax()) if mapped else -1 for column, mapped in zip(alignment.matrix.T, alignment.mapped, strict=True)]


# The prompts of SpecRef's cases

BED = ("two dogs standing on a board, lake behind", "two dogs standing on a mattress, in the bedroom")
DRESS = (
    "A person, wearing white dress, sitting on the bench, reading a book",
    "A person, wearing colorful plaid dress, sitting on the bench, reading a book",
)
CAKE = ("A human-like toy is sitting on a cushion", "A human-like toy is sitting on a birthday cake")
VASE = ("a vase of flowers", "a vase of flowers")
ZHI = ("a vase of carnation", "a vase of flowers")
DOG = ("a cat sitting next to a mirror", "a dog sitting next to a mirror")
TIGER = ("a cat sitting next to a mirror", "a tiger sitting next to a mirror")
SHIRT = ("two dogs wearing red clothes", "two dogs wearing blue clothes")


@pytest.mark.parametrize(
    ("text", "indices"),
    [
        (DOG[0], {"cat": 2}),
        (DOG[1], {"dog": 2}),
        (TIGER[1], {"tiger": 2}),
        (SHIRT[0], {"red": 4, "clothes": 5}),
        (SHIRT[1], {"blue": 4}),
        (BED[0], {"board": 6, "lake": 8}),
        (BED[1], {"mattress": 6, "bedroom": 10}),
        (DRESS[0], {"white": 5, "dress": 6}),
        (DRESS[1], {"colorful": 5, "plaid": 6, "dress": 7}),
        (CAKE[0], {"toy": 5, "cushion": 10}),
        (CAKE[1], {"toy": 5, "cake": 11}),
        (VASE[0], {"vase": 2, "flowers": 4}),
        (ZHI[0], {"carnation": 4}),
    ],
)
def test_words_have_the_token_indices_of_the_released_code(text, indices):
    for kind in TOKENIZERS:
        assert {name: read(text, kind).find(name, "words") for name in indices} == {name: (index,) for name, index in indices.items()}


def test_a_part_of_a_hyphenated_word_is_no_word():
    with pytest.raises(WordError, match="substruct_words: the prompt has no 'human'; its words are: A, human-like, toy, is"):
        read(CAKE[0]).find("human, toy", "substruct_words")


@pytest.mark.parametrize(
    ("prompts", "mapper"),
    [
        (BED, [0, 1, 2, 3, 4, 5, -1, 7, -1, -1, -1, 10, *range(12, 77)]),
        (DRESS, [*range(5), -1, -1, *range(6, 17), *range(18, 77)]),
        (CAKE, [*range(10), -1, -1, 11, *range(13, 77)]),
        (VASE, list(range(77))),
        (ZHI, [*range(4), -1, *range(5, 77)]),
    ],
    ids=["dogshirt-bed", "human6-dress", "toy_rabbit-cake", "vase-vase", "vase-zhi"],
)
def test_refinement_has_the_tables_of_the_released_code(prompts, mapper):
    for kind in TOKENIZERS:
        for parity in (False, True):
            assert sources(refinement(*(read(text, kind) for text in prompts), parity)) == mapper


@pytest.mark.parametrize("prompts", [DOG, TIGER, SHIRT], ids=["mirror-dog13", "mirror-tiger", "dogshirt-shirt"])
def test_replacement_in_the_shipped_cases_is_the_identity(prompts):
    for parity in (False, True):
        alignment = replacement(*map(read, prompts), parity)
        assert torch.equal(alignment.matrix, torch.eye(77)) and bool((alignment.mapped == 1).all())


def test_replacement_follows_the_words_after_one_of_more_tokens_and_parity_does_not():
    source, target = read("a cat, on grass"), read("a chinchilla, on grass")
    extra = len(target.find("chinchilla", "words")) - 1
    assert extra > 0
    corrected, parity = replacement(source, target), replacement(source, target, parity=True)
    (old,), (new,) = source.find("grass", "words"), target.find("grass", "words")
    assert sources(corrected)[new] == old and new == old + extra
    assert sources(parity)[new] == new
    # The comma belongs to the word, as in the released code: two tokens become 2 + extra.
    assert corrected.matrix[2:4, 2 : 4 + extra].tolist() == [[pytest.approx(1 / (2 + extra))] * (2 + extra)] * 2


# Words in plain text

LETTERS = ["cat", "Zebra", "human-like", "don't", "chinchilla", "café", "naïve", "straße", "猫", "кошка", "4k", "1920x1080", "it's", "C++"]
MARKS = ["", "", "", ",", ".", "!", '"', "'", "...", "?!"]
written_words = st.builds(
    lambda before, word, after: before + word + after, st.sampled_from(["", "", '"', "--"]), *map(st.sampled_from, (LETTERS, MARKS))
)


@given(st.lists(st.one_of(written_words, st.sampled_from([",", "&", "-", "!!"])), max_size=12), st.sampled_from([" ", "  ", "\n", "\t"]))
@settings(deadline=None, max_examples=150)
def test_words_cover_the_tokens_that_the_tokenizer_made_from_their_letters(words, space):
    """Oracle: the character ranges that transformers' tokenizer reports for its tokens."""
    text = space.join(words)
    offsets = vocabulary()(text, return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"]
    prompt = read(text)
    assert len(prompt.words) == len(words)
    for word, match in zip(prompt.words, re.finditer(r"\S+", text), strict=True):
        begin = match.start() + match.group().index(word.text)
        inside = [index + 1 for index, (start, end) in enumerate(offsets) if start < begin + len(word.text) and end > begin]
        around = [index + 1 for index, (start, end) in enumerate(offsets) if start < match.end() and end > match.start()]
        assert (list(word.positions), list(word.span)) == (inside, around)


@given(st.text(st.sampled_from("ab 1-_',.:;!()\\[]<>\n猫é&") | st.characters(codec="utf-8"), max_size=40))
@settings(deadline=None, max_examples=400)
def test_any_text_is_read_to_its_last_token(text):
    prompt = read(text)
    assert [position for word in prompt.words for position in word.span] == list(prompt.text_positions)
    assert all(word.positions and set(word.positions) <= set(word.span) for word in prompt.words)


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("  \n ", []),
        ("a cat , sitting", ["a", "cat", ",", "sitting"]),
        ("a (red:1.2) dog", ["a", "red", "dog"]),
        ("((very (old:0.5) dog)) sits", ["very", "old", "dog", "sits"]),
        ("(dog), (red hat:1.3).", ["dog", "red", "hat"]),
        ("(red:1.2)-haired dog", ["red", "haired", "dog"]),
        ("(one)(two:0.5)three", ["one", "two", "three"]),
        (r"a \(small\) dog \(", ["a", "small", "dog", "("]),
        (r'"(\(dog\):1.5)" runs', ["dog", "runs"]),
        ("dog,cat ,bird, 'fish'", ["dog", "cat", "bird", "fish"]),
        ("1,000 dogs", ["1", "000", "dogs"]),
        ("don't - 'red' 4k", ["don't", "-", "red", "4k"]),
        ("猫 café кошка", ["猫", "café", "кошка"]),
        ("a dog:1.5) (cat", ["a", "dog:1.5", "cat"]),
        ("embedding:none dog", ["embedding:none", "dog"]),
    ],
)
def test_words_are_found_in_all_that_users_write(text, words, kind):
    prompt = read(text, kind)
    assert [word.text for word in prompt.words] == words
    assert [position for word in prompt.words for position in word.span] == list(prompt.text_positions)
    for word in prompt.words:
        assert spelled(prompt, word.positions).strip("'") == word.text.lower()


def test_punctuation_goes_with_the_word_it_touches():
    prompt = read('a (dog:1.2), "cat" , &(x)')
    assert [(word.text, len(word.positions), len(word.span)) for word in prompt.words] == [
        ("a", 1, 1),
        ("dog", 1, 2),
        ("cat", 1, 3),
        (",", 1, 1),
        ("x", 1, 2),
    ]


@pytest.mark.parametrize("text", ["a (red:1.2) dog, sitting", "a red dog, sitting"])
def test_weights_move_no_token(text):
    assert read(text).tokens == read("a red dog, sitting").tokens
    assert read(text).find("dog", "words") == (3,)


# Long prompts


def test_words_of_long_prompts_are_found_in_later_chunks():
    """Oracle: the host cuts a long text after every 75 tokens and puts a start and an end around them."""
    prompt = read("one " * 80 + "chinchilla " * 40 + "dog")
    count = len(prompt.text_positions)
    assert prompt.length == 77 * 3 and count > 150
    assert prompt.text_positions == tuple(77 * (index // 75) + 1 + index % 75 for index in range(count))
    assert prompt.find("dog", "words") == (prompt.text_positions[-1],)
    assert {spelled(prompt, word.positions) for word in prompt.words} == {"one", "chinchilla", "dog"}
    assert [prompt.kinds[position] for position in (0, 76, 77, 153, 154)] == ["start", "end", "start", "end", "start"]


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_short_weighted_parts_move_to_the_next_chunk_whole(kind):
    """The host keeps parts of less than eight tokens together and pads the chunk before."""
    prompt = read("one " * 73 + "(human-like toys:1.2) dog", kind)
    assert prompt.kinds[73:79] == ("text", "end", "padding", "padding", "start", "text")
    assert prompt.find("human-like", "words") == (78, 79, 80)
    assert prompt.find("dog", "words") == (82,)


def test_a_prompt_made_longer_than_a_chunk_keeps_its_words_counterparts():
    """A new word at the front of 75 pushes the last one into a second chunk."""
    source, target = read("one " * 74 + "dog"), read("red " + "one " * 74 + "dog")
    (old,), (new,) = source.find("dog", "words"), target.find("dog", "words")
    assert (old, new) == (75, 78)
    partners = sources(refinement(source, target))
    assert partners[new] == old and partners[0] == 0 and partners[1] == -1 and partners[2:76] == list(range(1, 75))
    assert partners[76] == 76 and partners[77] == -1 and partners[79] == 76 and set(partners[80:]) == {-1}


# Embeddings


@pytest.fixture
def folder(tmp_path):
    save_file({"emb": torch.arange(3 * 768).reshape(3, 768).float()}, tmp_path / "style.safetensors")
    save_file({"emb": torch.ones(768)}, tmp_path / "one.safetensors")
    save_file({"emb": torch.zeros(2, 1024)}, tmp_path / "other.safetensors")
    save_file({"clip_l": torch.zeros(2, 768), "clip_g": torch.ones(2, 1280)}, tmp_path / "xl.safetensors")
    save_file({"clip_l": torch.zeros(2, 768), "clip_g": torch.ones(3, 1280)}, tmp_path / "uneven.safetensors")
    save_file({"clip_l": torch.zeros(2, 768)}, tmp_path / "half.safetensors")
    return str(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a embedding:style cat", [("a", 1, 1), ("embedding:style", 3, 3), ("cat", 1, 1)]),
        ("(embedding:style:1.2), cat", [("embedding:style", 3, 4), ("cat", 1, 1)]),
        ("embedding:style, embedding:one", [("embedding:style", 3, 4), ("embedding:one", 1, 1)]),
        ("embedding:style[cat] dog", [("embedding:style", 3, 3), ("cat", 1, 3), ("dog", 1, 1)]),
        ("cat embedding:none, dog", [("cat", 1, 1), (",", 1, 1), ("dog", 1, 1)]),
        ("my embedding: style cat", [("my", 1, 1), ("embedding:style", 3, 3), ("cat", 1, 1)]),
    ],
)
def test_an_embedding_is_a_word_of_all_its_vectors(folder, text, words):
    prompt = read_prompt(clip_of(SD1Tokenizer(embedding_directory=folder)), text)
    assert [(word.text, len(word.positions), len(word.span)) for word in prompt.words] == words


def test_vectors_are_equal_tokens_where_their_values_are(folder):
    prompt = read_prompt(clip_of(SD1Tokenizer(embedding_directory=folder)), "embedding:style and embedding:style but embedding:one")
    assert prompt.find("embedding:style, embedding:one", "words") == (1, 2, 3, 5, 6, 7, 9)
    assert prompt.tokens[1:4] == prompt.tokens[5:8]
    assert len(set(prompt.tokens[1:10])) == 6


def test_embeddings_for_sdxl_are_read_from_both_encoders(folder):
    prompt = read_prompt(clip_of(SDXLTokenizer(embedding_directory=folder)), "a embedding:xl cat")
    assert (prompt.find("embedding:xl", "words"), prompt.find("cat", "words")) == ((2, 3), (4,))


@pytest.mark.parametrize("encoder", ["clip_l", "clip_g"])
def test_vectors_for_sdxl_are_equal_where_both_encoders_are(folder, encoder):
    vectors = {"clip_l": torch.zeros(2, 768), "clip_g": torch.ones(2, 1280)}
    save_file({**vectors, encoder: vectors[encoder] + 1}, f"{folder}/xl2.safetensors")
    prompt = read_prompt(clip_of(SDXLTokenizer(embedding_directory=folder)), "embedding:xl embedding:xl embedding:xl2")
    assert prompt.tokens[1] == prompt.tokens[3] != prompt.tokens[5]


@pytest.mark.parametrize(
    ("tokenizer", "name", "message"),
    [
        (SD1Tokenizer, "other", "text: an embedding in it has 1024 channels.*this one's has 768"),
        (SDXLTokenizer, "style", "text: an embedding in it has 768 channels.*this one's has 1280"),
        (SDXLTokenizer, "half", "text: an embedding in it has 768 channels"),
        (SDXLTokenizer, "uneven", "text: the text encoders g, l of this clip split it into different tokens"),
    ],
)
def test_embeddings_that_would_move_tokens_are_refused(folder, tokenizer, name, message):
    with pytest.raises(GraftError, match=message):
        read_prompt(clip_of(tokenizer(embedding_directory=folder)), f"a embedding:{name} cat")


# Other text encoders


def test_other_kinds_of_text_encoders_are_refused():
    other = SimpleNamespace(tokenizer=SimpleNamespace(t5xxl=clip().tokenizer.clip_l), tokenize=lambda *_, **__: {"t5xxl": [[(1, 1.0, 0)]]})
    with pytest.raises(GraftError, match="clip: its text encoder 't5xxl' is not a CLIP"):
        read_prompt(other, "a dog")
    with pytest.raises(GraftError, match="clip: the checkpoint has no text encoder"):
        read_prompt(None, "a dog")


def test_tokens_that_are_not_the_texts_are_refused():
    tokenize = clip().tokenize
    shifted = SimpleNamespace(tokenizer=clip().tokenizer, tokenize=lambda text, **options: tokenize(f"x {text}", **options))
    with pytest.raises(GraftError, match="text: the tokens of 'dog' cannot be told from its neighbours'"):
        read_prompt(shifted, "dog")
    longer = SimpleNamespace(tokenizer=clip().tokenizer, tokenize=lambda text, **options: tokenize(f"{text} x", **options))
    with pytest.raises(GraftError, match="text: the tokens of 'dog' cannot be told from its neighbours'"):
        read_prompt(longer, "dog")


# Encoding


@pytest.fixture(scope="module")
def miniature():
    with torch.inference_mode():
        return load_clip()


@pytest.mark.parametrize("text", ["a red car on a meadow", "a (red:1.3) car", "", "red " * 80])
def test_a_prompt_is_encoded_as_the_host_does(miniature, text):
    """Oracle: what CLIPTextEncode does."""
    ((states, options),) = encode_prompt(miniature, text)
    ((expected, plain),) = miniature.encode_from_tokens_scheduled(miniature.tokenize(text))
    assert torch.equal(states, expected)
    assert set(options) == {*plain, PROMPTS_KEY} and torch.equal(options["pooled_output"], plain["pooled_output"])
    assert prompts_of(states.shape[1], options, "source") == (read_prompt(miniature, text),)


def test_the_words_states_are_at_their_positions(miniature):
    """CLIP looks back only: the first states that another word changes are its own."""
    ((first, options),), ((second, _),) = (
        encode_prompt(miniature, text) for text in ("a red car, on a meadow", "a red guitar, on a meadow")
    )
    changed = (first != second).any(dim=-1)[0].nonzero()[:, 0]
    assert options[PROMPTS_KEY][0].find("car", "words") == (int(changed[0]),)


def test_vectors_of_an_embedding_are_at_their_words_positions(miniature, tmp_path):
    texts, size = miniature.clone(), miniature.tokenizer.clip_l.embedding_size
    texts.tokenizer = MiniatureTokenizer(embedding_directory=str(tmp_path))
    states = []
    for value in (0.0, 1.0):
        save_file({"emb": torch.full((2, size), value)}, tmp_path / "style.safetensors")
        ((encoded, options),) = encode_prompt(texts, "a red embedding:style car")
        states.append(encoded)
    changed = (states[0] != states[1]).any(dim=-1)[0].nonzero()[:, 0]
    assert options[PROMPTS_KEY][0].find("embedding:style", "words") == (3, 4)
    assert int(changed[0]) == 3


def test_a_conditioning_without_words_is_refused_by_the_name_of_its_input(miniature):
    ((states, options),) = miniature.encode_from_tokens_scheduled(miniature.tokenize("a dog"))
    with pytest.raises(GraftError, match=r"source_conditioning: .*encode it with Graft's Encode Prompt"):
        prompts_of(states.shape[1], options, "source_conditioning")


def test_a_conditioning_joined_with_another_is_refused(miniature):
    """ConditioningConcat keeps the options of the first."""
    ((states, options),) = encode_prompt(miniature, "a dog")
    with pytest.raises(GraftError, match=rf"positive: it has {2 * TEXT_TOKENS} tokens, the prompt it was encoded from {TEXT_TOKENS},"):
        prompts_of(torch.cat([states, states], dim=1).shape[1], options, "positive")


def test_every_entry_of_a_schedule_gets_the_words(miniature):
    tokens = miniature.tokenize("a red car")
    ((states, options),) = miniature.encode_from_tokens_scheduled(tokens)
    scheduled = SimpleNamespace(
        tokenizer=miniature.tokenizer,
        tokenize=miniature.tokenize,
        encode_from_tokens_scheduled=lambda _: [[states, dict(options)], [states.expand(2, -1, -1), dict(options)]],
    )
    first, second = encode_prompt(scheduled, "a red car")
    assert prompts_of(TEXT_TOKENS, first[1], "positive") == (read_prompt(miniature, "a red car"),)
    assert prompts_of(TEXT_TOKENS, second[1], "positive") == (read_prompt(miniature, "a red car"),) * 2


def test_an_encoder_that_changes_the_number_of_tokens_is_refused(miniature):
    scheduled = SimpleNamespace(
        tokenizer=miniature.tokenizer, tokenize=miniature.tokenize, encode_from_tokens_scheduled=lambda _: [[torch.zeros(1, 10, 4), {}]]
    )
    with pytest.raises(GraftError, match=f"clip: it encodes the {TEXT_TOKENS} tokens of the prompt to 10 states"):
        encode_prompt(scheduled, "a red car")


def test_the_node_lists_the_words(miniature):
    conditioning, words = EncodePrompt.execute(miniature, "a (red:1.2) chinchilla, sleeping").result
    prompt = conditioning[0][1][PROMPTS_KEY][0]
    assert (
        words
        == "a: 1\nred: 2\nchinchilla: "
        + ", ".join(map(str, prompt.find("chinchilla", "words")))
        + f"\nsleeping: {prompt.text_positions[-1]}"
    )


def test_every_input_and_output_has_a_tooltip():
    schema = EncodePrompt.define_schema()
    assert all(part.tooltip for part in [*schema.inputs, *schema.outputs])
