"""The console command `adafv`: ask one question, check a model, open the page, run a study, deploy a Space.

Each subcommand imports what it needs when it runs, so that `adafv --help` costs nothing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from importlib import import_module
from typing import TYPE_CHECKING, Any

from adafv_core import __version__
from adafv_core.bundled import ROOT
from adafv_core.errors import AdaFVError

if TYPE_CHECKING:
    from adafv_core.types import Answer

_NOT_IN_JSON = ("selection", "selections", "first_logprobs", "draft_logprob")
_PAGE_PACKAGES = {"gradio": "gradio>=6.31,<7", "plotly": "plotly>=6.0", "yaml": "pyyaml>=6.0"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand. Returns 0, 2 on wrong input, 130 after Ctrl-C, or the subcommand's own exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in FORWARDED:
        return FORWARDED[words[0]][0](words[1:])
    return _ask(make_parser().parse_args(words))


def make_parser() -> argparse.ArgumentParser:
    """The command line, with the options of `ask`; the other subcommands have parsers of their own."""
    parser = argparse.ArgumentParser(
        prog="adafv", description="Training-free visual token pruning for LLaVA-style models."
    )
    parser.add_argument("--version", action="version", version=f"adafv {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    ask = commands.add_parser("ask", help="answer one question about one image")
    add = ask.add_argument
    add("image", metavar="IMAGE", help="an image file")
    add("question", metavar="QUESTION")
    how_many = ask.add_mutually_exclusive_group()
    how_many.add_argument(
        "--keep", type=float, metavar="RATIO", help="share of the visual tokens to keep, above 0 and at most 1 [0.1]"
    )
    how_many.add_argument(
        "--flops", type=float, metavar="RATIO", help="keep as many as cost at most this share of the prefill's FLOPs"
    )
    add("--method", default="adafv", help="pruning method [%(default)s]")
    add("--model", default="pocket", help="pocket, a model id, or a model folder [%(default)s]")
    add("--max-new-tokens", type=int, default=64, metavar="N", help="longest answer, in tokens [%(default)s]")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps [%(default)s]")
    add("--dtype", default="auto", help="auto, float32, bfloat16, float16 [%(default)s]")
    add("--quantization", choices=("8bit", "4bit"), help="load the LLM in 8 or 4 bits (needs bitsandbytes) [no]")
    add("--json", action="store_true", help="print the answer and what it cost as one JSON object")
    for name, (_, meaning) in FORWARDED.items():
        commands.add_parser(name, help=meaning, add_help=False)
    return parser


def _ask(options: argparse.Namespace) -> int:
    try:
        answer = _answer(options)
    except AdaFVError as error:
        return _complain(str(error), 2)
    except KeyboardInterrupt:
        return _complain("Stopped.", 130)
    if options.json:
        print(json.dumps(as_json(answer, options.model), ensure_ascii=False))
    else:
        print(answer.text)
        kept = f"{answer.n_kept} of {answer.n_visual} visual tokens kept"
        print(f"{kept}, {answer.ttft_s:.3f} s to the first token", file=sys.stderr)
    return 0


def _answer(options: argparse.Namespace) -> Answer:
    from transformers.utils import logging

    from adafv_core.engine import load

    logging.set_verbosity_error()
    if options.model == "pocket":  # any other model takes long enough to deserve progress bars
        logging.disable_progress_bar()
    engine = load(options.model, options.device, options.dtype, quantization=options.quantization)
    return engine.answer(
        options.image,
        options.question,
        options.keep,
        options.method,
        options.max_new_tokens,
        flops_ratio=options.flops,
    )


def as_json(answer: Answer, model: str) -> dict[str, object]:
    """The plain values of an answer, with its method and model."""
    values = {field.name: getattr(answer, field.name) for field in fields(answer) if field.name not in _NOT_IN_JSON}
    return {"model": model, "method": answer.selection.method, **values}


def _page(arguments: Sequence[str]) -> int:
    missing = [wanted for name, wanted in _PAGE_PACKAGES.items() if importlib.util.find_spec(name) is None]
    if missing:
        needs = " ".join(f'"{one}"' for one in missing)
        return _complain(f"The page needs packages that are not installed; run: pip install {needs}", 2)
    _import_app("app.__main__").main(arguments, prog="adafv page")
    return 0


def _bench(arguments: Sequence[str]) -> int:
    from adafv_core.bench.cli import main as run_benchmark

    return run_benchmark(arguments)


def _study(arguments: Sequence[str]) -> int:
    from adafv_core.study.cli import main as run_study

    return run_study(arguments, prog="adafv study")


def _check(arguments: Sequence[str]) -> int:
    from adafv_core.study.check_cli import main as check

    return check(arguments, prog="adafv check")


def _serve_vllm_proxy(arguments: Sequence[str]) -> int:
    from adafv_core.backends.vllm_proxy import main as run_proxy

    return run_proxy(arguments, prog="adafv serve-vllm-proxy")


def _prune_dataset(arguments: Sequence[str]) -> int:
    from adafv_core.study.prune_dataset import main as run_pruning

    return run_pruning(arguments, prog="adafv prune-dataset")


def _deploy(arguments: Sequence[str]) -> int:
    return int(_import_app("app.deploy.__main__").main(arguments, prog="adafv deploy"))


def _import_app(module: str) -> Any:
    """A module of the page. It is imported by name because the page depends on this library, not the reverse.

    Its folder goes first on the path, since another package named `app` may be installed.
    """
    sys.path.insert(0, str(ROOT))
    return import_module(module)


def _complain(text: str, status: int) -> int:
    print(f"error: {text}", file=sys.stderr)
    return status


FORWARDED: Mapping[str, tuple[Callable[[Sequence[str]], int], str]] = {
    "check": (_check, "measure whether AdaFV can be expected to work on a model"),
    "page": (_page, "open the page in a browser"),
    "bench": (_bench, "time encoding, selecting, prefill and decoding on this machine"),
    "study": (_study, "measure how much accuracy each method retains"),
    "prune-dataset": (_prune_dataset, "write kept tokens and pruned embeddings of a data set"),
    "serve-vllm-proxy": (_serve_vllm_proxy, "serve OpenAI-style image chats, pruned, before a vLLM server"),
    "deploy": (_deploy, "make or update a Hugging Face Space (in a clone)"),
}
"""Subcommands that parse their own arguments: the function to call, and the help text."""

if __name__ == "__main__":
    sys.exit(main())
