"""Generates questions about a scene, each with its answer and the things it is about."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from adafv_core.pocket.world.phrasings import DIRECTION_WORDS, FAMILIES, HELD_OUT, SYNONYMS, TRAINED
from adafv_core.pocket.world.scenes import Scene, make_scene, place_of
from adafv_core.pocket.world.world import CARD, COLOR_NAMES, COUNTS, DIRECTIONS, KINDS, PLURALS, SHAPES, Thing, seed_in

_Placeholders = dict[str, str]
_WEIGHTS = {
    "attribute": 4,
    "existence": 3,
    "location": 3,
    "reading": 3,
    "counting": 4,
    "relation": 5,
    "salient": 3,
}


@dataclass(frozen=True)
class SceneQuestion:
    """A question about a scene.

    family: one of FAMILIES. phrasing: the template it was made from. targets: indices into `scene.things` of the
    things it refers to; empty if the scene has no such thing.
    """

    family: str
    text: str
    answer: str
    targets: tuple[int, ...]
    phrasing: str

    @property
    def referents(self) -> tuple[int, ...]:
        """The targets that the text refers to: of a relation only the first, since the second is the answer."""
        return self.targets[:1] if self.family == "relation" else self.targets


def ask(scene: Scene, family: str, rng: random.Random, held_out: bool = False) -> SceneQuestion | None:
    """Draw a question of a family about a scene; None if the scene allows none.

    held_out: use only phrasings that training never sees.
    """
    made = _MAKERS[family](scene, rng)
    if made is None:
        return None
    kind, fills, answer, targets = made
    phrasing = rng.choice((HELD_OUT if held_out else TRAINED)[kind])
    return SceneQuestion(family, _word(phrasing, fills, rng), answer, targets, phrasing)


def ask_many(scene: Scene, count: int, rng: random.Random, held_out: bool = False) -> list[SceneQuestion]:
    """Draw `count` questions about a scene, families by weight; a family the scene does not allow is redrawn."""
    families, weights = tuple(_WEIGHTS), tuple(_WEIGHTS.values())
    questions: list[SceneQuestion] = []
    while len(questions) < count:
        for family in rng.choices(families, weights, k=count):
            question = ask(scene, family, rng, held_out)
            if question is not None and len(questions) < count:
                questions.append(question)
    return questions


def ask_for_training(scene: Scene, count: int, rng: random.Random) -> list[SceneQuestion]:
    """Draw `count` questions; up to 60 % are ones where the color decides, which are rare and hard to learn."""
    asked = ask_many(scene, 3 * count, rng)
    hard = [question for question in asked if color_decides(scene, question)][: (3 * count) // 5]
    easy = [question for question in asked if question not in hard]
    return [*hard, *easy, *asked][:count]


def color_decides(scene: Scene, question: SceneQuestion) -> bool:
    """Whether the color is needed to tell which thing is meant: the shape alone is ambiguous."""
    if "{c}" in question.phrasing:
        return True
    words = question.text.lower().rstrip("?.").split()
    kinds = [word for word in words if word in KINDS]
    colored = any(word in COLOR_NAMES for word in words)
    return colored and any(len(_named(scene, kind)) > (1 if question.targets else 0) for kind in kinds)


def question_set(split: str, scenes: int, held_out: bool = False, start: int = 0) -> list[tuple[Scene, SceneQuestion]]:
    """A reproducible set: up to one question per family on each of `scenes` scenes of a split, from scene `start`."""
    pairs = []
    for index in range(start, start + scenes):
        scene = make_scene(seed_in(split, index))
        rng = random.Random(f"{scene.seed}/{held_out}")
        for family in FAMILIES:
            question = ask(scene, family, rng, held_out)
            if question is not None:
                pairs.append((scene, question))
    return pairs


_Made = tuple[str, _Placeholders, str, tuple[int, ...]]
"""Kind of phrasing, placeholder values, answer, targets."""


def _word(phrasing: str, fills: _Placeholders, rng: random.Random) -> str:
    words = [rng.choice(SYNONYMS.get(word, (word,))) for word in phrasing.replace("?", " ?").replace(".", " .").split()]
    text = " ".join(words).replace(" ?", "?").replace(" .", ".").format(**fills)
    return text[0].upper() + text[1:]


def _named(scene: Scene, kind: str = "", color: str = "") -> list[int]:
    return [i for i, t in enumerate(scene.things) if kind in ("", t.kind) and color in ("", t.color)]


def _reference(scene: Scene, index: int, rng: random.Random) -> str | None:
    thing = scene.things[index]
    choices = []
    if len(_named(scene, thing.kind)) == 1:
        choices.append(thing.kind)
    if len(_named(scene, thing.kind, thing.color)) == 1:
        choices.append(f"{thing.color} {thing.kind}")
    return rng.choice(choices) if choices else None


def _pick(scene: Scene, rng: random.Random, allowed: Callable[[Thing], bool]) -> tuple[int, str] | None:
    indices = [i for i, thing in enumerate(scene.things) if allowed(thing)]
    rng.shuffle(indices)
    for index in indices:
        reference = _reference(scene, index, rng)
        if reference is not None:
            return index, reference
    return None


def _attribute(scene: Scene, rng: random.Random) -> _Made | None:
    what = rng.choice(("color", "color", "color", "shape", "shape", "size"))
    if what == "size":
        picked = _pick(scene, rng, lambda t: t.kind != CARD)
        if picked is None:
            return None
        return "size", {"r": picked[1]}, "large" if scene.things[picked[0]].large else "small", (picked[0],)
    unique = [
        i
        for i, t in enumerate(scene.things)
        if t.kind != CARD and len(_named(scene, t.kind) if what == "color" else _named(scene, color=t.color)) == 1
    ]
    if not unique:
        return None
    index = rng.choice(unique)
    thing = scene.things[index]
    answer = thing.color if what == "color" else thing.kind
    return what, {"s": thing.kind, "c": thing.color}, answer, (index,)


def _existence(scene: Scene, rng: random.Random) -> _Made | None:
    paired = rng.random() < 0.5
    if rng.random() < 0.5:
        thing = rng.choice(scene.things)
        kind, color = thing.kind, thing.color if paired else ""
        targets = tuple(_named(scene, kind, color))
    else:
        absent = _absent(scene, rng, paired)
        if absent is None:
            return None
        kind, color = absent
        targets = ()
    reference = f"{color} {kind}".strip()
    article = "an" if reference.startswith("o") else "a"
    return "existence", {"a": f"{article} {reference}"}, "yes" if targets else "no", targets


def _absent(scene: Scene, rng: random.Random, paired: bool) -> tuple[str, str] | None:
    for _ in range(8):
        if paired and rng.random() < 0.6:
            kind, color = rng.choice(scene.things).kind, rng.choice(scene.things).color
        else:
            kind, color = rng.choice(KINDS), rng.choice(COLOR_NAMES) if paired else ""
        if not _named(scene, kind, color):
            return kind, color
    return None


def _location(scene: Scene, rng: random.Random) -> _Made | None:
    picked = _pick(scene, rng, lambda t: place_of(t) is not None)
    if picked is None:
        return None
    return "location", {"r": picked[1]}, place_of(scene.things[picked[0]]) or "", (picked[0],)


def _reading(scene: Scene, rng: random.Random) -> _Made | None:
    picked = _pick(scene, rng, lambda t: t.kind == CARD)
    if picked is None:
        return None
    return "reading", {"r": picked[1]}, scene.things[picked[0]].digit, (picked[0],)


def _counting(scene: Scene, rng: random.Random) -> _Made | None:
    by_count: dict[int, list[int]] = {}
    for index, shape in enumerate(SHAPES):
        by_count.setdefault(len(_named(scene, shape)), []).append(index)
    counts = sorted(by_count)
    count = rng.choices(counts, [1 if n == 0 else 2 if n == 1 else 4 for n in counts])[0]
    index = rng.choice(by_count[count])
    return "counting", {"p": PLURALS[index]}, COUNTS[count], tuple(_named(scene, SHAPES[index]))


def _relation(scene: Scene, rng: random.Random) -> _Made | None:
    for _ in range(6):
        picked = _pick(scene, rng, lambda t: True)
        if picked is None:
            return None
        direction = rng.choice(DIRECTIONS)
        other = scene.neighbor(scene.things[picked[0]], direction)
        if isinstance(other, Thing):
            words = rng.choice(DIRECTION_WORDS[direction])
            targets = (picked[0], scene.things.index(other))
            return "relation", {"d": words, "r": picked[1]}, other.kind, targets
    return None


def _salient(scene: Scene, rng: random.Random) -> _Made | None:
    if rng.random() < 0.4:
        return "salient color", {}, scene.main.color, (0,)
    return "salient", {}, scene.main.kind, (0,)


_MAKERS: dict[str, Callable[[Scene, random.Random], _Made | None]] = {
    "attribute": _attribute,
    "existence": _existence,
    "location": _location,
    "reading": _reading,
    "counting": _counting,
    "relation": _relation,
    "salient": _salient,
}
