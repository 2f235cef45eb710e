"""Deploying: which files of a folder are published, with git and without it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from app.deploy.__main__ import describe
from app.deploy.space import Space, SpaceError, make_space

ROOT = Path(__file__).resolve().parents[2]
SECRETS = ("app/.env", "app/.DS_Store", "app/.ipynb_checkpoints/a.py", "assets/key.pem", "app/prod.env", "app/a.py~")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small project: all that is published has to come from here."""
    for name in ("README.md", "requirements.txt"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    for name in ("LICENSE", "app/main.py", "adafv_core/engine/engine.py", "assets/a.json", *SECRETS):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"this is {name}")
    return tmp_path


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)


def tracked_in(folder: Path) -> None:
    """Put the project, without its secrets, under git."""
    git(folder, "init", "-q")
    git(folder, "add", "README.md", "requirements.txt", "LICENSE", "app/main.py", "adafv_core", "assets/a.json")


def planned(folder: Path) -> Space:
    return make_space("owner/name", "gradio", "cpu-basic", root=folder)


def inside(space: Space) -> set[str]:
    return {path for path in space.files if "/" in path}


def test_without_git_hidden_files_and_junk_stay_behind(folder: Path) -> None:
    assert inside(planned(folder)) == {"app/main.py", "adafv_core/engine/engine.py", "assets/a.json"}
    assert planned(folder).untracked == ()


def test_with_git_only_what_it_knows_is_published(folder: Path) -> None:
    tracked_in(folder)
    (folder / "app" / "main.py").write_text("edited")
    (folder / "assets" / "my-llava.jsonl.gz").write_text("of the user's own")
    (folder / ".gitignore").write_text(".*\n*.pem\n*.env\n*~\n")
    space = planned(folder)
    assert inside(space) == {"app/main.py", "adafv_core/engine/engine.py", "assets/a.json"}
    assert space.files["app/main.py"] == b"edited"
    assert space.untracked == ("assets/my-llava.jsonl.gz",)
    assert "1 untracked file is not sent" in describe(space) and "my-llava" in describe(space)
    git(folder, "add", "assets/my-llava.jsonl.gz")
    (folder / "assets" / "a.json").unlink()
    assert inside(planned(folder)) == {"app/main.py", "adafv_core/engine/engine.py", "assets/my-llava.jsonl.gz"}


def test_a_copy_inside_another_repository_is_no_checkout(folder: Path) -> None:
    git(folder, "init", "-q")
    copy = folder / "copy"
    copy.mkdir()
    for name in ("README.md", "requirements.txt", "LICENSE", "app", "adafv_core", "assets"):
        (folder / name).rename(copy / name)
    assert inside(planned(copy)) == {"app/main.py", "adafv_core/engine/engine.py", "assets/a.json"}


def test_a_checkout_that_git_cannot_read_publishes_nothing(folder: Path) -> None:
    (folder / ".git").write_text("gitdir: nowhere\n")
    with pytest.raises(SpaceError, match="Only git knows which files"):
        planned(folder)


def test_a_large_file_is_refused(folder: Path) -> None:
    with (folder / "assets" / "mine.jsonl.gz").open("wb") as file:
        file.truncate(12 * 1024**2)
    with pytest.raises(SpaceError, match=r"assets/mine\.jsonl\.gz has 12\.0 MiB.* up to 9 MiB"):
        planned(folder)


def test_what_is_missing_is_named(folder: Path) -> None:
    (folder / "README.md").unlink()
    shutil.rmtree(folder / "assets")
    with pytest.raises(SpaceError, match=r"no README\.md and no assets in .* run this in a clone"):
        planned(folder)


def test_a_file_that_cannot_be_read_is_named(folder: Path) -> None:
    (folder / "LICENSE").unlink()
    (folder / "LICENSE").mkdir()
    with pytest.raises(SpaceError, match="LICENSE cannot be read"):
        planned(folder)
