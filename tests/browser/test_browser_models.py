"""Another model, in a real browser: the offer where there is a GPU, downloads that are seen, failures that change
nothing.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.browser import settled
from helpers.model_hub import COMMIT, MODEL_ID, ModelHub, running_model_hub, surroundings
from helpers.running_app import running_app
from helpers.tiny_models import save_tiny
from PIL import Image
from playwright.sync_api import Page, expect
from transformers import LlavaForConditionalGeneration

SLOW = {"bytes_per_s": 8_000_000, "chunk_bytes": 1 << 18}
WORDS = 150_000
SMALLEST = "HuggingFaceTB/SmolVLM-256M-Instruct"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with many words, so that its download lasts: the client counts in steps of ten megabytes."""
    folder = save_tiny("llava", tmp_path_factory.mktemp("repository"))
    model = LlavaForConditionalGeneration.from_pretrained(folder)
    model.resize_token_embeddings(WORDS, mean_resizing=False)
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def hub(repository: Path) -> Iterator[ModelHub]:
    with running_model_hub(repository, **SLOW) as hub:
        yield hub


@pytest.fixture
def offered(hub: ModelHub, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """Address of a page as on a machine with a GPU, with an empty cache and a hub on loopback. param: flags."""
    flags = getattr(request, "param", ())
    variables = {**surroundings(hub, tmp_path), "ADAFV_MODELS": tempfile.gettempdir()}
    with running_app("tests/helpers/offered_app.py", *flags, variables=variables) as (address, _):
        yield address


def tokens(page: Page) -> int:
    return int(page.evaluate("adafv.page.scores.n"))


def ask(page: Page) -> None:
    page.get_by_role("button", name="Ask", exact=True).click()
    page.wait_for_timeout(300)
    settled(page)


def choose(page: Page, name: str) -> None:
    """Type a model into the menu and load it."""
    if not page.locator("#model input").is_visible():
        page.locator("#more .label-wrap").click()
    page.fill("#model input", name)
    page.press("#model input", "Enter")
    page.get_by_role("button", name="Load model").click()


def test_one_click_to_a_real_model_and_back(open_page: Callable[..., Page], offered: str) -> None:
    page = open_page(at=offered)
    offer = page.locator(".offer")
    expect(offer).to_be_in_viewport()
    expect(offer).to_contain_text("14.1 GB download · Llama 2 Community License")
    page.get_by_role("button", name="Force keep").click()
    page.locator("canvas[data-panel=kept]").click(position={"x": 12, "y": 12})
    page.get_by_role("button", name="Load LLaVA-1.5 7B").click()

    told = page.locator(".offer-status")
    expect(told).to_contain_text(re.compile(rf"Downloading {MODEL_ID}: [1-4]\d\.\d of 5\d\.\d MB"), timeout=60_000)
    expect(told).to_contain_text("left", timeout=30_000)
    before = float(page.evaluate("document.querySelector('.offer-progress progress').value"))
    page.wait_for_function(
        f"(document.querySelector('.offer-progress progress').value || 0) > {before}", timeout=30_000
    )
    expect(page.locator("#view-notice .notice")).to_have_text(
        f"{MODEL_ID} is loaded and answers from now on.", timeout=60_000
    )
    expect(page.locator(".model-chip")).to_contain_text(f"{MODEL_ID} @ {COMMIT[:7]}")
    assert page.get_attribute(".model-chip", "title") == f"revision {COMMIT}"
    expect(offer).to_be_hidden()

    page.wait_for_function("adafv.page.scores.n === 16", timeout=30_000)
    settled(page)
    assert page.locator(".answer").first.get_attribute("data-state") == "done"
    assert page.evaluate("adafv.page.forced") is None
    expect(page.locator("#view-notice .notice")).to_contain_text("is loaded")
    ask(page)
    assert tokens(page) == 16 and page.locator(".answer").first.get_attribute("data-state") == "done"
    page.locator("#more .label-wrap").click()
    expect(page.locator("#model input")).to_have_value(
        re.compile(r"^LLaVA-1.5 7B · downloaded · Llama 2 Community License( · needs \d+ GB of free memory)?$")
    )
    choose(page, "pocket")
    expect(page.locator(".model-chip")).to_contain_text("pocket ·", timeout=30_000)
    page.wait_for_function("adafv.page.scores.n === 196", timeout=30_000)
    settled(page)
    expect(page.get_by_role("button", name="Ask LLaVA-1.5 7B")).to_be_visible()
    page.reload()
    page.get_by_role("button", name="Ask LLaVA-1.5 7B").click()
    page.wait_for_function("adafv.page.scores && adafv.page.scores.n === 16", timeout=30_000)


@pytest.mark.parametrize("offered", [("--model", "nobody/no-such-model", "--fallback", "1")], indirect=True)
def test_a_download_that_breaks_off_changes_nothing(
    open_page: Callable[..., Page], offered: str, hub: ModelHub
) -> None:
    hub.break_after = 30_000_000
    page = open_page(at=offered)
    settled(page)
    fallback = page.locator("#view-masthead .notice")
    expect(fallback).to_contain_text("nobody/no-such-model could not be loaded")
    page.get_by_role("button", name="Load LLaVA-1.5 7B").click()
    notice = page.locator("#view-notice .notice")
    expect(notice).to_contain_text(f"The download of {MODEL_ID} broke off (at ", timeout=90_000)
    expect(notice).to_contain_text("The page stays on pocket.")
    assert len((notice.text_content() or "").splitlines()) == 1
    expect(page.locator(".model-chip")).to_contain_text("pocket ·")
    expect(fallback).to_be_visible()
    ask(page)
    assert tokens(page) == 196 and page.locator(".answer").first.get_attribute("data-state") == "done"
    hub.break_after, hub.bytes_per_s = None, None
    page.get_by_role("button", name="Load LLaVA-1.5 7B").click()
    page.wait_for_function("adafv.page.scores.n === 16", timeout=60_000)
    expect(fallback).to_have_count(0)


def test_a_photograph_is_answered_after_one_click(open_page: Callable[..., Page], tmp_path: Path) -> None:
    """The notice's button loads the model that it names, and the question is asked again; no menu is opened."""
    folder = save_tiny("smolvlm", tmp_path / "repository")
    picture = tmp_path / "photograph.png"
    Image.effect_noise((90, 60), 60).convert("RGB").save(picture)
    with (
        running_model_hub(folder, model_id=SMALLEST) as hub,
        running_app(variables=surroundings(hub, tmp_path / "home")) as (address, _),
    ):
        page = open_page(at=address)
        settled(page)
        page.set_input_files("#question-image input[type=file]", picture)
        expect(page.locator("#view-notice .notice")).to_contain_text("A new picture")
        ask(page)
        notice = page.locator("#view-notice .notice")
        expect(notice).to_contain_text("The smallest that fits here is SmolVLM 256M (0.5 GB download")
        notice.get_by_role("button", name="Load SmolVLM 256M").click()
        expect(notice).to_have_text(f"{SMALLEST} is loaded and answers from now on.", timeout=60_000)
        expect(page.locator(".model-chip")).to_contain_text(SMALLEST)
        page.wait_for_function("adafv.page.scores.subject.startsWith('HuggingFaceTB')", timeout=30_000)
        settled(page)
        assert page.locator(".answer").first.get_attribute("data-state") == "done"
        assert notice.get_by_role("button").count() == 0 and hub.fetched() >= {"config.json", "model.safetensors"}


def test_a_folder_is_typed_and_loaded(open_page: Callable[..., Page], repository: Path) -> None:
    page = open_page()
    assert page.locator(".offer").count() == 0
    settled(page)
    choose(page, str(repository))
    expect(page.locator("#model-progress")).to_contain_text(f"{repository} is loaded", timeout=60_000)
    expect(page.locator(".model-chip")).to_contain_text(f"{repository.name} ·")
    page.wait_for_function("adafv.page.scores.n === 16", timeout=30_000)
    settled(page)
    choose(page, str(repository / "nothing"))
    expect(page.locator("#model-progress")).to_contain_text("The page stays on", timeout=60_000)
    choose(page, "pocket")
    page.wait_for_function("adafv.page.scores.n === 196", timeout=30_000)
    settled(page)
