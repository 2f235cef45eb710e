"""The accepted answers of a question in a user's file."""

from __future__ import annotations

from typing import Any

from adafv_core.study.data.json_with_lines import Document, Step


def accepted_answers(document: Document, entry: dict[str, Any], *path: Step) -> tuple[str, ...]:
    """Answers from `answers` (texts, or VQA's objects with `answer`), `answer` or `multiple_choice_answer`.

    entry: the value at `path` of the document. Raises InputError with file and line where there is none.
    """
    if "answers" in entry:
        given = entry["answers"]
        if not isinstance(given, list) or not given:
            raise document.wrong("`answers` must be a list with at least one answer", *path, "answers")
        found = [one.get("answer") if isinstance(one, dict) else one for one in given]
        where: tuple[Step, ...] = (*path, "answers")
    else:
        name = "answer" if "answer" in entry else "multiple_choice_answer"
        if name not in entry:
            raise document.wrong("a question needs `answer` or `answers`", *path)
        found, where = [entry[name]], (*path, name)
    for place, one in enumerate(found):
        if isinstance(one, bool) or not isinstance(one, str | int | float) or not str(one).strip():
            at = (*where, place) if "answers" in entry else where
            raise document.wrong(f"an answer must be text; got {one!r}", *at)
    return tuple(str(one).strip() for one in found)
