"""Published results to compare with: accuracy of LLaVA-NeXT-7B with 2,880 visual tokens.

From the README of the authors' code (AdaV, Findings of ACL 2025). Not measured by this project.
"""

from __future__ import annotations

from dataclasses import dataclass

SOURCE = "LLaVA-NeXT-7B, 2,880 visual tokens, as the authors published it"
BENCHMARKS = ("GQA", "SQA-IMG", "TextVQA", "POPE", "MME", "MMB", "MM-Vet")


@dataclass(frozen=True)
class PublishedRow:
    """reduction: the share of visual tokens dropped. scores: by BENCHMARKS. average: percent of full."""

    method: str
    reduction: float
    scores: tuple[float, ...]
    average: float


LLAVA_NEXT_7B = (
    PublishedRow("full", 0.0, (62.93, 69.66, 59.59, 86.32, 1513.78, 67.70, 42.60), 100.0),
    PublishedRow("FastV", 0.75, (60.38, 69.81, 58.39, 83.09, 1477.31, 65.64, 41.10), 97.35),
    PublishedRow("SparseVLM", 0.75, (60.88, 67.48, 58.08, 70.99, 1446.10, 63.83, 38.00), 93.19),
    PublishedRow("FasterVLM", 0.75, (61.31, 68.82, 59.33, 85.50, 1480.68, 67.35, 40.40), 98.14),
    PublishedRow("AdaV", 0.75, (62.04, 69.31, 58.37, 87.20, 1509.36, 67.35, 39.70), 98.49),
    PublishedRow("FastV", 0.90, (55.86, 69.26, 55.69, 71.66, 1282.86, 61.60, 22.70), 84.81),
    PublishedRow("SparseVLM", 0.90, (56.12, 68.62, 51.97, 63.23, 1332.22, 54.47, 24.70), 82.08),
    PublishedRow("FasterVLM", 0.90, (58.12, 68.12, 57.57, 80.00, 1370.11, 63.32, 35.70), 92.47),
    PublishedRow("AdaV", 0.90, (60.65, 68.57, 57.09, 85.98, 1503.25, 66.32, 36.00), 96.00),
    PublishedRow("FastV", 0.95, (49.83, 68.52, 51.85, 51.66, 1079.46, 54.90, 21.90), 75.46),
    PublishedRow("FasterVLM", 0.95, (54.73, 68.86, 55.97, 72.89, 1225.96, 60.48, 31.90), 87.06),
    PublishedRow("AdaV", 0.95, (58.53, 68.91, 55.11, 85.25, 1452.91, 65.20, 36.20), 94.35),
)

SAME_AS_OURS = {"AdaV": "adafv", "FasterVLM": "saliency", "FastV": "fastv", "SparseVLM": "sparsevlm", "full": "full"}
"""Published method names → our row labels."""
