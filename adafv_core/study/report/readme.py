"""The README's results section, written from stored results: `python -m adafv_core.study.report`.

Everything between the markers `<!-- results:begin -->` and `<!-- results:end -->` is replaced; `--check` only says
whether it would change.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from adafv_core.errors import AdaFVError, InputError
from adafv_core.study.report import markdown as parts
from adafv_core.study.report.published import SOURCE
from adafv_core.study.report.summary_file import Summary, read_summary
from adafv_core.study.report.tables import ratios_of, reduction

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
MAIN, ABLATION = "pocket", "ablation"
COMMANDS = """\
python -m adafv_core.study --model pocket --methods all --keep 1.0 0.25 0.10 0.05 --store assets/results --name pocket
python -m adafv_core.study --methods ablation --split validation --store assets/results --name ablation
python -m adafv_core.study.report.draw assets/results/pocket.json
python -m adafv_core.study.report"""


def section(main: Summary, ablation: Summary | None) -> str:
    """The text between the markers. main: a study of all methods. ablation: one of AdaFV's choices."""
    ratios = ratios_of(main)
    middle = 0.1 if 0.1 in ratios else ratios[len(ratios) // 2]
    compared = ("full", "adafv", "t2i", "saliency", "fixed_mix", "random", "oracle", "blind")
    parts_of = [
        "This section is written by `python -m adafv_core.study.report` from `assets/results/`.",
        parts.what(main),
        f"![Figure 1: accuracy against reduction](assets/results/{MAIN}-figure-1.png)",
        parts.main_table(main),
        "`oracle` knows the true tokens and keeps them first; `blind` has a single token of the ground. They "
        "bound what a method can be expected to do. At a reduction of 0 every method is `full`.",
        "**Against the paper's averages.**\n\n" + parts.expectation(main),
        "**Where AdaFV does not win.**\n\n" + parts.not_won(main),
        f"**By question family, {reduction(middle)}**, accuracy in %:\n\n" + parts.family_table(main, middle, compared),
        "<details><summary>Paired tests of AdaFV against each other method</summary>\n\n"
        + parts.paired_table(main)
        + "\n\n</details>",
        "**Why it works: figures 2 to 4.** " + parts.figures_said(main),
        "\n".join(
            f"![{name}](assets/results/{MAIN}-figure-{number}.png)"
            for number, name in (
                (2, "Figure 2: AUC of T2I attention and of saliency"),
                (3, "Figure 3: T2I similarity on and off the object"),
                (4, "Figure 4: tokens to keep to hit the object"),
            )
        ),
        f"**Beside the published table** ({SOURCE}; last column ours):\n\n" + parts.published_table(main),
        "Models and data differ: their columns are LLaVA-NeXT-7B on photographs, ours a 4 M parameter model on drawn "
        "scenes, whose text–image alignment was trained with the true masks of the objects. Our numbers show the "
        "mechanism, not LLaVA's accuracy; `fastv` and `saliency` are our own implementations.",
    ]
    if ablation is not None:
        parts_of += [
            "**Ablation**, one choice changed at a time, on scenes kept apart for choices "
            f"(“{ablation['data']['name']}”, {ablation['questions']:,} questions):",
            parts.main_table(ablation),
            "The defaults (floor 0, temperature 100, the question's own words, contiguous positions) follow the paper "
            "where it states one; nothing was tuned on the questions reported above.",
        ]
    parts_of.append("To measure it again:\n\n```bash\n" + COMMANDS + "\n```")
    return "\n\n".join(parts_of)


def with_section(readme: str, text: str) -> str:
    """The README with everything between its markers replaced. Raises InputError where a marker is missing."""
    begin, end = readme.find(BEGIN), readme.find(END)
    if begin < 0 or end < begin:
        raise InputError(f"The README needs the lines {BEGIN} and {END}, in this order; one is missing.")
    return readme[: begin + len(BEGIN)] + "\n" + text + "\n" + readme[end:]


def stored(folder: Path) -> str:
    """The section from a folder of stored summaries."""
    ablation = folder / f"{ABLATION}.json"
    return section(read_summary(folder / f"{MAIN}.json"), read_summary(ablation) if ablation.exists() else None)


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m adafv_core.study.report", description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("assets/results"), help="folder of stored summaries")
    parser.add_argument("--readme", type=Path, default=Path("README.md"))
    parser.add_argument("--check", action="store_true", help="change nothing; 1 if the README is out of date")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. 0; 1 where `--check` finds the README out of date; 2 on wrong input."""
    options = make_parser().parse_args(arguments)
    try:
        old = options.readme.read_text(encoding="utf-8")
        new = with_section(old, stored(options.results))
    except (AdaFVError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.check:
        return int(old != new)
    options.readme.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
