"""The command line of `python -m adafv_core.study`."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from adafv_core.engine import Engine, load
from adafv_core.errors import AdaFVError, InputError
from adafv_core.study.data.base import DataSet
from adafv_core.study.data.pocket import STUDY_SCENES, PocketSet
from adafv_core.study.data.user import SUFFIX, open_user_set
from adafv_core.study.report.summary import summarize
from adafv_core.study.report.summary_file import write_summary
from adafv_core.study.report.tables import text_table
from adafv_core.study.run.configs import check_keep_ratios, parse_rows
from adafv_core.study.run.inference import Settings
from adafv_core.study.run.progress import Bar, duration
from adafv_core.study.run.results_file import pack, read_records
from adafv_core.study.run.runner import Study

RATIOS = (1.0, 0.25, 0.10, 0.05)


def make_parser(prog: str = "python -m adafv_core.study") -> argparse.ArgumentParser:
    """Every option with its meaning and default."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Measure how much accuracy each method keeps at each share of the visual tokens. Interrupt it and "
        "run the same line again: it goes on where it stopped.",
    )
    add = parser.add_argument
    add("--model", default="pocket", help="pocket, a hub id, or a folder with a model [pocket]")
    add(
        "--methods",
        nargs="+",
        default=["all"],
        metavar="METHOD",
        help="names of methods, with options as in adafv:floor=0.25,temperature=30; oracle; blind; all; or ablation "
        "(AdaFV with one choice changed at a time) [all]",
    )
    add("--keep", nargs="+", type=float, default=list(RATIOS), metavar="RATIO", help="shares kept [1 .25 .1 .05]")
    add("--scenes", type=int, default=STUDY_SCENES, help=f"scenes of the bundled data set [{STUDY_SCENES}]")
    add(
        "--split",
        default="study",
        choices=("study", "validation"),
        help="scenes of the bundled data set: study for results, validation for choices [study]",
    )
    add("--held-out-phrasings", action="store_true", help="ask in words the pocket model was never trained on")
    add("--images", type=Path, help="folder with your own pictures, instead of the bundled data set")
    add(
        "--annotations",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="COCO-style files (boxes or masks; captions or questions), or VQA-style questions without boxes",
    )
    add("--suffix", help=f"text behind each question [none; for your own pictures {SUFFIX!r}]")
    add("--max-new-tokens", type=int, help="longest answer in tokens [8; for your own pictures 16]")
    add("--batch-size", type=int, help="questions at a time [64 on the pocket model, else 8]")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps [auto]")
    add("--dtype", default="auto", help="auto, float32, bfloat16, float16 [auto]")
    add("--out", type=Path, help="the study's file, appended to [runs/study/MODEL-DATA.jsonl]")
    add("--store", type=Path, metavar="FOLDER", help="also put the summary and the packed study there")
    add("--name", help="name of the stored files [the study file's]")
    return parser


def main(arguments: Sequence[str] | None = None, prog: str = "python -m adafv_core.study") -> int:
    """Run or go on with a study, then write its summary beside it and print the table. 0, or 2 on wrong input."""
    options = make_parser(prog).parse_args(arguments)
    try:
        return _run(options)
    except AdaFVError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace) -> int:
    rows, ratios = parse_rows(options.methods), check_keep_ratios(options.keep)
    data, suffix, tokens = _data(options)
    engine = load(options.model, options.device, options.dtype)
    pocket = options.model == "pocket" or _is_small(engine)
    settings = Settings(options.batch_size or (64 if pocket else 8), options.max_new_tokens or tokens, suffix)
    file = options.out or Path("runs/study") / f"{_plain_name(engine.name)}-{_plain_name(data.name)}.jsonl"
    study = Study(engine, data, rows, ratios, file, settings)
    print(f"{data.name}: {len(data.items):,} questions, {study.total - study.done:,} of {study.total:,} answers to go")
    bar = Bar()
    try:
        for progress in study.run():
            bar.show(progress)
    finally:
        bar.close()
    summary = summarize(read_records(file))
    write_summary(summary, file.with_suffix(".summary.json"))
    print(text_table(summary))
    if summary["answers_per_s"]:
        print(f"{summary['answers_per_s']} answers a second; {duration(summary['seconds'])} in all; {file}")
    if options.store:
        name = options.name or file.stem
        write_summary(summary, options.store / f"{name}.json")
        pack(file, options.store / f"{name}.jsonl.gz")
    return 0


def _data(options: argparse.Namespace) -> tuple[DataSet, str, int]:
    """The data set, what is put behind its questions, and how long its answers may be."""
    if options.images is None and options.annotations is None:
        held_out = options.held_out_phrasings
        return PocketSet(options.split, options.scenes, held_out), options.suffix or "", 8
    if options.images is None or options.annotations is None:
        raise InputError("Your own data needs both: --images FOLDER and --annotations FILE.")
    data = open_user_set(options.images, options.annotations)
    return data, SUFFIX if options.suffix is None else options.suffix, 16


def _is_small(engine: Engine) -> bool:
    return int(engine.model.num_parameters()) < 100_000_000


def _plain_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", Path(name).name).strip("-").lower()
