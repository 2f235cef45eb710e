"""Writes the pocket model's card from its measurements: `python -m adafv_core.pocket.training.card`."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import torch

from adafv_core.pocket.training.build import GRID, IMAGE_PX
from adafv_core.pocket.training.build import POCKET_DROP_SHARE as SHARE
from adafv_core.pocket.training.optimizing import VISION_SHARE
from adafv_core.pocket.world.phrasings import FAMILIES


def summarize_log(log: Path, minutes: float) -> dict[str, Any]:
    """Summarize a training log: steps, images, questions, minutes, last losses, and the machine."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    last = lines[-1]
    steps = [line["step"] - before for line, before in zip(lines, [0, *(line["step"] for line in lines)], strict=False)]
    not_losses = ("step", "progress", "images_per_s", "images_per_step", "questions_per_step", "machine", "answered")
    return {
        "steps": last["step"],
        "minutes": round(minutes),
        "images": sum(count * line["images_per_step"] for count, line in zip(steps, lines, strict=True)),
        "questions": sum(count * line["questions_per_step"] for count, line in zip(steps, lines, strict=True)),
        "machine": f"{processor_name()}, {os.cpu_count()} cores, torch {torch.__version__}",
        "answered_in_training_percent": round(100 * last.get("answered", 0.0), 1),
        "last_losses": {name: value for name, value in last.items() if name not in not_losses},
        "notes": "",
    }


def processor_name() -> str:
    """The CPU model name as the operating system reports it."""
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return names[0].split(":", 1)[1].strip() if names else platform.processor() or platform.machine()


def render(training: dict[str, Any], measured: dict[str, Any]) -> str:
    """Render the model card as Markdown."""
    full, held_out, without = (measured[name] for name in ("all_tokens", "held_out_phrasings", "without_named_tokens"))
    grounding, chance = measured["grounding"], measured["chance"]
    rows = "\n".join(
        f"| {family} | {_percent(full[family])} | {_percent(held_out[family])} | "
        f"{_percent(without.get(family))} | {_chance(chance, family)} |"
        for family in (*FAMILIES, "all")
        if family in full
    )
    weakest = min((f for f in FAMILIES), key=lambda f: full[f]["percent"])
    losses = ", ".join(f"{name} {value}" for name, value in training["last_losses"].items())
    bars = _bars(full, held_out, grounding, weakest)
    return f"""---
license: apache-2.0
library_name: transformers
pipeline_tag: image-text-to-text
---
# Pocket

A LLaVA built from stock classes (`LlavaForConditionalGeneration`: CLIP vision tower with [CLS], two-layer projector,
Llama), small enough to ship with AdaFV and trained from scratch on drawn scenes.
{GRID} × {GRID} = {GRID * GRID} visual tokens from {IMAGE_PX} × {IMAGE_PX} px, 5 vision layers (feature layer −2),
4 LLM layers, width 192, 3.9 M parameters, float32.
It exists to show how pruning behaves on a real, running model without a GPU or a download. It is not evidence about
LLaVA on photographs.

## What it knows
Scenes with one or two large shapes, small faint shapes and numbered cards on a textured background: 8 shapes,
8 colors, digits 0–9. English questions about attributes (color, shape, size), existence, location, reading, counting
(0–4), relations (what is left of, right of, above or below something) and the main object. Answers are single words.

## Measured
{measured["questions"]} questions on {measured["scenes"]} scenes of the {measured["split"]} split, greedy, through
`generate`; percent correct with 95 % Wilson intervals. "Without the named tokens" drops every visual token that shows
any part of what the question names or asks for; "most frequent" always gives the family's most frequent answer.

| family | all tokens | held-out phrasings | without the named tokens | most frequent |
| --- | --- | --- | --- | --- |
{rows}

- AUC of T2I similarity for the tokens of what the question names: {grounding["t2i_auc"]:.3f}; of saliency for large
  objects: {grounding["saliency_auc"]:.3f}.
- Large objects get {100 * grounding["large_attention"]:.0f} % of the [CLS] attention and cover
  {100 * grounding["large_area"]:.0f} % of the area: {grounding["large_ratio"]:.2f} times their share. The attention
  itself was never supervised.

{bars}

## Training
`python -m adafv_core.pocket.training.train` on {training["machine"]}: {training["minutes"]} minutes,
{training["steps"]} steps,
about {training["images"]:,} images from a pool of 40,000 scenes and {training["questions"]:,} questions, with other
load on the same cores. The first {100 * VISION_SHARE:.0f} % of the time went to vision and alignment, the rest to
training everything jointly. Last losses: {losses}.

- **Alignment was trained with ground-truth masks**: for each word that names something, the softmax of 100 · cosine
  over the visual tokens is pulled toward the patches that show it, and toward uniform for all other words. T2I
  similarity therefore works here by construction; in LLaVA it emerges.
- The names of the large objects are predicted from [CLS]; which patches it attends to for that was left to the model.
- In two LLM layers, some heads are trained to attend to what the question names; in the first layer, one head to the
  color word and one to the kind word. Without the latter the LLM did not learn that in "the red ring" the color matters
  too.
- Linear heads over the patches and over the projected tokens (kind, color, digit, place, size, count of the same
  shape, neighbors) provided extra supervision for the vision tower and the projector and were discarded.
- **It was trained with dropped tokens**: {100 * SHARE:.0f} % of the batches with questions kept only some of the visual
  tokens (log-uniform from 8 to all): tokens of random things, then random tokens, by no pruning method's rule. LLaVA
  was not trained this way. Without it this model relied on the background and broke down when pruned: at a keep ratio
  of 10 % it answered 11 % of 330 validation questions correctly, and 54 % with all tokens (AdaFV, after 38 minutes).
{training["notes"]}
## Limits
It knows only the words of these questions; any other word becomes `<unk>`. Any other image is out of distribution, and
it answers regardless. One question at a time: it was not trained on conversations. "The main object" means the largest.
The words "main", "biggest" and "largest" are not aligned with any patches: such questions need saliency.
"""


def _bars(full: dict[str, Any], held_out: dict[str, Any], grounding: dict[str, float], weakest: str) -> str:
    checks = [
        ("at least 95 % with all tokens", full["all"]["percent"], 95.0),
        (f"no family under 80 % (weakest: {weakest})", full[weakest]["percent"], 80.0),
        ("at least 85 % on held-out phrasings", held_out["all"]["percent"], 85.0),
        ("AUC of T2I similarity at least 0.95", grounding["t2i_auc"], 0.95),
        ("[CLS] attention on large objects at least 3 times their area", grounding["large_ratio"], 3.0),
    ]
    lines = [f"- {text}: {value:.3g}, {'met' if value >= bar else '**missed**'}" for text, value, bar in checks]
    missed = [
        "\nThe ratio of [CLS] attention was 3.4 after the vision phase and fell during joint training. A larger\n"
        "weight on naming the large objects in that phase, or freezing the tower toward its end, might fix it."
    ]
    return "Targets:\n\n" + "\n".join(lines + (missed if grounding["large_ratio"] < 3.0 else []))


def _chance(chance: dict[str, float], family: str) -> str:
    return f"{chance[family]:.1f}" if family in chance else ""


def _percent(row: dict[str, float] | None) -> str:
    return f"{row['percent']:.1f} ({row['low']:.1f}–{row['high']:.1f})" if row else ""


def main(argv: list[str] | None = None) -> None:
    """Write README.md next to the model's training.json and evaluation.json."""
    folder = Path((argv or ["assets/pocket"])[0])
    training, measured = (json.loads((folder / name).read_text()) for name in ("training.json", "evaluation.json"))
    (folder / "README.md").write_text(render(training, measured))
    print(f"wrote {folder / 'README.md'}")


if __name__ == "__main__":
    main(sys.argv[1:])
