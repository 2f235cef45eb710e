"""The page as users start it, each program started once: `python -m app`, and `python app/main.py` as a Space does.

Both start behind proxies that nobody answers and beside variables of Gradio's own that Gradio could not read.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from helpers.documents import example
from helpers.running_app import free_port, running_app

from app.serving.models import ON_A_GPU, POCKET

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Program:
    """address: of the page, without a slash at its end. printed: the lines until it was open."""

    address: str
    printed: list[str]


def unreadable_variables() -> dict[str, str]:
    """Proxies without a listener, and variables that Gradio cannot read: empty, and not a number."""
    nobody = f"127.0.0.1:{free_port()}"
    return {
        "http_proxy": f"http://{nobody}",
        "HTTP_PROXY": f"http://{nobody}",
        "ALL_PROXY": f"socks5://{nobody}",
        "GRADIO_SERVER_PORT": "many",
        "GRADIO_NUM_PORTS": "",
    }


@pytest.fixture(scope="module")
def module_program() -> Iterator[Program]:
    with running_app("-m", "app", variables=unreadable_variables(), by_flag=True) as started:
        yield Program(*started)


@pytest.fixture(scope="module")
def space_program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A Space whose real model cannot be loaded, started from another folder."""
    variables = {"SPACE_ID": "owner/name", "ADAFV_MODEL": ON_A_GPU, **unreadable_variables()}
    folder = tmp_path_factory.mktemp("space")
    with running_app(str(ROOT / "app" / "main.py"), cwd=folder, variables=variables, by_flag=True) as started:
        yield Program(*started)


def run_python(code: str) -> str:
    """What a program prints, started in a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("way", ["module_program", "space_program"], ids=["-m app", "app/main.py"])
def test_it_opens_behind_proxies_and_beside_variables_of_gradio_s_own(way: str, request: pytest.FixtureRequest) -> None:
    program: Program = request.getfixturevalue(way)
    assert program.printed[-1] == f"AdaFV is open at {program.address}/"
    assert (
        "Not used: the SOCKS proxy in ALL_PROXY (pip install socksio, to download models through it)."
        in program.printed
    )


def test_the_api_example(module_program: Program) -> None:
    """The one of docs/api.md, with the program's address."""
    out = run_python(example("gradio_client").replace("http://127.0.0.1:7860", module_program.address)).splitlines()
    kept, visual, cache_bytes = (int(word) for word in out[-3].split()[-3:])
    assert 0 < kept < visual and cache_bytes > 0
    lengths = [int(word) for word in out[-2].split()]
    assert lengths == [visual, visual, visual, kept] and out[-1] == "[90]"


def test_as_a_space_from_another_folder(space_program: Program) -> None:
    """It opens, says that the pocket model answers in place of the one that was named, and answers."""
    code = (
        "import sys, urllib.request\n"
        "from gradio_client import Client, handle_file\n"
        f"page = urllib.request.urlopen({space_program.address!r} + '/config').read().decode()\n"
        f"assert {ON_A_GPU!r} in page and 'so the bundled pocket model answers' in page\n"
        f"client = Client({space_program.address!r}, verbose=False)\n"
        "picture = handle_file('assets/example.png')\n"
        "answer = client.predict(picture, 'What shape is the yellow thing?', 0.1, 'adafv', api_name='/ask')\n"
        "print(answer['model'], answer['n_kept'])"
    )
    model, kept = run_python(code).split()
    assert model == POCKET and int(kept) > 0
