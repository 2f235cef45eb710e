"""The package: a wheel built from the source distribution, installed into an empty environment, used from elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pytest
from helpers.running_app import running_app

import adafv_core
from adafv_core.bundled import ASSETS

ROOT = Path(__file__).resolve().parents[2]
QUESTION = "What shape is the yellow thing?"
BUNDLED = "adafv_core/_bundled/"


@dataclass(frozen=True)
class Installed:
    """wheel: the file that was installed. python, adafv: programs of the environment. folder: an empty one."""

    wheel: Path
    python: Path
    adafv: Path
    folder: Path

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.adafv), *words], cwd=self.folder, env=clean(), capture_output=True, text=True, timeout=120
        )


def clean() -> dict[str, str]:
    """The environment of a user who knows nothing of this clone."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "ADAFV", "GRADIO"))}


def run(*words: str, cwd: Path = ROOT) -> None:
    done = subprocess.run([sys.executable, "-m", *words], cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """Built offline with the hatchling that is installed here. Dependencies come from this environment by a path file,
    which, unlike `--system-site-packages`, processes no other path file: an editable install stays out of sight."""
    folder = tmp_path_factory.mktemp("package")
    run("build", "--no-isolation", "--outdir", str(folder), str(ROOT))
    (wheel,) = folder.glob("*.whl")
    environment = folder / "environment"
    run("venv", "--without-pip", str(environment))
    programs = environment / ("Scripts" if os.name == "nt" else "bin")
    python = programs / "python"
    run("pip", "--python", str(python), "install", "-q", "--no-index", "--no-deps", str(wheel))
    (site_packages,) = environment.glob("**/site-packages")
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    yield Installed(wheel, python, programs / "adafv", elsewhere)


def names_in(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


def test_it_claims_no_name_but_its_own(installed: Installed) -> None:
    assert {name.split("/")[0].split("-")[0] for name in names_in(installed.wheel)} == {"adafv_core", "adafv"}
    code = "import importlib.util as find; print(find.find_spec('app'), find.find_spec('adafv_core').origin)"
    done = subprocess.run([str(installed.python), "-c", code], cwd=installed.folder, env=clean(), capture_output=True)
    found, origin = done.stdout.decode().split()
    assert found == "None" and Path(origin).is_relative_to(installed.wheel.parent / "environment")


def test_model_results_and_page_are_inside_and_nothing_else(installed: Installed) -> None:
    """Every tracked file of the page and the assets, but the picture that only the README shows."""
    listed = subprocess.run(
        ["git", "ls-files", "adafv_core", "app", "assets"], cwd=ROOT, capture_output=True, text=True
    )
    tracked = listed.stdout.split()
    if not tracked:  # not a checkout: what a Space needs most
        tracked = ["app/main.py", "app/static/page.css", "assets/pocket/config.json", "adafv_core/py.typed"]
    names = names_in(installed.wheel)
    shown = {name for name in tracked if name.startswith("assets/screenshot") or name.endswith(".webp")}
    wanted = {name if name.startswith("adafv_core/") else BUNDLED + name for name in set(tracked) - shown}
    assert wanted <= names
    assert not [name for name in names if "__pycache__" in name or "/tests/" in name]
    assert installed.wheel.stat().st_size < 20 * 1024**2
    (source,) = installed.wheel.parent.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        assert archive.getmember(f"adafv-{adafv_core.__version__}/CHANGELOG.md").size > 0


def test_a_question_from_another_folder(installed: Installed) -> None:
    done = installed.run("ask", str(ASSETS / "example.png"), QUESTION, "--keep", "0.1", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["text"], answer["n_kept"], answer["n_visual"]) == ("ring", 20, 196)
    assert (answer["model"], answer["method"]) == ("pocket", "adafv") and answer["kv_cache_bytes"] > 0


def test_the_page_from_another_folder(installed: Installed) -> None:
    """It opens, and finds the stored study."""
    from gradio_client import Client

    command = (str(installed.adafv), "page")
    with running_app(*command, cwd=installed.folder, python=str(installed.python)) as (address, printed):
        assert any(address in line for line in printed)
        assert "pocket" in json.dumps(Client(address, verbose=False).predict(api_name="/study_results"))


def test_deploying_needs_a_clone(installed: Installed) -> None:
    done = installed.run("deploy", "owner/name", "--dry-run")
    assert done.returncode == 1 and "run this in a clone of the repository" in done.stderr


def test_the_version_is_the_change_log_s(installed: Installed) -> None:
    version = adafv_core.__version__
    assert installed.run("--version").stdout == f"adafv {version}\n"
    assert f"\n## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_floors_are_not_above_what_is_tested() -> None:
    """Each `>=` in pyproject.toml is at most the version that requirements.txt pins."""
    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("requirements.txt", "requirements-test.txt"))
    pinned = {
        one.name.lower(): str(one.specifier).removeprefix("==")
        for one in map(Requirement, [line for line in lines.splitlines() if "==" in line and line[0] not in "#-"])
    }
    for requirement in map(Requirement, chain(project["dependencies"], *project["optional-dependencies"].values())):
        if any(one.operator == "==" for one in requirement.specifier):
            continue  # of an environment of its own, which the extra itself pins
        assert requirement.specifier.contains(pinned[requirement.name.lower()]), requirement
