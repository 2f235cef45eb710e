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


def softmax(values: Sequence[float]) -> list[float]:
    top = max(values)
    powers = [math.exp(value - top) for value in values]
    return [power / total(powers) for power in powers]


def min_max(values: Sequence[float]) -> list[float]:
    return [(value - min(values)) / (max(values) - min(values) + 1e-6) for value in values]


def cover(rows: list[list[float]], budget: int, row_weight=None, column_weight=None) -> list[int]:
    """Facility location: each time the column that adds most to Σ_i v_i · max over picks, all counted anew."""
    size = len(rows[0])
    v = row_weight or [1.0] * len(rows)
    w = column_weight or [1.0] * size
    chosen: list[int] = []
    while len(chosen) < budget:
        best = [max([0.0, *(row[j] for j in chosen)]) for row in rows]

        def gain(j: int, best: list[float] = best) -> float:
            return w[j] * total(v[i] * max(0.0, row[j] - best[i]) for i, row in enumerate(rows))

        gains = {j: gain(j) for j in range(size) if j not in chosen}
        chosen.append(max(gains, key=lambda j: (gains[j] if gains[j] > 1e-9 else 0.0, -j)))
    return chosen


def most_volume(tokens: list[list[float]], quality: list[float], budget: int) -> list[int]:
    """Greedy MAP of the determinantal point process by its definition: each time the largest determinant."""
    kernel = [
        [p * q * cosine(x, y) for y, q in zip(tokens, quality, strict=True)]
        for x, p in zip(tokens, quality, strict=True)
    ]
    chosen: list[int] = []
    before = 1.0
    least = 1e-5 * max(kernel[j][j] for j in range(len(tokens)))
    while len(chosen) < budget:
        rest = [j for j in range(len(tokens)) if j not in chosen]
        left = {j: determinant([[kernel[a][b] for b in [*chosen, j]] for a in [*chosen, j]]) / before for j in rest}
        if max(left.values()) <= least:
            return chosen + rest[: budget - len(chosen)]
        chosen.append(max(left, key=lambda j: (left[j], -j)))
        before = left[chosen[-1]] * before
    return chosen


def determinant(matrix: list[list[float]]) -> float:
    rows, result = [list(row) for row in matrix], 1.0
    for k in range(len(rows)):
        pivot = max(range(k, len(rows)), key=lambda i: abs(rows[i][k]))
        if rows[pivot][k] == 0:
            return 0.0
        if pivot != k:
            rows[k], rows[pivot], result = rows[pivot], rows[k], -result
        result *= rows[k][k]
        for i in range(k + 1, len(rows)):
            factor = rows[i][k] / rows[k][k]
            rows[i] = [x - factor * y for x, y in zip(rows[i], rows[k], strict=True)]
    return result


def scope(c: list[float], features: list[list[float]], budget: int) -> list[int]:
    return sorted(cover([[cosine(x, y) for y in features] for x in features], budget, column_weight=c))


def mmtok(words: list[list[float]], v: list[list[float]], u: list[list[float]], budget: int) -> list[int]:
    of_words = [[p / len(words) for p in softmax([cosine(t, x) / 0.02 for x in v])] for t in words]
    of_picture = [[0.5 * q / len(u) for q in softmax([cosine(x, y) / 0.2 for y in u])] for x in u]
    return sorted(cover(of_words + of_picture, budget))


def cdpruner(words: list[list[float]], v: list[list[float]], budget: int) -> list[int]:
    relevance = [total(cosine(t, x) for t in words) / len(words) for x in v]
    return sorted(most_volume(v, min_max(relevance), budget))


def adafv_d(a: list[float], c: list[float], v: list[list[float]], budget: int) -> list[int]:
    q = [x / total(a) + y / total(c) for x, y in zip(a, c, strict=True)]
    return sorted(most_volume(v, [x / max(q) for x in q], budget))


def eadp_llm(words: list[list[float]], v: list[list[float]], crops: list[tuple[int, int]], budget: int) -> list[int]:
    cos = [[cosine(t, x) for x in v] for t in words]
    entropies = [-total(p * math.log(p) for p in softmax([100 * x for x in row]) if p > 0) for row in cos]
    low = sorted(range(len(words)), key=lambda j: (entropies[j], j))[: max(1, round(0.5 * len(words)))]
    weights = softmax([-entropies[j] / 0.01 for j in low])
    relevance = []
    for i in range(len(v)):
        mean = total(row[i] for row in cos) / len(cos)
        relevance.append(0.5 * mean + 0.5 * total(w * cos[j][i] for w, j in zip(weights, low, strict=True)))
    scaled, smooth, offset = min_max(relevance), [], 0
    line = [math.exp(-0.5), 1.0, math.exp(-0.5)]
    for rows, cols in crops:
        for row in range(rows):
            for col in range(cols):
                value = 0.0
                for down in (-1, 0, 1):
                    for right in (-1, 0, 1):
                        r, k = reflected(row + down, rows), reflected(col + right, cols)
                        value += line[down + 1] * line[right + 1] * scaled[offset + r * cols + k]
                smooth.append(value / total(line) ** 2)
        offset += rows * cols
    return sorted(cover([[(cosine(x, y) + 1) / 2 for y in v] for x in v], budget, row_weight=smooth))


def reflected(place: int, length: int) -> int:
    if length == 1:
        return 0
    return -place if place < 0 else 2 * (length - 1) - place if place >= length else place


def pyramiddrop(attention: list[float], budget: int) -> list[int]:
    """Three equal spans of layers with λN, λ²N, λ³N tokens, whose mean is the budget; λ by trying a million."""
    size = len(attention)
    target = 3 * budget / size
    step = min(range(1_000_001), key=lambda n: abs(n / 1e6 + (n / 1e6) ** 2 + (n / 1e6) ** 3 - target))
    return sorted(ranking(attention)[: max(1, round(size * (step / 1e6) ** 3))])


LISTS = ((64, (66, 30, 17)), (96, (238, 48, 26)), (128, (303, 110, 36)), (192, (300, 200, 110)), (576, (576,) * 3))


def sparsevlm(attention: list[float], hidden: list[list[float]], budget: int) -> list[int]:
    """Tokens as [places, attention, hidden state]; what is merged has the place of its cluster's center."""
    size = len(attention)
    at = budget / size * 576
    low, few = 0, (0, 0, 0)
    for high, many in LISTS:
        if at <= high:
            break
        low, few = high, many
    counts = [a + (at - low) / (high - low) * (b - a) for a, b in zip(few, many, strict=True)]
    tokens = [(place, attention[place], hidden[place]) for place in range(size)]
    for count in counts:
        keep = min(len(tokens), max(1, round(count / 576 * size)))
        order = ranking([one[1] for one in tokens])
        dropped = order[keep:]
        if not dropped:
            continue
        best = dropped[: math.floor(0.3 * len(dropped)) + 1]
        groups = clusters([tokens[i][2] for i in best], min(len(dropped), len(best) // 10 + 1))
        merged = []
        for group in groups:
            members = [tokens[best[i]] for i in group]
            mean = [total(column) / len(members) for column in zip(*(one[2] for one in members), strict=True)]
            merged.append((members[0][0], total(one[1] for one in members) / len(members), mean))
        tokens = [tokens[i] for i in sorted(order[:keep])] + merged
    return sorted(one[0] for one in tokens)


def clusters(points: list[list[float]], count: int) -> list[list[int]]:
    """Density peaks: indices of each cluster, its center first."""
    size = len(points)
    d = [[math.dist(x, y) / math.sqrt(len(x)) for y in points] for x in points]
    density = [math.exp(-total(x * x for x in sorted(row)[:5]) / min(5, size)) for row in d]
    peak = []
    for i in range(size):
        denser = [d[i][j] for j in range(size) if density[j] > density[i]]
        peak.append(min(denser) if denser else max(d[i]))
    centers = ranking([p * r for p, r in zip(peak, density, strict=True)])[:count]
    groups = [[center] for center in centers]
    for i in range(size):
        if i not in centers:
            groups[min(range(count), key=lambda c: (d[i][centers[c]], c))].append(i)
    return groups
