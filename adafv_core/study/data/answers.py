"""The accepted answers of a question in a user's file."""

from __future__ import annotations

from typing import Any

from adafv_core.study.data.annotation_file import AnnotationFile, Step


def accepted_answers(file: AnnotationFile, entry: dict[str, Any], *path: Step) -> tuple[str, ...]:
    """Answers from `answers` (texts, or VQA's objects with `answer`), `answer` or `multiple_choice_answer`.

    entry: the value at `path` of the file. Numbers become text; "" is a valid answer. Raises EntryError if there is no
    answer, or one is neither text nor a number.
    """
    if "answers" in entry:
        given = entry["answers"]
        if not isinstance(given, list) or not given:
            raise file.error("`answers` must be a list with at least one answer", *path, "answers")
        answers = [one.get("answer") if isinstance(one, dict) else one for one in given]
        paths: list[tuple[Step, ...]] = [(*path, "answers", index) for index in range(len(answers))]
    else:
        name = "answer" if "answer" in entry else "multiple_choice_answer"
        if name not in entry:
            raise file.error("a question needs `answer` or `answers`", *path)
        answers, paths = [entry[name]], [(*path, name)]
    for answer, where in zip(answers, paths, strict=True):
        if isinstance(answer, bool) or not isinstance(answer, str | int | float):
            raise file.error(f"an answer must be text; got {answer!r}", *where)
    return tuple(str(answer).strip() for answer in answers)
