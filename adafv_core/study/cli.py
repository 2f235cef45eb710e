"""The command line of `python -m adafv_core.study`."""

from __future__ import annotations

import argparse
import importlib.util
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from adafv_core.engine import Engine, load
from adafv_core.errors import AdaFVError, InputError
from adafv_core.study.data.base import DataSet, Omission
from adafv_core.study.data.pocket import STUDY_SCENES
from adafv_core.study.data.source import DataSource
from adafv_core.study.data.user import SUFFIX
from adafv_core.study.report.compare import main as compare
from adafv_core.study.report.summary import summarize
from adafv_core.study.report.summary_file import write_summary
from adafv_core.study.report.tables import duration, text_table
from adafv_core.study.run.configs import Config, at_equal_flops, check_keep_ratios, parse_configs
from adafv_core.study.run.inference import InferenceSettings
from adafv_core.study.run.results_writer import pack
from adafv_core.study.run.runner import Study

RATIOS = (1.0, 0.25, 0.10, 0.05)
_LISTED = 10
"""Omissions printed at the end; the summary has them all."""


def make_parser(prog: str = "python -m adafv_core.study") -> argparse.ArgumentParser:
    """Every option with its meaning and default."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Measure how much accuracy each method retains at each keep ratio. If interrupted, run the same "
        "command again to resume.",
        epilog=f"Compare two results files, question by question: {prog} compare A B",
    )
    add = parser.add_argument
    add("--model", default="pocket", help="pocket, a hub id, or a folder with a model [pocket]")
    add(
        "--methods",
        nargs="+",
        default=["all"],
        metavar="METHOD",
        help="method names, with options as in adafv:floor=0.25,temperature=30; oracle; blind; all; seeds (four more "
        "runs of random); or ablation (AdaFV with one option changed at a time) [all]",
    )
    add("--keep", nargs="+", type=float, default=list(RATIOS), metavar="RATIO", help="keep ratios [1 .25 .1 .05]")
    add(
        "--flops",
        nargs="+",
        type=float,
        default=[],
        metavar="SHARE",
        help="also compare at equal prefill FLOPs: budgets that cost at most these shares of the full prefill [none]",
    )
    add("--scenes", type=int, default=STUDY_SCENES, help=f"scenes of the bundled data set [{STUDY_SCENES}]")
    add(
        "--split",
        default="study",
        choices=("study", "validation"),
        help="split of the bundled data set: study for results, validation for tuning [study]",
    )
    add("--held-out-phrasings", action="store_true", help="use phrasings that the pocket model was never trained on")
    add("--images", help="folder with your own pictures, instead of the bundled data set; a path or a URL (s3://…)")
    add("--parquet", nargs="+", default=[], metavar="FILE", help="Parquet files or a folder of them, instead of those")
    add(
        "--annotations",
        nargs="+",
        default=[],
        metavar="FILE",
        help="COCO-style files (boxes or masks; captions or questions), or VQA-style questions without boxes",
    )
    add(
        "--strict",
        action="store_true",
        help="stop at the first entry, picture or question that cannot be used [leave it out and report it]",
    )
    add("--suffix", help=f"text appended to each question [none; for your own pictures {SUFFIX!r}]")
    add("--max-new-tokens", type=int, help="maximum answer length in tokens [8; for your own pictures 16]")
    add("--batch-size", type=int, help="questions per batch [64 on the pocket model, else 8]")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps [auto]")
    add("--dtype", default="auto", help="auto, float32, bfloat16, float16 [auto]")
    add("--ray", action="store_true", help="ask on a Ray cluster (docs/serving.md)")
    add("--ray-address", default="", metavar="ADDRESS", help="the cluster, such as auto [one on this machine]")
    add("--ray-workers", type=int, default=2, metavar="N", help="the most workers there, a model each [2]")
    add("--out", type=Path, help="results file, appended to [runs/study/MODEL-DATA.jsonl]")
    add("--store", type=Path, metavar="FOLDER", help="also write the summary and the gzipped results there")
    add("--name", help="name of the stored files [that of the results file]")
    return parser


def main(arguments: Sequence[str] | None = None, prog: str = "python -m adafv_core.study") -> int:
    """Run or resume a study, then print the table and write the summary beside the results; or compare two files.

    Returns 0; 1 if results could not be written; 2 on wrong input; 130 if interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["compare"]:
        return compare(words[1:], prog=f"{prog} compare")
    options = make_parser(prog).parse_args(words)
    try:
        return _run(options)
    except AdaFVError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; run the same command again to resume", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace) -> int:
    configs, ratios = _configs(options), check_keep_ratios(options.keep)
    source = _source(options)
    own = bool(source.images or source.parquet)
    suffix = options.suffix if options.suffix is not None else SUFFIX if own else ""
    longest = options.max_new_tokens or (16 if own else 8)
    study = _study_on_ray(options, source, suffix, longest) if options.ray else None
    if study is None:
        data = source.open()
        engine = load(options.model, options.device, options.dtype)
        pocket = options.model == "pocket" or _is_small(engine)
        settings = InferenceSettings(options.batch_size or (64 if pocket else 8), longest, suffix)
        file = options.out or _default_file(options.model, data)
        study = Study(engine, data, configs, ratios, file, settings, options.strict)
    data, file = study.data, study.file
    print(f"{data.name}: {len(data.items):,} questions, {study.total - study.done:,} of {study.total:,} answers to go")
    for note in data.notes:
        print(f"note: {note}", file=sys.stderr)
    try:
        _show_progress(study)
    finally:
        _print_omissions([*study.records.omitted, *study.records.damaged])
    summary = summarize(study.records)
    print(text_table(summary))
    if summary["answers_per_s"]:
        print(f"{summary['answers_per_s']} answers per second; {duration(summary['seconds'])} in all; {file}")
    if study.unwritten is not None:
        print(f"error: {study.unwritten}", file=sys.stderr)
        return 1
    try:
        unpacked = file.with_suffix("") if file.suffix == ".gz" else file
        write_summary(summary, unpacked.with_suffix(".summary.json"))
        if options.store:
            name = options.name or unpacked.stem
            write_summary(summary, options.store / f"{name}.json")
            pack(file, options.store / f"{name}.jsonl.gz")
    except OSError as error:
        print(f"error: the summary could not be written ({error.strerror}); all answers are in {file}", file=sys.stderr)
        return 1
    return 0


def _show_progress(study: Study) -> None:
    every_s = 0.2 if sys.stderr.isatty() else 30.0
    with tqdm(total=study.total, initial=study.done, unit=" answers", mininterval=every_s, dynamic_ncols=True) as bar:
        for progress in study.run():
            bar.set_postfix_str(progress.doing, refresh=False)
            bar.update(progress.done - bar.n)


def _print_omissions(omissions: Sequence[Omission]) -> None:
    if not omissions:
        return
    print(f"left out: {len(omissions):,}", file=sys.stderr)
    for omission in omissions[:_LISTED]:
        print(f"  {omission.where}: {omission.why}", file=sys.stderr)
    if len(omissions) > _LISTED:
        print(f"  … and {len(omissions) - _LISTED:,} more, all in the summary", file=sys.stderr)


def _configs(options: argparse.Namespace) -> tuple[Config, ...]:
    configs = parse_configs(options.methods)
    return configs + at_equal_flops(configs, options.flops)


def _source(options: argparse.Namespace) -> DataSource:
    """Where the data set comes from. Raises InputError for a mixture."""
    if options.parquet and (options.images or options.annotations):
        raise InputError("Give --parquet, or --images with --annotations, not both.")
    if bool(options.images) != bool(options.annotations):
        raise InputError("Your own data needs both: --images FOLDER and --annotations FILE.")
    return DataSource(
        images=options.images or "",
        annotations=tuple(options.annotations),
        parquet=tuple(options.parquet),
        split=options.split,
        scenes=options.scenes,
        held_out=options.held_out_phrasings,
        strict=options.strict,
    )


def _study_on_ray(options: argparse.Namespace, source: DataSource, suffix: str, longest: int) -> Study:
    if importlib.util.find_spec("ray") is None:
        raise InputError('--ray needs Ray: pip install "ray[data,serve]==2.60.0"')
    from adafv_core.study.run.on_ray import Cluster, Model, RayStudy

    settings = InferenceSettings(options.batch_size or (64 if options.model == "pocket" else 8), longest, suffix)
    return RayStudy(
        Model(options.model, options.device, options.dtype),
        source,
        _configs(options),
        check_keep_ratios(options.keep),
        options.out or _default_file(options.model, source.open()),
        settings,
        options.strict,
        Cluster(options.ray_address, options.ray_workers),
    )


def _default_file(model: str, data: DataSet) -> Path:
    return Path("runs/study") / f"{_plain_name(model)}-{_plain_name(data.name)}.jsonl"


def _is_small(engine: Engine) -> bool:
    return int(engine.model.num_parameters()) < 100_000_000


def _plain_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", Path(name).name).strip("-").lower()
