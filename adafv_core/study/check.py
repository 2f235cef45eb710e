"""Does AdaFV's premise hold on a model? Two measurements that need no answer, hence no run of the LLM.

1. Words find what they name: the AUC of T2I attention (section 1) for the tokens of the objects that a question names
   (figure 2). It is compared with the AUC of *another* question's words for the same tokens: an encoder whose object
   tokens stand out whatever is asked has a high AUC and no alignment.
2. Saliency is concentrated (section 2): the share of it that the most salient tenth of the tokens holds. Even attention
   gives a tenth.

The paper shows both for LLaVA. On another model they are to be measured, which takes about a minute:

    print(check_alignment(load("pocket")).text())
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch
from torch import Tensor

from adafv_core.backends.base import Backend
from adafv_core.checks import real
from adafv_core.engine.gate import Stop
from adafv_core.errors import ImageError
from adafv_core.study.data.base import DataSet, Item, images_of
from adafv_core.study.data.pocket import PocketSet
from adafv_core.study.measure.alignment import auc
from adafv_core.study.measure.intervals import Array, Interval, draw_weights, ratio_interval
from adafv_core.study.measure.object_tokens import object_tokens
from adafv_core.types import VisualTokens

SCENES = 60
LEAST_QUESTIONS = 20
"""With fewer questions there is no verdict."""

_STRONG_AUC, _WEAK_AUC, _LEAST_GAP, _LEAST_SHARE = 0.65, 0.55, 0.05, 0.2
_BY_DESCRIPTION = "salient"
"""Drawn scenes are also asked about "the main object": such a question names nothing by its noun."""

VERDICTS: Mapping[str, str] = {
    "yes": "AdaFV can be expected to work on {model}: {why}.",
    "partly": "AdaFV can be expected to work on {model} only in part: {why}.",
    "no": "AdaFV cannot be expected to work on {model}: {why}.",
    "unknown": "Nothing can be said about {model}: {why}.",
}


@dataclass(frozen=True)
class AlignmentCheck:
    """What was measured, with 95 % bootstrap intervals over pictures.

    model, model_class, data: names. saliency_source: as in VisualTokens. n_visual: median of N over pictures. pictures,
    questions, seconds: how much was measured, and how long it took. auc_t2i: for the tokens of the named objects,
    against those off them. auc_other: for the same tokens, by the words of other questions about the same picture,
    none of which name that object. gap: auc_t2i − auc_other where there is such a question. auc_saliency: for the
    tokens of any known object. top_share: part of all saliency in the most salient tenth of the tokens.
    """

    model: str
    model_class: str
    data: str
    saliency_source: str
    n_visual: int
    pictures: int
    questions: int
    seconds: float
    auc_t2i: Interval
    auc_other: Interval
    gap: Interval
    auc_saliency: Interval
    top_share: Interval

    @property
    def alignment(self) -> str:
        """Whether words find what they name: "strong", "weak" or "none"."""
        if not self.gap.low > _LEAST_GAP:  # not a number where no other question could be asked
            return "none"
        return "strong" if self.auc_t2i.low > _STRONG_AUC else "weak" if self.auc_t2i.low > _WEAK_AUC else "none"

    @property
    def concentrated(self) -> bool:
        """Whether the most salient tenth of the tokens holds at least twice its even share."""
        return self.top_share.low > _LEAST_SHARE

    @property
    def verdict(self) -> str:
        """A key of VERDICTS. Without alignment there is nothing to mix saliency with, so it decides alone."""
        if self.questions < LEAST_QUESTIONS:
            return "unknown"
        if self.alignment == "none":
            return "no"
        return "yes" if self.alignment == "strong" and self.concentrated else "partly"

    def sentence(self) -> str:
        """The verdict and its reasons as one sentence."""
        if self.verdict == "unknown":
            why = f"{self.questions} questions name an object, at least {LEAST_QUESTIONS} are needed"
        else:
            words = {
                "strong": "the words of a question point at the tokens of what they name",
                "weak": "the words of a question point only weakly at the tokens of what they name",
                "none": "the words of a question do not point at the tokens of what they name better than other words",
            }[self.alignment]
            saliency = "is concentrated on few tokens" if self.concentrated else "is spread over most tokens"
            joint = "and" if (self.alignment == "strong") == self.concentrated else "but"
            why = f"{words}, {joint} saliency ({self.saliency_source}) {saliency}"
        return VERDICTS[self.verdict].format(model=self.model, why=why)

    def text(self) -> str:
        """All of it in a few lines."""
        return "\n".join(
            (
                f"{self.model} ({self.model_class}), {self.n_visual} visual tokens an image",
                f"{self.data}: {self.pictures} pictures, {self.questions} questions, {self.seconds:.1f} s",
                f"T2I attention finds the named objects: AUC {_shown(self.auc_t2i)}",
                f"the words of other questions find them: AUC {_shown(self.auc_other)}; gap {_shown(self.gap)}",
                f"{self.saliency_source} finds the objects: AUC {_shown(self.auc_saliency)}",
                f"its top tenth of the tokens holds a share of {_shown(self.top_share)}; even attention: 0.10",
                self.sentence(),
            )
        )


def check_alignment(
    engine: Backend, data: DataSet | None = None, seconds: float = 60.0, *, stop: Stop = None
) -> AlignmentCheck:
    """Measure whether AdaFV's premise holds on a model.

    data: pictures with known objects and questions that name them; drawn scenes of the pocket model's world if None.
    seconds: no further picture is begun after this time. stop: as in `Engine.encode`. Pictures that cannot be read are
    left out. Raises InputError, OutOfMemoryError or StoppedError.
    """
    real("seconds", seconds, 0, 1e6, above=True)
    data = PocketSet("validation", SCENES) if data is None else data
    began_s = time.perf_counter()
    pictures: list[_Picture] = []
    for visual, items, image in _encoded(engine, data, stop):
        pictures.append(_measure(engine, data, visual, items, image, stop))
        if time.perf_counter() - began_s > seconds:
            break
    weights = draw_weights(max(1, len(pictures)))
    own, other, gap, saliency = (
        _mean([getattr(one, name) for one in pictures], weights) for name in ("own", "other", "gap", "saliency")
    )
    return AlignmentCheck(
        model=engine.name,
        model_class=engine.model_class,
        data=data.name,
        saliency_source=pictures[0].source if pictures else "saliency",
        n_visual=round(median([one.n for one in pictures] or [0])),
        pictures=len(pictures),
        questions=sum(len(one.own) for one in pictures),
        seconds=time.perf_counter() - began_s,
        auc_t2i=own,
        auc_other=other,
        gap=gap,
        auc_saliency=saliency,
        top_share=_mean([(one.top_share,) for one in pictures], weights),
    )


@dataclass(frozen=True)
class _Picture:
    """One picture: a value per question in own, other and gap, at most one in saliency."""

    n: int
    source: str
    own: Sequence[float]
    other: Sequence[float]
    gap: Sequence[float]
    saliency: Sequence[float]
    top_share: float


def _encoded(engine: Backend, data: DataSet, stop: Stop) -> Iterator[tuple[VisualTokens, list[Item], str]]:
    """Each picture with its questions, encoded."""
    asked = [item for item in data.items if item.family != _BY_DESCRIPTION]
    by_image: dict[str, list[Item]] = {image: [] for image in images_of(asked)}
    for item in asked:
        by_image[item.image].append(item)
    for image, items in by_image.items():
        try:
            picture = data.picture(image)
        except ImageError:
            continue
        yield engine.encode(picture, stop=stop), items, image


def _measure(
    engine: Backend, data: DataSet, visual: VisualTokens, items: Sequence[Item], image: str, stop: Stop
) -> _Picture:
    objects = object_tokens(data, image, visual.grid)
    t2i = [engine.score(visual, item.question, stop=stop).t2i.cpu() for item in items]
    own, other, gap = [], [], []
    for number, item in enumerate(items):
        on, off = objects.on_any(item.named), objects.off_all(item.named)
        if not bool(on.any()) or not bool(off.any()):
            continue
        elsewhere = [
            auc(t2i[at], on, off)
            for at, one in enumerate(items)
            if at != number and not set(one.named) & set(item.named)
        ]
        own.append(auc(t2i[number], on, off))
        if elsewhere:
            other.append(sum(elsewhere) / len(elsewhere))
            gap.append(own[-1] - other[-1])
    saliency = visual.saliency.cpu()
    everything = data.object_ids(image)
    on, off = objects.on_any(everything), objects.off_all(everything)
    found = (auc(saliency, on, off),) if bool(on.any()) and bool(off.any()) else ()
    return _Picture(visual.size, visual.saliency_source, own, other, gap, found, top_share(saliency))


def top_share(saliency: Tensor, part: float = 0.1) -> float:
    """The share of all saliency (N,) that its largest `part` · N values hold; fractions of a token count as such."""
    ordered = saliency.double().sort(descending=True).values
    count = part * ordered.numel()
    whole = math.floor(count)
    held = ordered[:whole].sum() + (ordered[whole] * (count - whole) if whole < ordered.numel() else 0.0)
    return float(held / ordered.sum().clamp(min=torch.finfo(torch.float64).tiny))


def _mean(values: Sequence[Sequence[float]], weights: Array) -> Interval:
    """The mean over all questions, with an interval over pictures. values: per picture."""
    if not values:
        return Interval(math.nan, math.nan, math.nan)
    sums = np.array([sum(one) for one in values], dtype=np.float64)
    counts = np.array([len(one) for one in values], dtype=np.float64)
    return ratio_interval(sums, counts, weights)


def _shown(interval: Interval) -> str:
    return f"{interval.value:.2f} ({interval.low:.2f} to {interval.high:.2f})".replace("-", "−")
