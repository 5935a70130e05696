"""Names that users type against the words of a prompt."""

import pytest
from graft.attention.words import Prompt, Word, WordError, around_core, names_in, parse_numbers, parse_windows
from hypothesis import given
from hypothesis import strategies as st


def made(*words: Word, length: int = 20) -> Prompt:
    """A prompt of one chunk; its token ids do not matter here."""
    text = sum(len(word.span) for word in words)
    return Prompt((0,) * length, ("start", *["text"] * text, "end", *["padding"] * (length - text - 2)), words)


CAKES = made(
    Word("A", (1,), (1,)),
    Word("human-like", (2, 3, 4), (2, 3, 4)),
    Word("toy", (5,), (5, 6)),
    Word("&", (7,), (7,)),
    Word("birthday", (8, 9), (8, 9)),
    Word("cake", (10,), (10,)),
    Word("Cake", (11,), (11, 12)),
)


@pytest.mark.parametrize(
    ("names", "positions"),
    [
        ("toy", (5,)),
        ("TOY", (5,)),
        ("toy,", (5,)),
        ("'toy'", (5,)),
        ("cake", (10, 11)),
        ("birthday cake", (8, 9, 10)),
        ("  birthday   cake ", (8, 9, 10)),
        ("birthday cake, cake", (8, 9, 10, 11)),
        ("cake cake", (10, 11)),
        ("cake\ntoy", (5, 10, 11)),
        ("toy & birthday", (5, 7, 8, 9)),
        ("human-like", (2, 3, 4)),
        ("", ()),
        (" ,\n, ", ()),
    ],
)
def test_names_find_all_occurrences_of_words_and_phrases(names, positions):
    assert CAKES.find(names, "words") == positions


@pytest.mark.parametrize("name", ["human", "like", "cakes", "cake birthday", "birthday cake toy", "(", "dog"])
def test_a_name_the_prompt_does_not_have_is_refused_with_the_words_it_has(name):
    with pytest.raises(WordError) as problem:
        CAKES.find(f"toy, {name}", "blend_words")
    message = str(problem.value)
    assert message.startswith("blend_words: ") and f"'{name}'" in message
    assert "A, human-like, toy, &, birthday, cake, Cake" in message


def test_an_empty_prompt_is_said_to_be_empty():
    with pytest.raises(WordError, match="words: the prompt has no 'dog'; it is empty"):
        made().find("dog", "words")


def test_positions_by_name_are_those_of_each_name_alone():
    names = parse_numbers("birthday cake: 2, cake: 0.5", "weights")
    assert CAKES.find_each(names, "weights") == {"birthday cake": (8, 9, 10), "cake": (10, 11)}


def test_encodings_of_an_accent_are_one_word():
    cafe = made(Word("café", (1,), (1,)))
    assert cafe.find("CAFE\N{COMBINING ACUTE ACCENT}", "words") == (1,)


def test_the_listing_names_every_word_with_its_tokens():
    assert CAKES.listing().splitlines()[1:3] == ["human-like: 2, 3, 4", "toy: 5"]


@pytest.mark.parametrize(
    ("written", "parts"),
    [
        ("cat", ("", "cat", "")),
        ("cat,", ("", "cat", ",")),
        ('("cat")', ('("', "cat", '")')),
        ("human-like", ("", "human-like", "")),
        ("dogs'", ("", "dogs", "'")),
        ("don't!", ("", "don't", "!")),
        (",", (",", "", "")),
        ("cafe\N{COMBINING ACUTE ACCENT}.", ("", "cafe\N{COMBINING ACUTE ACCENT}", ".")),
        ("\N{DEVANAGARI LETTER KA}\N{DEVANAGARI VOWEL SIGN I},", ("", "\N{DEVANAGARI LETTER KA}\N{DEVANAGARI VOWEL SIGN I}", ",")),
    ],
)
def test_the_core_is_what_is_left_without_outer_punctuation(written, parts):
    assert around_core(written) == parts


@given(st.text(max_size=12))
def test_a_core_and_what_is_around_it_are_the_whole(written):
    before, core, after = around_core(written)
    assert before + core + after == written
    assert bool(core) == any(map(str.isalnum, written)) and not any(map(str.isalnum, before + after))
    assert around_core(core) == ("", core, "")


def test_names_are_separated_by_commas_and_newlines_and_kept_once():
    assert names_in("dog, red  hat\n,dog\n tail ") == ("dog", "red hat", "tail")


def test_numbers_belong_to_names():
    assert parse_numbers("dog: 2, red  hat: 0.5\n embedding:style : -1e1", "weights") == {"dog": 2, "red hat": 0.5, "embedding:style": -10}
    assert parse_numbers(" \n", "weights") == {}


def test_windows_begin_with_the_run_unless_they_say_otherwise():
    windows = parse_windows("dog: 0.4, red hat: 0.1-0.6\ntail:.2 - 1, ear: 0", "windows")
    assert windows == {"dog": (0, 0.4), "red hat": (0.1, 0.6), "tail": (0.2, 1), "ear": (0, 0)}


@given(st.dictionaries(st.text("abc -:", min_size=1).map(lambda name: f"x{name}x"), st.floats(-100, 100)))
def test_numbers_come_back_as_they_were_written(numbers):
    written = {" ".join(name.split()): value for name, value in numbers.items()}
    assert parse_numbers("\n".join(f"{name}: {value}" for name, value in written.items()), "weights") == written


def test_the_largest_weights_are_weights():
    assert parse_numbers("dog: 100, tail: -100", "weights") == {"dog": 100, "tail": -100}


@pytest.mark.parametrize(
    "text", ["dog", "dog 2", ": 2", "dog:", "dog: 2, tail", "dog: two", "dog: nan", "dog: inf", "dog: 0,5", "dog: 101"]
)
def test_what_is_no_number_after_a_name_is_refused(text):
    with pytest.raises(WordError, match=r"^weights: .*(dog|tail|5).*: 2$"):
        parse_numbers(text, "weights")


@pytest.mark.parametrize(
    "text", ["dog: 1.1", "dog: 0.6-0.4", "dog: -0.1", "dog: 0.1-", "dog: 0.1-0.2-0.3", "dog: 40%", "dog: 0.5-2", "dog"]
)
def test_what_is_no_part_of_the_run_is_refused(text):
    with pytest.raises(WordError, match=r"^windows: .*dog.*dog: 0\.1-0\.6$"):
        parse_windows(text, "windows")


def test_a_name_given_twice_is_refused():
    with pytest.raises(WordError, match="weights: 'Dog' is there twice"):
        parse_numbers("dog: 2, Dog: 3", "weights")


@pytest.mark.parametrize("spans", [[(1,)], [(1,), (1,)], [(2,), (1,)], [(1, 2, 3)]])
def test_words_must_hold_every_text_token_once(spans):
    words = tuple(Word("x", span, span) for span in spans)
    with pytest.raises(WordError, match="each text token once"):
        Prompt((0,) * 5, ("start", "text", "text", "end", "padding"), words)
