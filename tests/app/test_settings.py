"""Settings come from flags and the environment, and wrong ones are told at once."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from adafv_core.images import MAX_PIXELS
from app.preflight import refuse_unusable_address, server_name, without_proxies
from app.settings import Settings, make_parser, read_settings, settings_table

ROOT = Path(__file__).resolve().parents[2]


def test_defaults_ask_for_loopback_and_the_first_free_port() -> None:
    settings = read_settings([], {})
    assert settings == Settings()
    assert (settings.host, settings.port) == ("127.0.0.1", None)


def test_environment_and_flags_and_which_wins() -> None:
    environment = {"GRADIO_SERVER_PORT": "7000", "GRADIO_SERVER_NAME": "0.0.0.0", "ADAFV_MODEL_MENU": "off"}
    settings = read_settings(["--port", "7001", "--queue-size", "3"], environment)
    assert (settings.host, settings.port, settings.queue_size, settings.model_menu) == ("0.0.0.0", 7001, 3, False)
    typed = read_settings(["--port", " "], {"ADAFV_MODEL": " pocket ", "ADAFV_DEVICE": "  "})
    assert typed == Settings(), "white space is nothing"


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (["--port", "abc"], {}, "--port: expected a whole number, got 'abc'"),
        (["--port", "70000"], {}, "at most 65535"),
        (["--max-image-pixels", "100000001"], {}, "--max-image-pixels: expected at least 1 and at most 100000000"),
        ([], {"ADAFV_MAX_IMAGE_PIXELS": "400000000"}, "ADAFV_MAX_IMAGE_PIXELS: expected at least 1 and at most"),
        ([], {"ADAFV_QUEUE_SIZE": "0"}, "ADAFV_QUEUE_SIZE: expected at least 1"),
        ([], {"ADAFV_QUEUE_SIZE": " x "}, "ADAFV_QUEUE_SIZE: expected a whole number"),
        ([], {"ADAFV_MCP": "maybe"}, "ADAFV_MCP: expected 1 or 0"),
    ],
)
def test_wrong_values_end_with_a_sentence(
    arguments: list[str], environment: dict[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        read_settings(arguments, environment)
    assert said in capsys.readouterr().err


def test_the_page_takes_no_larger_pictures_than_the_library() -> None:
    """The most that can be set is what the library takes, and the help and the README's table say so."""
    assert read_settings(["--max-image-pixels", str(MAX_PIXELS)], {}).max_image_pixels == MAX_PIXELS
    row = next(row for row in settings_table().splitlines() if "ADAFV_MAX_IMAGE_PIXELS" in row)
    assert "at most 100,000,000" in row
    assert "at most 100,000,000" in " ".join(make_parser().format_help().split())


def test_help_names_every_variable() -> None:
    text = make_parser().format_help()
    for variable in ("ADAFV_MODEL", "ADAFV_DEVICE", "GRADIO_SERVER_PORT", "ADAFV_MAX_IMAGE_PIXELS"):
        assert variable in text


def test_mcp_without_its_package_ends_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from app.main import main

    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(SystemExit) as ended:
        main(["--mcp", "1"])
    assert 'pip install "gradio[mcp]"' in str(ended.value)


def test_answers_are_no_longer_than_is_allowed() -> None:
    """What is asked for where nobody gives a number."""
    assert Settings().answer_tokens == 64 and Settings(max_new_tokens=16).answer_tokens == 16


def test_auto_falls_back_and_the_help_says_so() -> None:
    row = next(row for row in settings_table().splitlines() if "ADAFV_FALLBACK" in row)
    assert "auto always" in row


@pytest.mark.parametrize("by", ["flag", "variable"])
def test_a_port_in_use_is_told_before_the_model_is_loaded(by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import app.main as program

    def never(settings: Settings) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(program, "open_context", never)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        monkeypatch.setenv("GRADIO_SERVER_NAME", "127.0.0.1")
        monkeypatch.setenv("GRADIO_SERVER_PORT", port if by == "variable" else "")
        with pytest.raises(SystemExit, match=rf"host 127\.0\.0\.1, port {port} \(.*--port \(GRADIO_SERVER_PORT\)"):
            program.main(["--port", port] if by == "flag" else [])


@pytest.mark.parametrize("way", [["-m", "app"], ["app/main.py"]], ids=" ".join)
@pytest.mark.parametrize("flags", [[], ["--port", "99999"]], ids=["variable", "flag"])
def test_a_wrong_port_is_a_sentence(way: list[str], flags: list[str]) -> None:
    surroundings = {**os.environ, "GRADIO_SERVER_PORT": "abc"}
    done = subprocess.run(
        [sys.executable, *way, *flags], cwd=ROOT, env=surroundings, capture_output=True, text=True, timeout=60
    )
    said = "--port: expected at least 1 and at most 65535" if flags else "GRADIO_SERVER_PORT: expected a whole number"
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr


def test_hosts_as_they_stand_in_an_address() -> None:
    assert [server_name(host) for host in ("::1", "[::1]", "::", "localhost", "10.0.0.1")] == [
        "[::1]",
        "[::1]",
        "[::]",
        "localhost",
        "10.0.0.1",
    ]


def test_proxies_are_back_once_the_page_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    with without_proxies():
        assert "HTTPS_PROXY" not in os.environ
    assert os.environ["HTTPS_PROXY"] == "http://proxy.example:3128"


@pytest.mark.parametrize("host", ["999.1.1.1", "no such host", "a" * 300, "203.0.113.9"])
def test_a_host_that_is_not_this_machine(host: str) -> None:
    with pytest.raises(SystemExit, match=r"cannot listen on host .*choose another address with --host \(GRADIO_"):
        refuse_unusable_address(Settings(host=host))


def test_addresses_of_this_machine() -> None:
    for host in ("127.0.0.1", "localhost", "0.0.0.0"):
        refuse_unusable_address(Settings(host=host))


def test_a_port_taken_while_the_model_was_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradio's own error, which has no number, and any other as it is."""
    import app.main as program

    errors = [OSError("Cannot find empty port in range: 7860-7860."), FileNotFoundError(2, "No such file")]

    def launch(page: object, settings: Settings) -> None:
        raise errors.pop(0)

    monkeypatch.setattr(program, "open_context", lambda settings: None)
    monkeypatch.setattr(program, "make_page", lambda context: None)
    monkeypatch.setattr(program, "launch", launch)
    with pytest.raises(SystemExit, match=r"port 7860 \(Cannot find empty port.*--port"):
        program.start(Settings(port=7860))
    with pytest.raises(FileNotFoundError):
        program.start(Settings(port=7860))


def test_help_and_wrong_flags_import_nothing_heavy() -> None:
    code = (
        "import sys, runpy; sys.argv = ['app', {flag!r}]\n"
        "try: runpy.run_module('app', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "heavy = {{'torch', 'gradio', 'transformers', 'numpy'}} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    for flag in ("--help", "--no-such-flag"):
        done = subprocess.run(
            [sys.executable, "-c", code.format(flag=flag)], cwd=ROOT, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
