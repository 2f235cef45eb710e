"""Records of a made-up study, for reports and the Study tab."""

from __future__ import annotations

from adafv_core.study.run.results_file import Records

SCORES = {
    ("full", 1.0): (1, 1, 1, 1, 1, 0),
    ("adafv", 0.1): (1, 1, 1, 0, 1, 0),
    ("saliency", 0.1): (0, 0, 0, 0, 1, 0),
    ("t2i", 0.1): (1, 1, 1, 0, 1, 1),
    ("blind", None): (0, 0, 0, 0, 0, 0),
}


FAMILIES = ("attribute", "attribute", "reading", "reading", "salient", "salient")


def records() -> Records:
    """Three pictures with two questions each; every figure below follows from these lines."""
    made = Records()
    made.header = {
        "kind": "header",
        "format": 1,
        "data": {"name": "made"},
        "asking": {},
        "versions": {},
        "model": {"name": "none", "weights": "0", "dtype": "float32"},
    }
    made.take({"kind": "session", "machine": {"processor": "P", "cores": 2, "threads": 2, "device": "cpu"}})
    for q, family in enumerate(FAMILIES):
        made.take({"kind": "question", "q": q, "image": f"p{q // 2}", "family": family, "answers": ["x"]})
        made.take(
            {
                "kind": "measure",
                "q": q,
                "n": 100,
                "n_on": 9,
                "auc_t2i": 0.9 + 0.01 * q,
                "auc_saliency": 0.5,
                "hit_t2i": 1,
                "hit_saliency": 10 * (q + 1),
                "hit_adafv": 2,
                "on": [60, 3],
                "off": [40, 5, 0, 1],
            }
        )
    for (row, keep), scores in SCORES.items():
        for q, score in enumerate(scores):
            heads = {"k_text": 4, "k_visual": 8} if row == "adafv" else {}
            line = {"kind": "answer", "row": row, "keep": keep, "q": q, "text": "x", "score": score, "kept": 10}
            made.take({**line, **heads})
    made.take({"kind": "time", "answers": 30, "seconds": 6.0})
    return made
