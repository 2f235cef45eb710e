"""The data of figures 1 to 4, as plain values.

Figure 1: accuracy (here: over all questions, in percent) against the reduction rate, 1 − keep ratio; one line per
method.
Figure 2: AUC of T2I attention and of saliency for "is this token on the object that the question names": the mean over
questions (of each family, and of all) and the distribution. Questions that name no object in the picture are left out.
Figure 3: distribution of T2I similarity (largest cosine between a token and a counted word) over the tokens of all
those questions, on the named objects and off them.
Figure 4: fewest tokens that must be kept so that at least one is on the named object, by ranking: T2I attention,
saliency, AdaFV's mixture; and the average for a random order, (N + 1) / (tokens on the object + 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from adafv_core.study.measure.alignment import BINS
from adafv_core.study.run.results_file import Records

AUC_BINS = 50
RANKINGS = ("t2i", "saliency", "adafv", "random")
QUANTILES = (0.25, 0.5, 0.75, 0.9, 0.95, 1.0)


def figure_data(records: Records) -> dict[str, Any]:
    """Figures 2 to 4; empty if the data set has no objects. (Figure 1 is drawn from the summary's rows.)"""
    measured = [(records.questions[q], records.measures[q]) for q in sorted(records.measures.keys() - records.dropped)]
    if not measured:
        return {}
    return {"auc": _auc(measured), "similarity": _similarity(measured), "hit": _hit(measured)}


Measured = Sequence[tuple[dict[str, Any], dict[str, Any]]]


def _auc(measured: Measured) -> dict[str, Any]:
    families = list(dict.fromkeys(question["family"] for question, _ in measured))
    found: dict[str, Any] = {"edges": [place / AUC_BINS for place in range(AUC_BINS + 1)]}
    for name in ("t2i", "saliency"):
        values = np.array([measure[f"auc_{name}"] for _, measure in measured])
        by_family = {
            family: round(float(values[[question["family"] == family for question, _ in measured]].mean()), 4)
            for family in families
        }
        counts = np.histogram(values, bins=AUC_BINS, range=(0.0, 1.0))[0]
        found[name] = {
            "n": len(values),
            "mean": round(float(values.mean()), 4),
            "median": round(float(np.median(values)), 4),
            "families": by_family,
            "counts": counts.tolist(),
        }
    return found


def _similarity(measured: Measured) -> dict[str, Any]:
    found: dict[str, Any] = {"edges": [round(2 * place / BINS - 1, 4) for place in range(BINS + 1)]}
    for side in ("on", "off"):
        counts = np.zeros(BINS, dtype=np.int64)
        for _, measure in measured:
            first, *filled = measure[side]
            counts[first : first + len(filled)] += np.array(filled, dtype=np.int64)
        found[side] = counts.tolist()
    return found


def _hit(measured: Measured) -> dict[str, Any]:
    """Per ranking: mean and quantiles of the tokens needed, and the share of questions hit with the first k tokens."""
    sizes = np.array([measure["n"] for _, measure in measured])
    needed = {name: np.array([measure[f"hit_{name}"] for _, measure in measured]) for name in RANKINGS[:3]}
    needed["random"] = (sizes + 1) / (np.array([measure["n_on"] for _, measure in measured]) + 1)
    ticks = sorted({max(1, round(ratio * float(sizes.mean()))) for ratio in np.geomspace(1 / sizes.mean(), 1, 60)})
    found: dict[str, Any] = {"visual_tokens": round(float(sizes.mean()), 1), "budgets": ticks}
    for name, values in needed.items():
        found[name] = {
            "mean": round(float(values.mean()), 3),
            "quantiles": {f"{100 * at:g}": round(float(np.quantile(values, at)), 2) for at in QUANTILES},
        }
        if name != "random":
            found[name]["share_hit"] = [round(float((values <= budget).mean()), 4) for budget in ticks]
    return found
