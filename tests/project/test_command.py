"""The console command `adafv`: what it prints, and its exit status where something is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from adafv_core import cli
from adafv_core.bundled import ASSETS
from adafv_core.methods import METHODS

IMAGE, QUESTION = str(ASSETS / "example.png"), "What shape is the yellow thing?"


def test_the_answer_and_what_it_cost(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ask", IMAGE, QUESTION]) == 0
    printed = capsys.readouterr()
    assert printed.out == "ring\n"
    assert "20 of 196 visual tokens kept" in printed.err and "s to the first token" in printed.err


@pytest.mark.parametrize("method", ["full", "fastv", "visionzip"])
def test_any_method_as_json(method: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ask", IMAGE, QUESTION, "--method", method, "--keep", "0.5", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["method"] == method and answer["text"] and 0 < answer["n_kept"] <= answer["n_visual"]
    assert (answer["n_kept"] == answer["n_visual"]) == (method == "full")
    assert len(answer["token_ids"]) >= 1 and answer["finished"] is True


def test_a_share_of_the_prefill(capsys: pytest.CaptureFixture[str]) -> None:
    costs = []
    for arguments in (["--flops", "0.4"], ["--method", "full"]):
        assert cli.main(["ask", IMAGE, QUESTION, *arguments, "--json"]) == 0
        costs.append(json.loads(capsys.readouterr().out)["prefill_flops"])
    assert 0.39 < costs[0] / costs[1] <= 0.4


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["no-such.png", QUESTION], "no-such.png"),
        ([__file__, QUESTION], "cannot be read"),
        ([IMAGE, "  "], "question"),
        ([IMAGE, QUESTION, "--keep", "7"], "keep"),
        ([IMAGE, QUESTION, "--flops", "0"], "flops_ratio"),
        ([IMAGE, QUESTION, "--method", "fast"], ", ".join(METHODS)),
        ([IMAGE, QUESTION, "--max-new-tokens", "0"], "max_new_tokens"),
        ([IMAGE, QUESTION, "--model", "no/such"], "no/such"),
        ([IMAGE, QUESTION, "--device", "tpu"], "tpu"),
    ],
)
def test_wrong_input_is_one_sentence(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ask", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("error: ") and sentence in printed.err
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["paint"], ["ask"], ["ask", IMAGE], ["ask", IMAGE, QUESTION, "--keep", "x"]])
def test_a_wrong_command_line_shows_the_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2 and "usage: adafv" in capsys.readouterr().err


@pytest.mark.parametrize("name", [*cli.FORWARDED, "ask"])
def test_every_subcommand_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--help"])
    assert ended.value.code == 0 and f"usage: adafv {name}" in capsys.readouterr().out


def test_the_page_without_its_packages(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("gradio", "plotly"):
        monkeypatch.setitem(sys.modules, name, None)
    assert cli.main(["page"]) == 2
    assert 'pip install "gradio>=6.31,<7" "plotly>=6.0"' in capsys.readouterr().err


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; from adafv_core import cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'gradio', 'transformers', 'numpy', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    root = str(Path(cli.__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "usage: adafv" in done.stdout, done.stderr
