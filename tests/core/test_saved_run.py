"""Saved runs as the library reads and writes them: old files, byte-order marks, damage by its path, oversized files."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.made_scores import made_scores, select
from hypothesis import given, settings
from hypothesis import strategies as st

from adafv_core import METHODS, get_method
from adafv_core.errors import InputError
from adafv_core.saved_run import SavedImage, SavedRun, read_run, write_run
from adafv_core.saved_run.format import MOST_BYTES, MOST_VALUES
from adafv_core.scoring import rescored

NEED_THE_MODEL = frozenset(
    [
        *("adafv_d", "adav_authors", "cdpruner", "divprune", "eadp_llm", "fastv", "mmtok", "pooling", "pyramiddrop"),
        *("scope", "sparsevlm", "visionzip", "vispruner"),
    ]
)
"""What needs a tensor that a file does not hold."""
OLD = sorted((Path(__file__).parents[1] / "data" / "saved_runs_0_1").glob("*.json"))
"""Files that AdaFV 0.1 wrote, about a red rectangle: adafv with marks, t2i with options of its own, divprune."""
PNG = b"\x89PNG\r\n\x1a\n and the rest of it"


def made_run(method: str = "adafv", budget: int = 5, **options: Any) -> SavedRun:
    """A run without answers on made scores of two crops."""
    scores = made_scores(crops=2, temperature=float(options.get("temperature", 100.0)))
    scores = rescored(scores, text_tokens=options.get("text_tokens", "question"))
    selection = select(method, scores, budget, **options)
    answers = {"pruned": None, "full": None, "same": None, "kl_nats": None}
    return SavedRun("model", None, {}, "?", method, options, budget / 32, (), (), scores, selection, answers, PNG)


@pytest.mark.parametrize("file", OLD, ids=lambda file: file.stem)
def test_files_of_0_1_are_read(file: Path) -> None:
    record = json.loads(file.read_text(encoding="utf-8"))
    run = read_run(file.read_text(encoding="utf-8"))
    assert (run.model, run.method, run.prompt) == ("pocket", record["method"], "Is it red?")
    assert (run.keep_ratio, list(run.force_keep)) == (record["keep_ratio"], record["force_keep"])
    assert {**run.options, "positions": run.selection.positions} == {"positions": None, **record["options"]}
    assert "positions" not in run.options and json.loads(write_run(run))["options"] == record["options"]
    assert run.versions["adafv"] == "0.1.0"
    assert run.scores.t2i.tolist() == torch.tensor(record["scores"]["t2i"]).tolist()
    assert torch.equal(run.scores.word_t2i[run.scores.counted].amax(0), run.scores.t2i)
    assert run.scores.temperature == record["options"].get("temperature", 100.0)
    assert run.scores.counting == record["options"].get("text_tokens", "question")
    assert run.selection.indices.tolist() == record["selection"]["kept"]
    assert run.answers == record["answers"] and run.picture_type == "png"
    assert run.max_new_tokens == record["max_new_tokens"]
    assert run.scores.visual.grid.image_size == (48, 32) and run.scores.visual.saliency_source == "visual saliency"


def test_the_files_of_0_1_are_of_several_kinds() -> None:
    assert [file.stem for file in OLD] == ["adafv", "all_words", "divprune"]


@pytest.mark.parametrize("file", OLD, ids=lambda file: file.stem)
@pytest.mark.parametrize("method", METHODS)
def test_a_method_on_an_old_file_refuses_or_selects_what_the_file_says(file: Path, method: str) -> None:
    run = read_run(file.read_bytes())
    options = run.options if method == run.method else {}
    masks = [torch.isin(torch.arange(196), torch.tensor(tokens)) for tokens in (run.force_keep, run.force_drop)]
    if method == run.method == "adafv":
        options = {**options, "force_keep": masks[0], "force_drop": masks[1]}
    try:
        chosen = get_method(method, **options).select(run.scores, run.selection.budget)
    except InputError as error:
        no_tensor = "which a saved run does not hold: score the image again with the model" in str(error)
        other_words = file.stem == "all_words" and 'use text_tokens="all"' in str(error)
        if METHODS[method].inside_llm:
            assert "inside the LLM" in str(error)
        elif method in NEED_THE_MODEL:
            assert no_tensor or other_words, error
        else:
            assert method in ("adafv", "fixed_mix") and other_words, error
        return
    assert method not in NEED_THE_MODEL
    if method == run.method:
        assert torch.equal(chosen.indices, run.selection.indices)
        torch.testing.assert_close(chosen.mixed, run.selection.mixed)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-8", "utf-16", "utf-32"])
@pytest.mark.parametrize("file", OLD[:1], ids=lambda file: file.stem)
def test_a_byte_order_mark_does_not_matter(file: Path, encoding: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert read_run(text.encode(encoding)).prompt == "Is it red?"
    assert read_run("\ufeff" + text).prompt == "Is it red?"


@pytest.mark.parametrize("method", METHODS)
def test_what_is_written_reads_back_equal(method: str) -> None:
    run = made_run(method)
    text = write_run(run)
    back = read_run(text)
    for name in ("t2i", "saliency", "word_t2i", "counted"):
        assert torch.equal(getattr(back.scores, name), getattr(run.scores, name))
    for name in ("indices", "kept", "why"):
        assert torch.equal(getattr(back.selection, name), getattr(run.selection, name))
    assert torch.equal(back.selection.mixed, run.selection.mixed)
    assert (back.selection.k_text, back.selection.k_visual) == (run.selection.k_text, run.selection.k_visual)
    assert back.scores.visual.grid == run.scores.visual.grid and back.scores.words == run.scores.words
    assert back.picture == PNG and back.answers == run.answers and write_run(back) == text


@pytest.mark.parametrize("options", [{"temperature": 20.0}, {"text_tokens": "all"}, {"floor": 0.25}])
def test_the_options_that_the_scores_depend_on_come_back(options: dict[str, Any]) -> None:
    run = made_run(**options)
    back = read_run(write_run(run))
    again = get_method("adafv", **back.options).select(back.scores, run.selection.budget)
    assert torch.equal(again.indices, run.selection.indices)
    assert (back.scores.temperature, back.scores.counting) == (run.scores.temperature, run.scores.counting)


def test_the_image_and_what_its_saliency_is_come_back() -> None:
    run = made_run("saliency")
    of_crop = torch.arange(2).repeat_interleave(16)
    named = replace(
        run.scores.visual, image_key="abc", model_key="xyz", saliency_source="attention received", encoder_crop=of_crop
    )
    back = read_run(write_run(replace(run, scores=replace(run.scores, visual=named))))
    visual = back.scores.visual
    assert (visual.image_key, visual.saliency_source, back.selection.image_key) == ("abc", "attention received", "abc")
    assert (visual.model_key, back.selection.model_key) == ("xyz", "xyz")
    shared = get_method("saliency", per_crop=True)
    assert torch.equal(shared.select(back.scores, 6).indices, shared.select(run.scores, 6).indices)


@given(st.floats(0, 2.0**127, width=32), st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
@settings(max_examples=200, deadline=None)
def test_any_score_and_any_text_come_back(score: float, text: str) -> None:
    run = made_run("t2i")
    saliency = run.scores.saliency.clone()
    saliency[3] = score
    scores = replace(run.scores, saliency=saliency, prompt=text, words=(text, *run.scores.words[1:]))
    back = read_run(write_run(replace(run, prompt=text, scores=scores)))
    assert torch.equal(back.scores.saliency, saliency) and back.prompt == text == back.scores.words[0]


def at(*path: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def put(record: dict[str, Any]) -> None:
        target = record
        for step in path[:-1]:
            target = target[step]
        target[path[-1]] = to

    return put


DAMAGE = {
    'scores.t2i[3]: expected a number at least 0, got "x".': at("scores", "t2i", 3, to="x"),
    "scores.t2i[3]: expected a number at least 0, got -1.": at("scores", "t2i", 3, to=-1),
    "scores.saliency[0]: expected a number at least 0, got true.": at("scores", "saliency", 0, to=True),
    "scores.words[2].t2i[1]: expected a number of at most": at("scores", "words", 2, "t2i", 1, to=1e300),
    "scores.words[0].counted: expected true or false, got 1.": at("scores", "words", 0, "counted", to=1),
    "scores.words[0].text is missing.": at("scores", "words", 0, to={"counted": True, "t2i": []}),
    "scores.t2i: expected 196 numbers, got 1.": at("scores", "t2i", to=[1.0]),
    "scores: expected an object, got [].": at("scores", to=[]),
    "grid.crops[0].box: expected a list of 4, got [0,0,0].": at("grid", "crops", 0, "box", to=[0, 0, 0]),
    "grid.image_size[1]: expected a whole number at least 1, got 0.": at("grid", "image_size", to=[48, 0]),
    "selection.why[5]: expected a whole number of at most 6, got 7.": at("selection", "why", 5, to=7),
    "selection.kept: expected token numbers in ascending": at("selection", "kept", to=[5, 5]),
    "answers.full.ttft_s: expected a number at least 0, got null.": at("answers", "full", "ttft_s", to=None),
    'answers.pruned.state: expected "done" or "stopped", got 1.': at("answers", "pruned", "state", to=1),
    "force_keep[1]: expected one of the 196 visual tokens, from 0, got 196.": at("force_keep", to=[0, 196]),
    "max_new_tokens: expected a whole number at least 1 or null, got 0.": at("max_new_tokens", to=0),
    "options.positions: expected contiguous or original": at("options", "positions", to="shuffled"),
    "options: floor": at("options", "floor", to=7),
    "scores.temperature is missing.": at("version", to=2),
    "prompt: expected text of at most 100,000 characters": at("prompt", to="a" * 100_001),
}


@pytest.mark.parametrize("message", DAMAGE)
def test_damage_is_named_by_its_path(message: str) -> None:
    record = json.loads(OLD[0].read_text(encoding="utf-8"))
    DAMAGE[message](record)
    with pytest.raises(InputError) as caught:
        read_run(json.dumps(record))
    assert str(caught.value).startswith(f"This saved run is damaged: {message}")
    assert len(str(caught.value)) < 400


def test_every_field_of_version_1_is_needed_but_the_length_limit() -> None:
    record = json.loads(OLD[0].read_text(encoding="utf-8"))
    for name in record:
        less = {key: value for key, value in record.items() if key != name}
        if name == "max_new_tokens":
            assert read_run(json.dumps(less)).max_new_tokens is None
            continue
        with pytest.raises(InputError, match=r"is missing|not a saved run|version None"):
            read_run(json.dumps(less))


OVERSIZED = {
    "objects": b"[" + b"{}," * 20_000_000 + b"{}]",
    "unknown field": b'{"format":"adafv-run","version":1,"x":[' + b"[]," * 20_000_000 + b"[]]}",
    "scores": b'{"format":"adafv-run","version":1,"scores":{"t2i":[' + b"0," * 20_000_000 + b"0]}}",
    "strings": b'{"format":"adafv-run","version":1,"x":"' + b"[" * 60_000_000 + b'"}',
    "bytes": b" " * (MOST_BYTES + 1),
}


@pytest.mark.parametrize("kind", OVERSIZED)
def test_a_file_larger_than_any_run_is_refused_before_it_is_parsed(kind: str) -> None:
    data = OVERSIZED[kind]
    tracemalloc.start()
    start = time.perf_counter()
    with pytest.raises(InputError, match=r"at most 64 MB|at most 2,000,000"):
        read_run(data)
    took_s, (_, peak_bytes) = time.perf_counter() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 1_000_000 and took_s < 2


def several(share: str = "image") -> SavedRun:
    """A run about two images, of which the second keeps nothing where they share a budget."""
    run = made_run("saliency")
    kept = torch.zeros_like(run.selection.kept)
    nothing = replace(
        run.selection, indices=run.selection.indices[:0], kept=kept, why=torch.zeros_like(run.selection.why), budget=0
    )
    second = SavedImage(run.scores, nothing if share == "all" else run.selection, b"\xff\xd8\xff and so on")
    return replace(run, more=(second,), share=share)


@pytest.mark.parametrize("share", ["image", "all"])
def test_further_images_come_back(share: str) -> None:
    run = several(share)
    text = write_run(run)
    back = read_run(text)
    assert (back.share, len(back.more), len(back.images)) == (share, 1, 2)
    (mine,), (its,) = back.more, run.more
    assert torch.equal(mine.scores.word_t2i, its.scores.word_t2i) and torch.equal(mine.scores.t2i, its.scores.t2i)
    assert torch.equal(mine.selection.indices, its.selection.indices) and mine.selection.budget == its.selection.budget
    assert (mine.picture, mine.picture_type) == (its.picture, "jpeg") and write_run(back) == text


IN_SEVERAL = {
    'more_images[0].scores.t2i[3]: expected a number at least 0, got "x".': at(
        "more_images", 0, "scores", "t2i", 3, to="x"
    ),
    "more_images[0].scores.t2i: expected 32 numbers, got 1.": at("more_images", 0, "scores", "t2i", to=[1.0]),
    "more_images[0].scores.words: expected the words of the first image": at(
        "more_images", 0, "scores", "words", 0, "text", to="another"
    ),
    "more_images[0].scores.temperature: expected that of the first": at(
        "more_images", 0, "scores", "temperature", to=7.0
    ),
    "more_images[0].scores.saliency_source is missing.": at("more_images", 0, "scores", "saliency_source", to=None),
    "more_images[0].selection.kept: expected a list of at least 1 entries": at(
        "more_images", 0, "selection", "kept", to=[]
    ),
    "more_images[0].selection.k_text: expected at most 32": at("more_images", 0, "selection", "k_text", to=33),
    "more_images[0].grid.crops: expected rows and columns of 32": at("more_images", 0, "grid", "crops", to=[]),
    "more_images[0].picture: expected a data URL": at("more_images", 0, "picture", to="x"),
    "more_images[0]: expected an object, got 3.": at("more_images", 0, to=3),
    'share: expected "all" or "image", got "both".': at("share", to="both"),
    "more_images: expected none beside forced tokens": at("force_keep", to=[1]),
}


@pytest.mark.parametrize("message", IN_SEVERAL)
def test_damage_in_a_further_image_is_named_by_its_path(message: str) -> None:
    record = json.loads(write_run(several()))
    IN_SEVERAL[message](record)
    with pytest.raises(InputError) as caught:
        read_run(json.dumps(record))
    assert str(caught.value).startswith(f"This saved run is damaged: {message}")


def test_a_file_without_further_images_is_about_one() -> None:
    record = json.loads(write_run(several()))
    del record["more_images"], record["share"]
    assert (read_run(json.dumps(record)).more, read_run(json.dumps(record)).share) == ((), "image")


def test_a_run_that_could_not_be_read_again_is_not_written() -> None:
    with pytest.raises(InputError, match="at most 64 MB"):
        write_run(replace(made_run(), picture=PNG + bytes(MOST_BYTES)))
    assert MOST_VALUES > 300 * 5_000
    with pytest.raises(InputError, match="PNG, JPEG or WebP"):
        write_run(replace(made_run(), picture=b"GIF89a"))


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "[" * 100_000, '{"a":' * 100_000, "\ud800", b"\xff\xfe\xff"])
def test_what_is_no_run_at_all(text: str | bytes) -> None:
    with pytest.raises(InputError, match=r"This (JSON )?file is not"):
        read_run(text)
