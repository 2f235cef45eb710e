"""The pocket world: scenes from seeds, ground-truth boxes, questions whose answers follow from the scene."""

from __future__ import annotations

import hashlib
import itertools
import random
import re
from pathlib import Path

import numpy as np
import pytest

from adafv_core.pocket.training.batches import BatchMaker
from adafv_core.pocket.training.build import GRID, IMAGE_PX, build_processor
from adafv_core.pocket.training.pool import Pool, shrink
from adafv_core.pocket.world.drawing import draw_scene, patch_owners, thing_mask
from adafv_core.pocket.world.phrasings import FAMILIES, HELD_OUT, TRAINED
from adafv_core.pocket.world.questions import ask, question_set
from adafv_core.pocket.world.scenes import Scene, make_scene, place_of
from adafv_core.pocket.world.vocabulary import UNK, build_tokenizer
from adafv_core.pocket.world.world import CANVAS_PX, COUNTS, PLURALS, SHAPES, SPLIT_SIZE, SPLITS, Thing, seed_in

THUMBNAIL_OF_7 = [
    [98, 90, 150, 147, 165, 154],
    [58, 37, 130, 175, 229, 147],
    [128, 116, 150, 203, 228, 190],
    [153, 156, 134, 156, 153, 163],
    [182, 168, 163, 153, 148, 150],
    [161, 113, 155, 154, 140, 98],
]
SEEDS = range(SPLITS["validation"], SPLITS["validation"] + 150)


def test_a_seed_gives_the_same_scene_everywhere() -> None:
    laid_out = repr([make_scene(seed) for seed in range(20)])
    assert hashlib.sha256(laid_out.encode()).hexdigest()[:16] == "1755686e927a6128"
    small = np.asarray(draw_scene(make_scene(7)).resize((6, 6)), dtype=int)[:, :, 0]
    assert np.abs(small - np.array(THUMBNAIL_OF_7)).max() <= 2


def test_splits_never_share_a_seed() -> None:
    starts = sorted(SPLITS.values())
    assert all(later - earlier >= 100_000_000 for earlier, later in itertools.pairwise(starts))
    for split, start in SPLITS.items():
        assert [seed_in(split, index) for index in (0, 99_999_999)] == [start, start + 99_999_999]
    with pytest.raises(ValueError, match="got 100000000"):
        seed_in("train", 100_000_000)
    with pytest.raises(ValueError, match="got 'tarin'"):
        seed_in("tarin", 0)


def test_things_are_disjoint_inside_the_canvas_and_cover_what_their_boxes_say() -> None:
    for seed in SEEDS:
        scene = make_scene(seed)
        assert scene.main.role == "main" and all(t.role != "main" for t in scene.things[1:])
        assert 3 <= len(scene.things) <= 10
        areas = np.zeros((CANVAS_PX, CANVAS_PX), int)
        for thing in scene.things:
            mask = np.asarray(thing_mask(thing)) > 0
            rows, columns = np.nonzero(mask)
            assert thing.box[0] <= columns.min() and columns.max() < thing.box[2]
            assert thing.box[1] <= rows.min() and rows.max() < thing.box[3]
            areas += mask
        assert areas.max() == 1
        assert max(scene.things, key=lambda t: t.box[2] - t.box[0]) is scene.main


def test_owners_follow_the_masks() -> None:
    scene = make_scene(SEEDS[3])
    owners = patch_owners(scene, GRID)
    side = CANVAS_PX // GRID
    for index, thing in enumerate(scene.things):
        mask = np.asarray(thing_mask(thing)) > 0
        covered = mask.reshape(GRID, side, GRID, side).mean((1, 3))
        assert (owners[covered >= 0.3] == index).all()
        assert not (owners[covered == 0] == index).any()
    assert (owners == -1).mean() > 0.3


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_follow_from_the_scene(family: str) -> None:
    checked = 0
    for seed in SEEDS:
        scene = make_scene(seed)
        question = ask(scene, family, random.Random(seed))
        if question is not None:
            checked += 1
            assert question.answer == _slow_answer(scene, question.text.lower(), question.targets), question
    assert checked > 90


def _slow_answer(scene: Scene, text: str, targets: tuple[int, ...]) -> str:
    """The answer, worked out from the words of the question and the scene, case by case."""
    text = re.sub(r"[?.]", "", text)
    words = text.split()
    shapes = [word for word in words if word in (*SHAPES, "card")]
    colors = [word for word in words if word in {t.color for t in scene.things} | set(_COLORS)]
    plural = [word for word in words if word in PLURALS]
    if plural:
        shape = SHAPES[PLURALS.index(plural[0])]
        return COUNTS[[t.kind for t in scene.things].count(shape)]
    named = [t for t in scene.things if (not shapes or t.kind == shapes[0]) and (not colors or t.color == colors[0])]
    if not shapes and not colors:
        return scene.main.color if "color" in words else scene.main.kind
    if text.startswith(("is there", "do you see a", "can you see a", "does the", "do you find")):
        return "yes" if named else "no"
    (thing,) = named
    assert targets[0] == scene.things.index(thing)
    if "large" in words or "size" in words:
        return "large" if thing.large else "small"
    for direction, marks in _DIRECTIONS.items():
        if any(mark in text for mark in marks):
            other = scene.things[targets[1]]
            dx, dy = (other.center[i] - thing.center[i] for i in (0, 1))
            assert {"left": dx < 0, "right": dx > 0, "above": dy < 0, "below": dy > 0}[direction]
            return other.kind
    if any(mark in words for mark in ("where", "part", "location", "find")):
        return _slow_place(thing)
    if thing.digit and any(mark in words for mark in ("number", "say", "says", "read", "digit")):
        return thing.digit
    return thing.color if "color" in words else thing.kind


_COLORS = ("red", "orange", "yellow", "green", "cyan", "blue", "pink", "white")
_DIRECTIONS = {"left": ("left of",), "right": ("right of",), "above": ("above",), "below": ("below", "under")}


def _slow_place(thing: Thing) -> str:
    x, y = (int(3 * v / CANVAS_PX) for v in thing.center)
    assert place_of(thing) is not None
    row, column = ("top", "", "bottom")[y], ("left", "", "right")[x]
    return "-".join(part for part in (row, column) if part) or "center"


def test_a_neighbor_that_people_could_dispute_is_never_asked_about() -> None:
    def box(x: int, y: int, size: int) -> tuple[int, int, int, int]:
        return x, y, x + size, y + size

    ring = Thing("ring", "red", "", "small", box(400, 300, 100), 1.0)
    level = Thing("star", "blue", "", "small", box(100, 300, 100), 1.0)
    askew = Thing("heart", "pink", "", "small", box(250, 370, 100), 1.0)
    assert Scene(0, (level, ring)).neighbor(ring, "left") is level
    assert Scene(0, (level, ring)).neighbor(ring, "right") is None
    assert Scene(0, (level, ring, askew)).neighbor(ring, "left") == "unclear"


def test_sets_are_fixed_mixed_and_use_their_own_phrasings() -> None:
    trained, held_out = question_set("test", 60), question_set("test", 60, held_out=True)
    assert trained == question_set("test", 60)
    assert {q.family for _, q in trained} == set(FAMILIES)
    existence = [q.answer for _, q in question_set("test", 400) if q.family == "existence"]
    assert 0.35 < existence.count("yes") / len(existence) < 0.65
    used = {q.phrasing for _, q in trained}, {q.phrasing for _, q in held_out}
    assert not used[0] & used[1]
    assert not set(sum(TRAINED.values(), ())) & set(sum(HELD_OUT.values(), ()))
    assert all(0 <= scene.seed - SPLITS["test"] < SPLIT_SIZE for scene, _ in trained)


def test_words_of_held_out_phrasings_occur_in_trained_ones() -> None:
    def words(texts: tuple[str, ...]) -> set[str]:
        return set(re.findall(r"[a-z]+", " ".join(texts)))

    new = words(sum(HELD_OUT.values(), ())) - words(sum(TRAINED.values(), ()))
    assert not new


def test_the_tokenizer_knows_its_world_and_shows_what_it_does_not_know() -> None:
    tokenizer = build_tokenizer()
    for _, question in question_set("train", 100):
        assert UNK not in tokenizer.tokenize(question.text)
        assert len(tokenizer.tokenize(question.answer)) == 1
    assert tokenizer.tokenize("What COLOUR is the Ring?") == ["what", "color", "is", "the", "ring", "?"]
    assert tokenizer.tokenize("top-left zebra 42") == ["top-left", UNK, "4", "2"]


def test_training_sees_what_the_processor_makes_of_a_scene() -> None:
    processor = build_processor()
    picture = draw_scene(make_scene(5))
    seen = processor.image_processor(picture, return_tensors="np")["pixel_values"][0]
    shape = processor.image_processor
    mean, std = (np.array(v)[:, None, None] for v in (shape.image_mean, shape.image_std))
    trained = (shrink(picture, IMAGE_PX).transpose(2, 0, 1) / 255 - mean) / std
    assert np.abs(seen - trained).max() < 1e-5


def test_batches_are_made_of_seeds_and_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adafv_core.pocket.training.pool.CHUNK", 4)
    processor = build_processor()
    pool = Pool(tmp_path, "train", 8, IMAGE_PX, GRID)
    shape = processor.image_processor
    maker = BatchMaker(pool, processor.tokenizer, shape.image_mean, shape.image_std, seed=3)
    batch = next(maker.batches(11, images=3, questions=5))
    again = next(maker.batches(11, images=3, questions=5))
    assert (batch.blocks == again.blocks).all() and (batch.pixels == again.pixels).all()
    assert batch.blocks.shape[:2] == (3, 5) and batch.named.shape == (3, 5, GRID * GRID)
    colon = processor.tokenizer.convert_tokens_to_ids(":")
    assert (batch.blocks.gather(2, batch.answer_rows[..., None])[..., 0] == colon).all()
    assert (batch.blocks.gather(2, batch.answer_rows[..., None] + 1)[..., 0] == batch.answers).all()
    assert np.allclose(batch.word_targets.sum(-1), 1, atol=1e-5)
    assert len(list(tmp_path.glob("train-*-images-*.npy"))) <= 2
