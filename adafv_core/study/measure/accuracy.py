"""Decides whether an answer is right.

Of four rules, the first that fits the accepted answers applies:

1. Multiple choice: every accepted answer is one option letter ("B", "(B)"). The letter is read from the model's answer
   as LLaVA's ScienceQA evaluation does (`llava/eval/eval_science_qa.py`): the letter alone, the letter in front of its
   option ("B. a dog"), or "the answer is B."; brackets and ":" are accepted as well.
2. Yes or no: every accepted answer is "yes" or "no". The first word decides, so that "Yes, there is." is "yes" (POPE,
   `evaluate.py`, reads the first sentence; one word is stricter).
3. Numbers: one or two accepted answers, compared by value if they are numbers: "1,000", "1000" and "1000.0" are equal.
   The sign counts.
4. Everything else: equal after `normalize`, which is the normalizer of VQA's evaluation script
   (github.com/GT-Vision-Lab/VQA, `vqaEval.py`).

An answer that normalizes to nothing ("", ".", "the") is right only if the accepted answer is "" itself; an accepted
answer that normalizes to nothing ("A" among others, "+") must be matched literally.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
# The script intends to keep only periods as in "3.5". Its first look-around, `(?!<=\d)`, never excludes anything, so it
# actually removes every period that is not followed by a digit.
_PERIOD = re.compile(r"\.(?!\d)")
_NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_DIGITS = {word: str(value) for value, word in enumerate(_NUMBER_WORDS)} | {"none": "0"}
_ARTICLES = frozenset({"a", "an", "the"})
_CONTRACTED = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've
    he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've
    o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd somebody'd've somebody'll
    somebody's someone'd someone'd've someone'll someone's something'd something'd've something'll that's there'd
    there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll
    what're what's what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't
    would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""
# The script's table: each contraction with any one of its apostrophes left out ("couldnt've" → "couldn't've").
_CONTRACTIONS = {
    word[:place] + word[place + 1 :]: word
    for word in _CONTRACTED.split()
    for place, character in enumerate(word)
    if character == "'"
}

_NUMBER = re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d+)?(\.\d+)?")
_LETTER_ALONE = re.compile(r"\(?([A-Za-z])\)?[.:,]?")
_LETTER_FIRST = re.compile(r"(?:\(([A-Za-z])\)|([A-Za-z])[.:)])\s")
_LETTER_NAMED = re.compile(r"\b(?:[Aa]nswer|[Oo]ption|[Cc]hoice)(?:\s+is)?\s*:?\s*\(?([A-Z])\)?(?=[.,:;)]|$)")


def normalize(text: str) -> str:
    """An answer in the form that VQA's evaluation script compares.

    A punctuation mark is removed if any mark of its kind is next to a space or the text contains a number with a comma
    ("1,000"), otherwise replaced by a space; periods not followed by a digit are removed; then, word by word in lower
    case: number words up to ten become digits ("none" is 0), articles are dropped, contractions regain their
    apostrophe.
    """
    flat = text.replace("\n", " ").replace("\t", " ").strip()
    has_comma_number = _COMMA_IN_NUMBER.search(flat) is not None
    out = flat
    for mark in _PUNCTUATION:
        beside_space = f"{mark} " in flat or f" {mark}" in flat
        out = out.replace(mark, "" if beside_space or has_comma_number else " ")
    words = (_DIGITS.get(word, word) for word in _PERIOD.sub("", out).lower().split())
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def score_answer(text: str, answers: Sequence[str]) -> float:
    """The score of an answer, 0 to 1, by the rules at the top of this file.

    text: the model's answer. answers: the accepted answers. One or two: 1 if the answer equals one of them. Three or
    more are treated as answers of different people and scored as in VQA: the mean, over leaving each one out, of
    min(1, matches among the others / 3). Raises ValueError if `answers` is empty.
    """
    if not answers:
        raise ValueError("an answer can only be judged against at least one accepted answer")
    return _score(text, tuple(answers))


# The same few answers come up again and again in a study.
@lru_cache(maxsize=1 << 16)
def _score(text: str, answers: tuple[str, ...]) -> float:
    matches = _matches(text, answers)
    if len(answers) < 3:
        return float(any(matches))
    total = sum(matches)
    return sum(min(1.0, (total - match) / 3) for match in matches) / len(answers)


def _matches(text: str, answers: tuple[str, ...]) -> list[bool]:
    """Whether the text equals each accepted answer."""
    letters = [_LETTER_ALONE.fullmatch(answer.strip()) for answer in answers]
    if all(letters):
        chosen = _option_letter(text)
        return [letter is not None and chosen == letter.group(1).lower() for letter in letters]
    normalized = normalize(text)
    if all(normalize(answer) in ("yes", "no") for answer in answers):
        first = re.search(r"[^\W_]+", text.lower())
        return [first is not None and first.group() == normalize(answer) for answer in answers]
    number = _number(text) if len(answers) < 3 else None
    return [_equal(text, normalized, number, answer, len(answers) < 3) for answer in answers]


def _equal(text: str, normalized: str, number: Decimal | None, answer: str, numeric: bool) -> bool:
    if not answer.strip():
        return normalized == ""
    if numeric and (value := _number(answer)) is not None:
        return number == value
    wanted = normalize(answer)
    if not wanted:
        return text.strip().lower() == answer.strip().lower()
    return normalized == wanted


def _option_letter(text: str) -> str | None:
    """The option chosen by a multiple-choice answer, in lower case; None if it names no letter."""
    flat = text.strip()
    found = _LETTER_ALONE.fullmatch(flat) or _LETTER_FIRST.match(flat) or _LETTER_NAMED.search(flat)
    return None if found is None else next(group for group in found.groups() if group).lower()


def _number(text: str) -> Decimal | None:
    """The exact value of a text that is a single number, in digits or as a word up to ten; None for anything else."""
    flat = text.strip().removesuffix(".").lower()
    flat = _DIGITS.get(flat, flat)
    if not any(character.isdigit() for character in flat) or _NUMBER.fullmatch(flat) is None:
        return None
    return Decimal(flat.replace(",", ""))
