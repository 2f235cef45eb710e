"""The README: every path, example and table in it is run or resolved."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

from helpers.library_copy import add_method, copy_library, run_shared_tests
from helpers.made_scores import SHIPPED
from helpers.readme import BLOCKS, COMMANDS, README, ROOT
from helpers.running_app import running_app

from adafv_core.methods import METHODS
from app.settings import settings_table

MADE_BY_A_COMMAND = {".venv", ".venv/bin/python"}


def example(mark: str) -> str:
    """The one Python block that has this in it."""
    (found,) = [text for kind, text in BLOCKS if kind == "python" and mark in text]
    return found


def run_python(code: str, cwd: Path = ROOT) -> str:
    """What a program prints, started in a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def all_printed() -> dict[str, str]:
    """What the Python examples print that need no more than the library; one interpreter for all."""
    marks = ("engine.answer", "adafv_core.prune", "import measure")
    code = (
        "import contextlib, io, json, traceback\n"
        "shown = []\n"
        f"for code in {[example(one) for one in marks]!r}:\n"
        "    with contextlib.redirect_stdout(io.StringIO()) as out:\n"
        "        try:\n"
        "            exec(compile(code, 'example', 'exec'), {'__name__': '__main__'})\n"
        "        except Exception:\n"
        "            print(traceback.format_exc())\n"
        "    shown.append(out.getvalue())\n"
        "print(json.dumps(shown))"
    )
    return dict(zip(marks, json.loads(run_python(code).splitlines()[-1]), strict=True))


def printed(mark: str) -> str:
    """What the example with this in it prints."""
    text = all_printed()[mark]
    assert "Traceback" not in text, text
    return text


def test_ci_runs_the_test_command() -> None:
    (command,) = [line for line in COMMANDS if "tests/run.py" in line]
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    python, file = command.split()
    assert f'"$python" {file}' in script and f"python={python}\n" in script
    assert "timeout --kill-after=20 900 " in script


def test_the_requirements_are_exact() -> None:
    for name in ("requirements.txt", "requirements-test.txt"):
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        for line in lines:
            exact = r"#.*|-r requirements\.txt|[\w.-]+==[\w.]+(; sys_platform != \"win32\")?"
            assert re.fullmatch(exact, line), f"{name}: {line}"
    assert "torch==2.13.0" in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()


def test_paths() -> None:
    """What stands in backticks or links and looks like a path of this repository is there."""
    text = re.sub(r"^```.*?^```", "", README, flags=re.MULTILINE | re.DOTALL)
    names = re.findall(r"`([\w.-]+/[\w./-]*|[\w-]+\.(?:md|txt|py|toml))`", text) + re.findall(r"\]\(([^)#:]+)\)", text)
    assert len(names) > 8
    to_be_written = ("adafv_core/methods/first.py", "adafv_core/models/toy.py")
    missing = [name for name in names if not (ROOT / name).exists() and name not in to_be_written]
    missing = [name for name in missing if name not in MADE_BY_A_COMMAND]
    assert not missing


def test_the_methods_table() -> None:
    """A row for every method that comes with the library; one of somebody's own may have one, after them."""
    section = README.split("\n## Methods\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.*?)\|$", section, re.MULTILINE)
    assert [name for name, _, _ in rows] == list(METHODS)[: max(len(rows), len(SHIPPED))]
    for name, _, source in rows:
        file = (ROOT / "adafv_core" / "methods" / f"{name}.py").read_text(encoding="utf-8")
        for paper in re.findall(r"\d{4}\.\d{5}", source):
            assert paper in file, f"methods/{name}.py does not name arXiv {paper}"


def test_the_settings_table() -> None:
    between = README.split("<!-- settings:begin -->\n")[1].split("\n<!-- settings:end -->")[0]
    assert between == settings_table()


def test_it_says_what_the_pocket_model_is_not() -> None:
    assert "trained with the true masks" in README.replace("\n", " ")
    assert "do not show LLaVA's accuracy" in README.replace("\n", " ")
    assert README.count("<!-- results:begin -->") == README.count("<!-- results:end -->") == 1


def test_the_library_example() -> None:
    assert len([line for line in example("engine.answer").splitlines() if line]) == 5
    from adafv_core import load

    size = load("pocket").adapter.model.config.vision_config
    n_visual = (size.image_size // size.patch_size) ** 2
    assert printed("engine.answer").startswith(f"ring ({round(0.1 * n_visual)} of {n_visual} visual tokens")


def test_the_timing_example() -> None:
    lines = printed("import measure").splitlines()
    assert [line.split()[0] for line in lines] == ["1.0", "0.1"]
    assert all(re.search(r"prefill \d+\.\d ms, to the first token \d+\.\d ms$", line) for line in lines)


def test_the_drop_in_example() -> None:
    out = printed("adafv_core.prune").splitlines()
    assert re.fullmatch(r"\d+ visual tokens kept", out[-1]) and len(out) >= 2


def test_the_example_picture_is_the_drawn_scene() -> None:
    from PIL import Image, ImageChops

    from adafv_core.pocket.world.drawing import draw_scene
    from adafv_core.pocket.world.scenes import make_scene

    with Image.open(ROOT / "assets" / "example.png") as stored:
        assert ImageChops.difference(stored.convert("RGB"), draw_scene(make_scene(400000007))).getbbox() is None


def test_the_api_example(tmp_path: Path) -> None:
    with running_app("-m", "app") as (address, printed):
        assert any(address in line for line in printed)
        out = run_python(example("gradio_client").replace("http://127.0.0.1:7860", address)).splitlines()
    kept, visual, cache_bytes = (int(word) for word in out[-3].split()[-3:])
    assert 0 < kept < visual and cache_bytes > 0
    lengths = [int(word) for word in out[-2].split()]
    assert lengths == [visual, visual, visual, kept] and out[-1] == "[90]"


def test_the_method_example(tmp_path: Path) -> None:
    """The new file and the one line, in a copy of the library: it works, and passes what every method has to."""
    assert 'The line: `"first",` at the end of `_FILES` in `adafv_core/methods/__init__.py`.' in README
    copy_library(tmp_path)
    add_method(tmp_path, "first", example("class First"))
    code = (
        f"import sys; sys.path.append({str(ROOT / 'tests')!r})\n"
        "from helpers.made_scores import made_scores, select\n"
        "print(select('first', made_scores(), 3).indices.tolist())"
    )
    assert run_python(code, tmp_path).strip() == "[0, 1, 2]"
    run_shared_tests(tmp_path, "first")


def test_the_model_family_example() -> None:
    """The file makes an adapter, and the line's place is there; `test_models_adding.py` adds such a family."""
    names: dict[str, type] = {}
    exec(compile(example("class ToyAdapter"), "toy.py", "exec"), names)
    toy = names["ToyAdapter"]
    assert issubclass(toy, names["LlavaAdapter"]) and vars(toy)["model_type"] == "toy"
    assert '`"toy",` in `_FILES` of `adafv_core/models/__init__.py`' in README
    assert "\n_FILES = (" in (ROOT / "adafv_core" / "models" / "__init__.py").read_text(encoding="utf-8")
