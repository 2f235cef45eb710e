"""Command lines in README.md and docs/: each is parsed by its program, each container is the one that was built."""

from __future__ import annotations

import argparse
import re
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from helpers.dockerfile import read_dockerfile
from helpers.documents import INLINE, ROOT, SHELL

from adafv_core import cli
from adafv_core.backends import vllm_proxy
from adafv_core.bench import cli as bench
from adafv_core.errors import AdaFVError
from adafv_core.loading.known_models import find_known
from adafv_core.methods import METHODS
from adafv_core.pocket.training import evaluate, train
from adafv_core.study import check_cli, prune_dataset
from adafv_core.study import cli as command
from adafv_core.study.report import documents as report
from adafv_core.study.report import draw
from adafv_core.study.run.configs import check_keep_ratios, parse_configs
from app.deploy import __main__ as deploy
from app.deploy.space import CPU_INDEX, STOCK_INDEX, SpaceError, make_space
from app.serving.models import AUTO, POCKET
from app.settings import make_parser, read_settings

INSTRUCTIONS = read_dockerfile(ROOT / "Dockerfile")
PYTHONS = ("python3.11", ".venv/bin/python", "python")
ADAFV = (".venv/bin/adafv", "adafv")


class Wrong(Exception):
    """A command line that does not do what the document says."""


def page(words: list[str]) -> argparse.Namespace:
    read_settings(words, {})
    return make_parser().parse_args(words)


def study(words: list[str]) -> argparse.Namespace:
    options = command.make_parser().parse_args(words)
    parse_configs(options.methods)
    check_keep_ratios(options.keep)
    return options


def space(words: list[str]) -> argparse.Namespace:
    options = deploy.make_parser().parse_args(words)
    make_space(options.space, options.sdk, deploy.hardware_of(options), options.model)
    return options


PARSERS: dict[str, Callable[[list[str]], argparse.Namespace]] = {
    "app": page,
    "app.deploy": space,
    "adafv_core.study": study,
    "adafv_core.study.report.draw": draw.make_parser().parse_args,
    "adafv_core.study.report": report.make_parser().parse_args,
    "adafv_core.pocket.training.evaluate": evaluate.make_parser().parse_args,
    "adafv_core.pocket.training.train": train.make_parser().parse_args,
}


def pruned_set(words: list[str]) -> argparse.Namespace:
    options = prune_dataset.make_parser().parse_args(words)
    expect(not METHODS[options.method].inside_llm, f"{options.method} selects inside the LLM")
    return options


def proxy(words: list[str]) -> argparse.Namespace:
    options = vllm_proxy.make_parser().parse_args(words)
    vllm_proxy.check_upstream(options.upstream)
    return options


FORWARDED = {"check": check_cli.make_parser().parse_args, "page": page, "study": study, "deploy": space}
FORWARDED |= {"bench": bench.make_parser().parse_args}
FORWARDED |= {"prune-dataset": pruned_set, "serve-vllm-proxy": proxy}
VLLM = ["--model", "--host", "--port", "--enable-prompt-embeds", "--dtype", "--max-model-len", "--enforce-eager"]
"""The flags of vLLM's server that were tried."""
LMMS_EVAL = {"--model", "--tasks", "--batch_size", "--output_path"}
"""The flags of lmms-eval that were tried, beside the model's arguments."""


def check_block(text: str) -> None:
    """Every command of a code block. Raises Wrong, SystemExit (from a parser), or an error of the project's."""
    built: dict[str, str] = {}
    cloned = ""
    for line in text.splitlines():
        for part in line.split(" && "):
            words = shlex.split(part)
            if words[0] in PYTHONS:
                check_python(words[1:])
            elif words[0] in ADAFV:
                check_adafv(words[1:])
            elif words[:2] == ["git", "clone"]:
                cloned = words[3]
            elif words[0] == "cd":
                expect(words[1:] == [cloned], f"cd {words[1]} after a clone into {cloned}")
            elif words[:2] == ["docker", "build"]:
                check_build(words[2:], built)
            elif words[:2] == ["serve", "deploy"]:
                expect((ROOT / words[2]).is_file() and not words[3:], f"{words[2]} is not there")
            elif words[:3] == ["docker", "compose", "-f"]:
                services = yaml.safe_load((ROOT / words[3]).read_text(encoding="utf-8"))["services"]
                expect("adafv" in built, f"the image of {words[3]} stands on one that was not built")
                expect(words[4:6] == ["up", "--scale"] and words[6].split("=")[0] in services, f"{words[4:]}")
            elif words[:2] == ["docker", "run"]:
                check_run(words[2:], built)
            else:
                raise Wrong(f"no test knows the command {part}")


def check_python(words: list[str]) -> None:
    """A file that is there, or a module whose parser takes the arguments and whose model is known."""
    if words[0] != "-m":
        expect((ROOT / words[0]).is_file(), f"{words[0]} is not there")
    elif words[1] == "venv":
        expect(words[2:] == [".venv"], "the commands use .venv")
    elif words[1:3] == ["pip", "install"] and words[-1].startswith("."):
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        extras = [f".[{name}]" for name in project["project"]["optional-dependencies"]]
        expect(words[3:] in [["."], *([one] for one in extras)], f"{words[-1]} is none of {extras}")
    elif words[1] == "vllm.entrypoints.openai.api_server":
        expect({word for word in words if word.startswith("--")} <= set(VLLM), f"vLLM and {words}")
        expect(words[words.index("--host") + 1] == "127.0.0.1", "embeddings are taken on loopback only")
    elif words[1] == "lmms_eval":
        given = dict(zip(words[2:-1:2], words[3:-1:2], strict=True))
        arguments = dict(one.split("=") for one in given.pop("--model_args").split(","))
        expect(words[-1] == "--log_samples" and set(given) == LMMS_EVAL, f"lmms-eval and {words}")
        expect(given["--model"] == "adafv" and arguments.pop("method") in METHODS, f"{words} name no method")
        expect(find_known(arguments.pop("pretrained")), f"{words} name no known model")
        check_keep_ratios([float(arguments.pop("keep_ratio"))])
        expect(set(arguments) == {"device"}, f"{arguments} are no arguments of the model")
    elif words[1] == "pytest":
        files = [word for word in words[2:] if word.endswith(".py")]
        expect(files and all((ROOT / file).is_file() for file in files), f"{files} are not there")
    elif words[1] == "pip":
        expect(words[2:-1] == ["install", "-q", "-r"] and (ROOT / words[-1]).is_file(), f"pip and {words[2:]}")
    else:
        expect(words[1] in PARSERS, f"no test knows python -m {words[1]}")
        model = getattr(PARSERS[words[1]](words[2:]), "model", None)
        expect(model in (None, AUTO, POCKET) or find_known(str(model)), f"{model} is not in the registry")


def check_adafv(words: list[str]) -> None:
    """A subcommand whose parser takes the arguments, and for `ask` an image and a method that are there."""
    if words[0] in FORWARDED:
        if words[1:] != ["--help"]:
            model = getattr(FORWARDED[words[0]](words[1:]), "model", None)
            expect(model in (None, AUTO, POCKET) or find_known(str(model)), f"{model} is not in the registry")
        return
    options = cli.make_parser().parse_args(words)
    expect(options.image == "IMAGE" or (ROOT / options.image).is_file(), f"{options.image} is not there")
    expect(options.method in METHODS, f"there is no method {options.method}")


def check_build(words: list[str], built: dict[str, str]) -> None:
    """`docker build`: of this folder, with arguments that the Dockerfile has; the tag and its torch are noted."""
    options = docker_options(("--build-arg", "-t"), words)
    expect(options.rest == ["."], f"a build of {options.rest}")
    known = dict(one.text.split("=", 1) for one in INSTRUCTIONS if one.name == "ARG")
    given = dict(one.split("=", 1) for one in options.build_arg)
    expect(set(given) <= set(known), f"the Dockerfile has no {set(given) - set(known)}")
    index = {**known, **given}["TORCH_INDEX"]
    expect(index in (CPU_INDEX, STOCK_INDEX), f"no torch is at {index}")
    built[options.t[0]] = index


def check_run(words: list[str], built: dict[str, str]) -> None:
    """`docker run`: of what was built, on the port it listens to, on a GPU where its torch is for one."""
    options = docker_options(("--gpus", "-p", "-v"), words)
    (tag,) = options.rest
    expect(tag in built, f"{tag} runs, but {list(built)} was built")
    ports = [one.text for one in INSTRUCTIONS if one.name == "EXPOSE"]
    expect([one.split(":")[-1] for one in options.p] == ports, f"{options.p} is not the port {ports}")
    expect(bool(options.gpus) == (built[tag] == STOCK_INDEX), "a torch for CPUs on a GPU, or the reverse")
    (values,) = [one.words for one in INSTRUCTIONS if one.name == "ENV"]
    home = dict(word.split("=", 1) for word in values)["HF_HOME"]
    expect(all(one.split(":")[-1] == home for one in options.v), f"models lie in {home}, not in {options.v}")


def docker_options(names: tuple[str, ...], words: list[str]) -> argparse.Namespace:
    """The options of these names, as lists, and `rest`; any other option ends the program."""
    parser = argparse.ArgumentParser(prog="docker", allow_abbrev=False)
    for name in names:
        parser.add_argument(name, action="append", default=[])
    parser.add_argument("--rm", action="store_true")
    parser.add_argument("rest", nargs="+")
    return parser.parse_args(words)


def expect(holds: object, otherwise: str) -> None:
    if not holds:
        raise Wrong(otherwise)


@pytest.mark.parametrize("text", [*SHELL, *INLINE])
def test_commands(text: str) -> None:
    check_block(text)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("--hardware t4-small --sdk docker", "--hardware t4-tiny --sdk docker"),
        ("--sdk docker", "--sdk doker"),
        ("--split test", "--split nosuch"),
        ("adafv_core.study --model llava-hf/llava-1.5-7b-hf", "adafv_core.study --methods nonsense"),
        ("adafv_core.study --model llava-hf/llava-1.5-7b-hf", "adafv_core.study --keep 7"),
        ("--model llava-hf/llava-1.5-7b-hf", "--model llava-hf/no-such-model"),
        ("--minutes 90", "--minutes abc"),
        ("-m app ", "-m app --port 70000 "),
        ("OWNER/NAME", "OWNER/na..me"),
        ("-t adafv", "-t foo"),
        ("7860:7860 adafv", "7860:7860 bar"),
        ("7860:7860", "7860:7861"),
        ("--gpus all ", ""),
        ("TORCH_INDEX=", "TORCH="),
        (":/home/user/.cache/huggingface", ":/models"),
        ("tests/run.py", "tests/runs.py"),
        ("-r requirements.txt", "-r requirement.txt"),
        ("cd adafv", "cd adafw"),
        ('".[app]"', '".[web]"'),
        ("--keep 0.1", "--keep a"),
        ("ask assets/example.png", "ask assets/none.png"),
        ("adafv page", "adafv pages"),
        ("adafv page --port 7861", "adafv page --ports 7861"),
        ("--backend ray", "--backend rays"),
        ("--ray-gpus 1", "--ray-gpus one"),
        ("prune-dataset pocket pruned", "prune-dataset pocket"),
        ("--upstream http://127.0.0.1", "--upstream http://10.0.0.1"),
        ("deploy docs/serving/serve.yaml", "deploy docs/serving/serves.yaml"),
        ("--scale worker=2", "--scale workers=2"),
        ("--host 127.0.0.1 --port 8000", "--host 0.0.0.0 --port 8000"),
        ("study --ray ", "study --rays "),
        ("--shapes pocket", "--shapes pockets"),
    ],
)
def test_a_wrong_command_is_noticed(right: str, wrong: str) -> None:
    changed = [text.replace(right, wrong) for text in SHELL if right in text]
    assert changed, f"no document has {right}"
    for text in changed:
        with pytest.raises((Wrong, SystemExit, AdaFVError, SpaceError)):
            check_block(text)


def test_every_program_with_a_command_line_is_known() -> None:
    files = [file for folder in ("adafv_core", "app") for file in (ROOT / folder).rglob("*.py")]
    declared = r'(?:ArgumentParser\(\s*prog=|def make_parser\(prog: str = )"python -m ([\w.]+)"'
    programs = re.findall(declared, "".join(map(Path.read_text, files)))
    assert sorted(programs) == sorted(PARSERS)
