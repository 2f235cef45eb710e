"""The command line of `adafv check`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from adafv_core.engine import load
from adafv_core.errors import AdaFVError, InputError
from adafv_core.study.check import AlignmentCheck, check_alignment
from adafv_core.study.data.user import open_user_set


def make_parser(prog: str = "adafv check") -> argparse.ArgumentParser:
    """Every option with its meaning and default."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Measure in about a minute whether AdaFV can be expected to work on a model: whether T2I attention "
        "finds the objects that a question names, and whether saliency is concentrated. Exit status 1 if not.",
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="pocket, a hub id, or a folder with a model")
    add("--images", type=Path, metavar="FOLDER", help="folder with your own pictures, instead of drawn scenes")
    add("--annotations", nargs="+", type=Path, metavar="FILE", help="COCO-style files: boxes or masks of their objects")
    add("--seconds", type=float, default=60.0, help="no further picture is begun after this time [60]")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps [auto]")
    add("--dtype", default="auto", help="auto, float32, bfloat16, float16 [auto]")
    add("--quantization", choices=("8bit", "4bit"), help="load the LLM in 8 or 4 bits (needs bitsandbytes) [no]")
    add("--json", action="store_true", help="print what was measured as one JSON object")
    return parser


def main(arguments: Sequence[str] | None = None, prog: str = "adafv check") -> int:
    """Measure and print.

    Returns 0; 1 if AdaFV cannot be expected to work, or nothing can be said; 2 on wrong input; 130 if interrupted.
    """
    options = make_parser(prog).parse_args(arguments)
    try:
        found = _measure(options)
    except AdaFVError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    if options.json:
        print(json.dumps({"verdict": found.verdict, "sentence": found.sentence(), **asdict(found)}, ensure_ascii=False))
    else:
        print(found.text())
    return int(found.verdict in ("no", "unknown"))


def _measure(options: argparse.Namespace) -> AlignmentCheck:
    if (options.images is None) != (options.annotations is None):
        raise InputError("Your own data needs both: --images FOLDER and --annotations FILE.")
    data = None if options.images is None else open_user_set(options.images, options.annotations)
    if data is not None and not data.has_objects:
        raise InputError("These annotations hold no objects; `adafv check` needs COCO-style boxes or masks.")
    engine = load(options.model, options.device, options.dtype, quantization=options.quantization)
    return check_alignment(engine, data, options.seconds)
