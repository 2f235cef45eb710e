"""The slow, obvious versions of what the library does with tensors: plain Python on lists, by definition."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence


def ranking(scores: Sequence[float], among: Iterable[int] | None = None) -> list[int]:
    tokens = range(len(scores)) if among is None else among
    return sorted(tokens, key=lambda i: (-scores[i], i))


def total(values: Iterable[float]) -> float:
    """One after the other: from Python 3.12 on the built-in sum compensates, which is another number."""
    result = 0.0
    for value in values:
        result += value
    return result


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / max(math.hypot(*a) * math.hypot(*b), 1e-12)


def admissible_pairs(a: list[float], c: list[float], budget: int, floor: float, free: list[int]):
    """Every (k_text, k_visual) whose heads have exactly `budget` distinct tokens."""
    text, visual = ranking(a, free), ranking(c, free)
    least = math.floor(floor * budget)
    for k_text in range(least, len(free) + 1):
        for k_visual in range(least, len(free) + 1):
            if len({*text[:k_text], *visual[:k_visual]}) == budget:
                product = total(a[i] for i in text[:k_text]) * total(c[i] for i in visual[:k_visual])
                yield k_text, k_visual, product


def best_pair(a: list[float], c: list[float], budget: int, floor: float, free: list[int]) -> tuple[int, int]:
    """Largest product; then the smaller k_text; then the larger k_visual."""
    pairs = admissible_pairs(a, c, budget, floor, free)
    k_text, k_visual, _ = max(pairs, key=lambda pair: (pair[2], -pair[0], pair[1]))
    return k_text, k_visual


def fixed_mix(a: list[float], c: list[float], budget: int) -> list[int]:
    sides, kept, turn = [ranking(a), ranking(c)], set(), 0
    while len(kept) < budget:
        kept.add(sides[turn % 2][turn // 2])
        turn += 1
    return sorted(kept)


def saliency_per_crop(c: list[float], crops: int, budget: int) -> list[int]:
    patches = len(c) // crops
    kept = []
    for crop in range(crops):
        kept += ranking(c, range(crop * patches, (crop + 1) * patches))[: budget // crops]
    kept += [i for i in ranking(c) if i not in kept][: budget - len(kept)]
    return sorted(kept)


def adav_authors(a: list[float], attention: list[list[float]], budget: int) -> list[int]:
    crops = len(attention)
    length = 2 * crops * ((budget // 2) // crops)
    fixed = length // 4
    from_text = ranking(a)[:length]
    from_visual = []
    for number, row in enumerate(attention):
        from_visual += [(patch + number, row[patch]) for patch in ranking(row)[: length // crops]]
    rest_text = from_text[fixed:]
    rest_visual = sorted(from_visual[fixed:], key=lambda item: -item[1])
    best = None
    for k1 in range(length - 2 * fixed + 1):
        k2 = length - 2 * fixed - k1
        product = total(a[i] for i in rest_text[:k1]) * total(value for _, value in rest_visual[:k2])
        if best is None or product > best[0]:
            best = product, k1, k2
    assert best is not None
    _, k1, k2 = best
    picked = from_text[:fixed] + rest_text[:k1]
    picked += [i for i, _ in from_visual[:fixed] + rest_visual[:k2]]
    return sorted(picked)


def visionzip(
    c: list[float], keys: list[list[float]], features: list[list[float]], budget: int
) -> tuple[list[int], list[list[float]]]:
    n_dominant = math.floor(budget * 54 / 64 + 0.5)
    dominant = ranking(c)[:n_dominant]
    rest = [i for i in range(len(c)) if i not in dominant]
    count = budget - n_dominant
    targets = rest[:: max(1, len(rest) // count)][:count] if count else []
    joined: dict[int, list[int]] = {target: [] for target in targets}
    for other in rest:
        if targets and other not in targets:
            near = max(targets, key=lambda i: (cosine(keys[other], keys[i]), -i))
            joined[near].append(other)
    kept = sorted([*dominant, *targets])
    merged = []
    for token in kept:
        others = joined.get(token, [])
        means = [sum(features[i][d] for i in others) / max(1, len(others)) for d in range(len(features[0]))]
        merged.append([x + mean for x, mean in zip(features[token], means, strict=True)])
    return kept, merged


def vispruner(c: list[float], features: list[list[float]], budget: int) -> list[int]:
    order = ranking(c)
    important, rest = order[: budget // 2], order[budget // 2 :]
    wanted = budget - budget // 2
    while len(rest) > wanted:
        even, odd = rest[::2], rest[1::2]
        best = [max(cosine(features[e], features[o]) for o in odd) for e in even]
        places = sorted(range(len(even)), key=lambda place: (-best[place], place))
        dropped = [even[place] for place in places[: min(8, len(rest) - wanted)]]
        rest = [token for token in rest if token not in dropped]
    return sorted(important + rest)


def divprune(features: list[list[float]], budget: int) -> list[int]:
    size = len(features)
    distance = [[1 - cosine(x, y) for y in features] for x in features]
    chosen = [max(range(size), key=lambda i: min((distance[i][j] for j in range(size) if j != i), default=0))]
    while len(chosen) < budget:
        left = [i for i in range(size) if i not in chosen]
        chosen.append(max(left, key=lambda i: min(distance[i][j] for j in chosen)))
    return sorted(chosen)
