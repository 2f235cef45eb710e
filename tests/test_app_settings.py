"""Settings come from flags and the environment, and wrong ones are told at once."""

from __future__ import annotations

import sys

import pytest

from app.settings import Settings, make_parser, read_settings


def test_defaults_ask_for_loopback_and_the_first_free_port() -> None:
    settings = read_settings([], {})
    assert settings == Settings()
    assert (settings.host, settings.port) == ("127.0.0.1", None)


def test_environment_and_flags_and_which_wins() -> None:
    environment = {"GRADIO_SERVER_PORT": "7000", "GRADIO_SERVER_NAME": "0.0.0.0", "ADAFV_MODEL_MENU": "off"}
    settings = read_settings(["--port", "7001", "--queue-size", "3"], environment)
    assert (settings.host, settings.port, settings.queue_size, settings.model_menu) == ("0.0.0.0", 7001, 3, False)


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (["--port", "abc"], {}, "--port: expected a whole number, but 'abc' came"),
        (["--port", "70000"], {}, "at most 65535"),
        ([], {"ADAFV_QUEUE_SIZE": "0"}, "ADAFV_QUEUE_SIZE: expected at least 1"),
        ([], {"ADAFV_MCP": "maybe"}, "ADAFV_MCP: expected 1 or 0"),
    ],
)
def test_wrong_values_end_with_a_sentence(
    arguments: list[str], environment: dict[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        read_settings(arguments, environment)
    assert said in capsys.readouterr().err


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
