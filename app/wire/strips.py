"""The answer along the slider as a value: one point per measured budget, and the sentence that sums them up."""

from __future__ import annotations

from dataclasses import dataclass

from app.wire.parse import TokenChoice


@dataclass(frozen=True)
class StripPoint:
    """One budget. n_kept: visual tokens kept, of all images; 0 where the method refuses the budget, as `error` says.
    same, kl_nats: beside the answer from all tokens, as `views.compare` gives them. correct: whether the answer is
    right; None where the right answer is not known.
    """

    keep_ratio: float
    n_kept: int = 0
    answer: str = ""
    same: bool | None = None
    kl_nats: float | None = None
    correct: bool | None = None
    error: str = ""

    @property
    def outcome(self) -> tuple[bool | None, bool | None]:
        """What is compared between neighbors."""
        return self.same, self.correct


@dataclass(frozen=True)
class AnswerStrip:
    """The budgets of a question that are measured so far.

    key: of the maps that it belongs to. n_visual: tokens of all images. n_budgets: those of the slider. points: by
    ascending keep ratio. full_answer: from all tokens; None until it is there. complete: whether neighbors that differ
    are next to each other on the slider. stopped: whether it ended before that.
    """

    key: str
    prompt: str
    model: str
    method: str
    n_visual: int
    n_budgets: int
    max_new_tokens: int | None = None
    force_keep: tuple[int, ...] = ()
    force_drop: tuple[int, ...] = ()
    correct_answer: str | None = None
    full_answer: str | None = None
    full_correct: bool | None = None
    points: tuple[StripPoint, ...] = ()
    complete: bool = False
    stopped: bool = False

    def is_of(self, prompt: str, method: str, max_new_tokens: int | None, choice: TokenChoice) -> bool:
        """Whether it was measured with these values."""
        own = (self.prompt, self.method, self.max_new_tokens, self.force_keep, self.force_drop)
        return own == (prompt, method, max_new_tokens, choice.force_keep, choice.force_drop)

    @property
    def holds_down_to(self) -> int | None:
        """The fewest tokens so that no measured budget from there up gives another answer; None if there are none."""
        fewest = None
        for point in reversed(self.points):
            if point.same is False:
                break
            fewest = point.n_kept if point.same else fewest
        return fewest

    @property
    def sentence(self) -> str:
        """How far down the answer holds; empty while nothing is measured."""
        answered = [point for point in self.points if point.same is not None]
        if not answered:
            return ""
        fewest = self.holds_down_to
        if fewest is None or (fewest == self.n_visual and len(answered) > 1):
            first = next(point.n_kept for point in reversed(answered) if not point.same)
            text = f"the answer from all tokens is another one at {first}"
        else:
            text = f"the answer holds down to {fewest}"
        text = f"{text} of {self.n_visual} tokens"
        if self.full_correct is not None:
            text += f", and it is {'right' if self.full_correct else 'wrong'}"
        return f"{'T' if self.complete else 'So far t'}{text[1:]}."
