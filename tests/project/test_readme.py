"""README.md and docs/: every path, example and table is run or resolved."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest
from helpers.documents import COMMANDS, DOCUMENTS, EVERYTHING, README, ROOT, example, section
from helpers.library_copy import add_method, copy_library, run_shared_tests
from helpers.made_scores import SHIPPED

from adafv_core.loading.known_models import KNOWN_MODELS
from adafv_core.methods import METHODS
from app.settings import settings_table


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
    assert "timeout --kill-after=20 3000 " in script


def test_the_requirements_are_exact() -> None:
    for name in ("requirements.txt", "requirements-test.txt"):
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        for line in lines:
            exact = r"#.*|-r requirements\.txt|[\w.-]+==[\w.]+(; sys_platform != \"win32\")?"
            assert re.fullmatch(exact, line), f"{name}: {line}"
    assert "torch==2.13.0" in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("name", [*DOCUMENTS, "CONTRIBUTING.md", "SECURITY.md"])
def test_paths(name: str) -> None:
    """What looks like a path of this repository, in backticks or in a link, exists; so does a link's heading."""
    text = re.sub(r"^```.*?^```", "", (ROOT / name).read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    names = [ROOT / one for one in re.findall(r"`([\w.-]+/[\w./-]*|[\w-]+\.(?:md|txt|py|toml))`", text)]
    for link, heading in re.findall(r"\]\((?!http)([^)#]*)(?:#([^)]*))?\)", text):
        target = (ROOT / name).parent / link if link else ROOT / name
        names.append(target)
        if heading:
            titles = re.findall(r"^#+ (.+)$", target.read_text("utf-8"), re.MULTILINE)
            assert heading in [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]
    hub_ids = {known.model_id for known in KNOWN_MODELS}
    made_or_to_be_written = {".venv", "adafv_core/methods/first.py", "adafv_core/models/toy.py"}
    missing = {os.path.relpath(one, ROOT) for one in names if not one.exists()}
    assert not missing - made_or_to_be_written - hub_ids


def test_the_readme_is_short() -> None:
    assert len(README.encode()) <= 11 * 1024


def test_the_readme_links_every_document() -> None:
    assert not [name for name in DOCUMENTS if name != "README.md" and f"]({name}" not in README]


def test_the_methods() -> None:
    """A row for each method that comes with the library, with its options and its paper; the README names them all."""
    lines = re.findall(r"^\| [^|]+ \| `\w+` \|.*\|$", DOCUMENTS["docs/methods.md"], re.MULTILINE)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [name.strip("`") for _, name, *_ in rows] == list(METHODS)[: max(len(rows), len(SHIPPED))]
    for title, name, keeps, options, source in ((row[0], row[1].strip("`"), *row[2:]) for row in rows):
        assert title == METHODS[name].title and keeps == METHODS[name].keeps and source == METHODS[name].source
        assert re.findall(r"`(\w+)`", options) == [field.name for field in fields(METHODS[name])], name
        file = (ROOT / "adafv_core" / "methods" / f"{name}.py").read_text(encoding="utf-8")
        for paper in re.findall(r"\d{4}\.\d{5}", source):
            assert paper in file, f"methods/{name}.py does not name arXiv {paper}"
    before = [METHODS[name].title for name in SHIPPED if not METHODS[name].inside_llm]
    *inside, last = [METHODS[name].title for name in SHIPPED if METHODS[name].inside_llm]
    listed = f"{', '.join(before)} and, inside the LLM, {', '.join(inside)} and {last}."
    assert listed in " ".join(section("README.md", "Methods").split())


def test_the_tables_of_settings_and_models() -> None:
    """If this fails: python docs/generate.py"""
    command = [sys.executable, "docs/generate.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert settings_table() in DOCUMENTS["docs/settings.md"]
    for name in ("README.md", "docs/models.md"):
        assert all(f"`{known.model_id}`" in DOCUMENTS[name] for known in KNOWN_MODELS), name


def test_public_names_are_explained() -> None:
    import adafv_core

    table = DOCUMENTS["docs/api.md"].split("\n## HTTP")[0]
    assert set(adafv_core.__all__) <= set(re.findall(r"`(\w+)`", table))


def test_it_says_what_the_pocket_model_is_not() -> None:
    for name in ("README.md", "docs/models.md", "docs/results.md"):
        text = DOCUMENTS[name].replace("\n", " ")
        assert "trained with the true masks" in text and "do not show LLaVA's accuracy" in text
    for name in ("README.md", "docs/results.md"):
        assert DOCUMENTS[name].count("<!-- results:begin -->") == DOCUMENTS[name].count("<!-- results:end -->") == 1


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


def test_the_method_example(tmp_path: Path) -> None:
    """The new file and the one line, in a copy of the library: it works, and passes what every method has to."""
    assert 'The line: `"first",` at the end of `_FILES` in `adafv_core/methods/__init__.py`.' in EVERYTHING
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
    assert '`"toy",` in `_FILES` of `adafv_core/models/__init__.py`' in EVERYTHING
    assert "\n_FILES = (" in (ROOT / "adafv_core" / "models" / "__init__.py").read_text(encoding="utf-8")
