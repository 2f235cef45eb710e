"""Figures in README.md and docs/: each number in the prose is computed here, or in a table of published ones."""

from __future__ import annotations

import re

import pytest
from helpers.documents import DOCUMENTS, EVERYTHING

from adafv_core.cost import LLMShape, kv_cache_bytes, prefill_flops
from adafv_core.loading.known_models import find_known
from adafv_core.pocket.world.phrasings import FAMILIES
from app.serving.models import ON_A_GPU

VICUNA_7B = LLMShape(layers=32, hidden=4096, intermediate=11008, heads=32, kv_heads=32, head_dim=128, vocab=32000)
NEXT_7B = "llava-hf/llava-v1.6-vicuna-7b-hf"
IN_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
GPU_GIB = (8, 12, 16, 24, 40, 48, 80)
PUBLISHED_TIMES = """
| LLaVA-1.5-7B, 90 % | 62.75 ms prefill | FastV 32.2, VisionZip 36.9, SparseVLM 38.6 ms | SinkPruner, table 5 |
| LLaVA-NeXT-7B, 2,880 → 320 | 250 ms prefill | 38 ms | reported for CDPruner |
| LLaVA-NeXT-7B, 90 % | 3.8 samples/s | 6.7 samples/s (FasterVLM) | GlobalCom², table 4 |
"""
"""As printed by the sources that the last column names: the prefill times on POPE for SinkPruner's table."""
OF_EQUATIONS_AND_NAMES = ("docs/methods.md", "docs/models.md")
NAMES = (
    r"LLaVA-1\.5(-7B)?",
    r"LLaVA-NeXT-7B",
    r"Llama 2",
    r"Apache-2\.0",
    r"Python 3\.11",
    r"arXiv \d{4}\.\d{5}",
    r"http://127\.0\.0\.1:7860",
    r"layer 2 of the LLM",
    r"lmms-eval 0\.7\.3",
    r"Ray 2\.60",
    r"T2I",
    r"VQAv2",
    r"Qwen2-VL",
    r"\bs3\b",
)


def prose() -> str:
    """All documents without code, links, and the parts that a program writes."""
    text = "\n".join(text for name, text in DOCUMENTS.items() if name not in OF_EQUATIONS_AND_NAMES)
    text = re.sub(r"<!-- (\w+):begin -->.*?<!-- \1:end -->", "", text, flags=re.DOTALL)
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"`[^`\n]*`|\[!\[[^]]*\]\([^)]*\)\]\([^)]*\)|!?\[[^]]*\]\([^)]*\)", "", text)
    return re.sub(r"(?<=[^|\n])\n(?=[^\n|#-])", " ", text)


def computed() -> dict[str, str]:
    """The sentences with figures, by what they are about, as they have to read."""
    known, largest = find_known(ON_A_GPU), find_known(NEXT_7B)
    assert known is not None and largest is not None
    needs = known.download_bytes + kv_cache_bytes(VICUNA_7B, known.n_visual)
    gpu = min(size for size in GPU_GIB if size * 1024**3 > needs)
    small, large = (prefill_flops(VICUNA_7B, one.n_visual) / 1e12 for one in (known, largest))
    return {
        "size": f"LLaVA-1.5-7B needs about {known.download_bytes / 1e9:.0f} GB of disk and a GPU with {gpu} GB or more",
        "flops": f"the LLM prefill of LLaVA-1.5-7B with {known.n_visual} visual tokens is about {small:.1f} TFLOPs, "
        f"and that of LLaVA-NeXT-7B with {largest.n_visual:,} about {large:.1f}",
        "questions": f"{IN_WORDS[len(FAMILIES)]} kinds of questions",
    }


@pytest.mark.parametrize("subject", ["size", "flops", "questions"])
def test_computed_figures(subject: str) -> None:
    assert computed()[subject] in prose()


@pytest.mark.parametrize("row", PUBLISHED_TIMES.strip().splitlines())
def test_published_times(row: str) -> None:
    assert f"\n{row}\n" in EVERYTHING


def test_no_other_figure_is_in_the_prose() -> None:
    """A new one belongs into `computed`, into the table above, or among the names."""
    text = prose()
    for checked in (*computed().values(), *PUBLISHED_TIMES.strip().splitlines()):
        text = text.replace(checked, "")
    left = re.sub("|".join(NAMES), "", text)
    assert not re.findall(r".{0,40}\d.{0,20}", left)
