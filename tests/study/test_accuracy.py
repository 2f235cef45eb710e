"""How answers are judged: VQA's normalizer, multiple choice, yes and no, numbers, and answers that say nothing."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adafv_core.study.measure.accuracy import normalize, score_answer

TEXTS = st.text(st.sampled_from(string.ascii_letters + string.digits + string.punctuation + " "), max_size=12)


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("Red", "red"),
        ("u.s.", "us"),
        ("3.5", "3.5"),
        ("3.", "3"),
        ("1,000", "1000"),
        ("1,000 people; at least", "1000 people at least"),
        ("red, blue", "red blue"),
        ("red,blue", "red blue"),
        ("black/white", "black white"),
        ("black / white", "black white"),
        ("t-shirt", "t shirt"),
        ("what?!", "what"),
        ("a\ndog\ton the mat", "dog on mat"),
        ("None", "0"),
        ("Ten", "10"),
        ("eleven", "eleven"),
        ("dont", "don't"),
        ("couldntve", "couldntve"),
        ("couldnt've", "couldn't've"),
        ("couldn'tve", "couldn't've"),
        ("yall'd've", "y'all'd've"),
        ("its", "its"),
        ("50%", "50%"),
        ("10:30", "10:30"),
        ("the", ""),
        ("...", ""),
        ("", ""),
    ],
)
def test_normalization_is_that_of_vqas_script(text: str, normalized: str) -> None:
    assert normalize(text) == normalized


@pytest.mark.parametrize(
    ("text", "answers", "score"),
    [
        ("1000", ("1,000",) * 9 + ("x",), 1.0),
        ("us", ("u.s.",) * 9 + ("x",), 1.0),
        ("dont", ("don't",) * 4, 1.0),
        ("a dog", ("dog", "the dog", "cat"), 1 / 3 * (1 / 3 + 1 / 3 + 2 / 3)),
    ],
)
def test_answers_of_several_people_are_scored_as_vqa_does(text: str, answers: tuple[str, ...], score: float) -> None:
    assert score_answer(text, answers) == pytest.approx(score)


@pytest.mark.parametrize("wanted", ["A", "(A)", "A.", "a"])
@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("A", True),
        ("a", True),
        ("A.", True),
        ("(A)", True),
        ("A. a dog", True),
        ("(a) a dog", True),
        ("A: a dog", True),
        ("A) a dog", True),
        ("The answer is A.", True),
        ("The correct answer is (A), a dog.", True),
        ("Answer: A", True),
        ("Option A", True),
        ("A dog", False),
        ("The answer is a dog", False),
        ("B", False),
        ("The answer is B.", False),
        ("AB", False),
        ("the", False),
        (".", False),
        ("", False),
    ],
)
def test_option_letters(text: str, wanted: str, right: bool) -> None:
    assert score_answer(text, [wanted]) == float(right)


@pytest.mark.parametrize(
    ("text", "wanted", "right"),
    [
        ("1000", "1,000", True),
        ("1,000.0", "1000", True),
        ("three", "3", True),
        ("3.0", "3", True),
        ("3.", "3", True),
        (".5", "0.5", True),
        ("+5", "5", True),
        ("-5", "5", False),
        ("5", "-5", False),
        ("35", "3.5", False),
        ("10,00", "1000", False),
        ("5 dogs", "5", False),
        ("9007199254740993", "9007199254740992", False),
        ("9007199254740993.0", "9,007,199,254,740,993", True),
        ("0.1000000000000000055", "0.1", False),
        ("1" * 400, "2" * 400, False),
        ("", "0", False),
    ],
)
def test_numbers_are_compared_by_value(text: str, wanted: str, right: bool) -> None:
    assert score_answer(text, [wanted]) == float(right)


@pytest.mark.parametrize(
    ("text", "wanted", "right"),
    [
        ("Yes", "yes", True),
        ("yes, there is", "Yes.", True),
        ("**Yes**", "yes", True),
        ("No.", "no", True),
        ("no", "yes", False),
        ("there is, yes", "yes", False),
        ("", "no", False),
        ("...", "no", False),
    ],
)
def test_yes_and_no_are_decided_by_the_first_word(text: str, wanted: str, right: bool) -> None:
    assert score_answer(text, [wanted]) == float(right)


@pytest.mark.parametrize(
    ("text", "wanted", "right"),
    [
        ("", "A", False),
        ("", "...", False),
        (".", "the", False),
        ("+", "-", False),
        ("+", "+", True),
        ("The", "the", True),
        ("", "", True),
        ("  ", "", True),
        ("red", "", False),
    ],
)
def test_what_normalizes_to_nothing_has_to_be_given_literally(text: str, wanted: str, right: bool) -> None:
    assert score_answer(text, [wanted]) == float(right)
    assert score_answer(text, [wanted] * 10) == float(right)


@given(TEXTS, st.lists(TEXTS.filter(str.strip), min_size=1, max_size=10))
def test_nothing_is_never_right_and_the_accepted_answer_always(text: str, answers: list[str]) -> None:
    assert score_answer("", answers) == 0
    assert 0 <= score_answer(text, answers) <= 1
    if len(answers) < 3:
        assert score_answer(answers[0], answers) == 1
    assert score_answer(text, answers[::-1]) == pytest.approx(score_answer(text, answers))
