"""Measures the pocket model through the public engine: `python -m adafv_core.pocket.training.evaluate`."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adafv_core.engine import Engine, load
from adafv_core.pocket.world.drawing import draw_scene, patch_owners
from adafv_core.pocket.world.phrasings import FAMILIES
from adafv_core.pocket.world.questions import SceneQuestion, question_set
from adafv_core.pocket.world.scenes import Scene
from adafv_core.types import VisualTokens

Pair = tuple[Scene, SceneQuestion]


def accuracy(engine: Engine, pairs: list[Pair], without_named: bool = False, batch_size: int = 32) -> dict[str, Any]:
    """Greedy accuracy over (scene, question) pairs, by family and overall, with 95 % Wilson intervals.

    without_named: drop every visual token that shows any part of a thing the question names or asks for, and skip
    questions that name nothing. Returns {family or "all": {right, asked, percent, low, high}}.
    """
    right: dict[str, list[bool]] = {}
    for visual, scene, questions in encoded(engine, pairs):
        dropped = [_named_mask(scene, q, visual.grid.crops[0].rows) for q in questions]
        if without_named:
            kept = [(q, mask) for q, mask in zip(questions, dropped, strict=True) if mask.any()]
            answers = []
            for question, mask in kept:
                scores = engine.score(visual, question.text)
                selection = engine.select(scores, budget=int((~mask).sum()), force_drop=torch.from_numpy(mask))
                answers.append(engine.answer(visual, question.text, selection=selection, max_new_tokens=4).text)
            questions = [question for question, _ in kept]
        else:
            asked = [(visual, question.text) for question in questions]
            answers = [
                a.text for a in engine.answer_batch(asked, 1.0, method="full", max_new_tokens=4, batch_size=batch_size)
            ]
        for question, answer in zip(questions, answers, strict=True):
            right.setdefault(question.family, []).append(answer == question.answer)
    table = {family: _share(right[family]) for family in FAMILIES if family in right}
    return {**table, "all": _share([hit for hits in right.values() for hit in hits])}


def chance(pairs: list[Pair]) -> dict[str, float]:
    """Percent correct, by family, when always giving the family's most frequent answer."""
    best = {}
    for family in FAMILIES:
        answers = [q.answer for _, q in pairs if q.family == family]
        if answers:
            best[family] = 100 * max(answers.count(a) for a in set(answers)) / len(answers)
    return best


def grounding(engine: Engine, pairs: list[Pair]) -> dict[str, float]:
    """Measure how well T2I similarity finds the named things, and [CLS] attention the large ones.

    t2i_auc: ROC AUC for the tokens of the named things, mean over questions that name a thing in the scene.
    saliency_auc: ROC AUC for the tokens of large things. large_attention, large_area: mean share of [CLS] attention,
    and of the tokens, that falls on large things; large_ratio: the former divided by the latter. The AUCs leave out
    tokens on a border between thing and background.
    """
    aucs, large_aucs, attention, area = [], [], [], []
    for visual, scene, questions in encoded(engine, pairs):
        owners = patch_owners(scene, visual.grid.crops[0].rows).ravel()
        large = np.isin(owners, [i for i, thing in enumerate(scene.things) if thing.large])
        saliency = visual.saliency.numpy()
        attention.append(saliency[large].sum() / saliency.sum())
        area.append(large.mean())
        large_aucs.append(auc(saliency[owners != -2], large[owners != -2]))
        for question in questions:
            named = np.isin(owners, question.referents)
            if question.family != "salient" and named.any():
                t2i = engine.score(visual, question.text).t2i.numpy()
                aucs.append(auc(t2i[owners != -2], named[owners != -2]))
    return {
        "t2i_auc": float(np.mean(aucs)),
        "saliency_auc": float(np.mean(large_aucs)),
        "large_attention": float(np.mean(attention)),
        "large_area": float(np.mean(area)),
        "large_ratio": float(np.mean(attention) / np.mean(area)),
    }


def auc(scores: NDArray[np.float32], positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve, from ranks (Mann–Whitney U); ties count half; nan if one class is empty."""
    if positive.all() or not positive.any():
        return math.nan
    values, inverse = np.unique(scores, return_inverse=True)
    counts = np.bincount(inverse, minlength=len(values))
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    hits = int(positive.sum())
    return float((ranks[positive].sum() - hits * (hits + 1) / 2) / (hits * (len(scores) - hits)))


def encoded(engine: Engine, pairs: list[Pair]) -> Iterable[tuple[VisualTokens, Scene, list[SceneQuestion]]]:
    """Draw and encode each scene once; yields it with its questions."""
    by_scene: dict[int, tuple[Scene, list[SceneQuestion]]] = {}
    for scene, question in pairs:
        by_scene.setdefault(scene.seed, (scene, []))[1].append(question)
    for scene, questions in by_scene.values():
        yield engine.encode(draw_scene(scene)), scene, questions


def evaluate(engine: Engine, split: str, scenes: int, progress: Callable[[str], None] = print) -> dict[str, Any]:
    """Run all measurements on the first `scenes` scenes of a split."""
    trained, held_out = question_set(split, scenes), question_set(split, scenes, held_out=True)
    progress(f"{len(trained)} questions on {scenes} scenes of split {split}")
    report: dict[str, Any] = {
        "split": split,
        "scenes": scenes,
        "questions": len(trained),
        "chance": chance(trained),
    }
    report["all_tokens"] = accuracy(engine, trained)
    progress(f"all tokens: {report['all_tokens']['all']}")
    report["held_out_phrasings"] = accuracy(engine, held_out)
    progress(f"held-out phrasings: {report['held_out_phrasings']['all']}")
    report["without_named_tokens"] = accuracy(engine, trained[: 7 * 60], without_named=True)
    progress(f"without the tokens of the named things: {report['without_named_tokens']['all']}")
    report["grounding"] = grounding(engine, trained[: 7 * 150])
    progress(f"grounding: {report['grounding']}")
    return report


def _named_mask(scene: Scene, question: SceneQuestion, grid: int) -> NDArray[np.bool_]:
    covered = np.zeros((grid, grid), bool)
    for target in question.targets:
        lone = Scene(scene.seed, (scene.things[target],))
        covered |= patch_owners(lone, grid, outside=0.0) != -1
    return covered.ravel()


def _share(hits: list[bool]) -> dict[str, float]:
    n, p, z = len(hits), sum(hits) / max(1, len(hits)), 1.96
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    figures = {"percent": 100 * p, "low": 100 * (middle - half), "high": 100 * (middle + half)}
    return {"right": sum(hits), "asked": n, **{name: round(value, 2) for name, value in figures.items()}}


def make_parser() -> argparse.ArgumentParser:
    """Build the command-line parser."""
    parser = argparse.ArgumentParser(prog="python -m adafv_core.pocket.training.evaluate", description=__doc__)
    parser.add_argument(
        "--model", default="pocket", help="pocket, or a folder written by adafv_core.pocket.training.train"
    )
    parser.add_argument("--split", default="validation", choices=("validation", "test"))
    parser.add_argument("--scenes", type=int, default=320, help="number of scenes, about 6.4 questions each")
    parser.add_argument("--out", type=Path, help="JSON file to write the report to")
    return parser


def main(argv: list[str] | None = None) -> None:
    """Measure and print; with --out, also write the report as JSON."""
    options = make_parser().parse_args(argv)
    report = evaluate(load(options.model, device="cpu"), options.split, options.scenes)
    if options.out:
        options.out.write_text(json.dumps(report, indent=1) + "\n")
    for name in ("all_tokens", "held_out_phrasings", "without_named_tokens"):
        print(name, {family: row["percent"] for family, row in report[name].items()})


if __name__ == "__main__":
    main(sys.argv[1:])
