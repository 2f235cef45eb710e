"""Training batches: many questions on one picture, each in a block of its own."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from adafv_core.pocket.training.dropping import answerable, draw_budget, keep_some
from adafv_core.pocket.training.pool import Pool
from adafv_core.pocket.world.labels import large_phrases, thing_labels
from adafv_core.pocket.world.questions import Question, ask_for_training
from adafv_core.pocket.world.scenes import Scene, make_scene
from adafv_core.pocket.world.vocabulary import BOS, EOS, GROUNDED
from adafv_core.pocket.world.world import seed_in


@dataclass(frozen=True)
class Batch:
    """B pictures of N patches with Q questions each.

    pixels (B, 3, H, W) float32, normalized. owners (B, N) int64, see `patch_owners`. labels, large: see
    `labels.py`. words (W,) int64 token ids; word_targets (B, W, N) float32, rows sum to 1; word_grounded (B, W)
    bool. head (P,) int64: token ids before the picture. blocks (B, Q, L) int64: each question with its answer and
    end mark, padded on the right. rows (B, Q) int64: the position in the block that predicts the answer. answers
    (B, Q) int64. looks (B, Q, N) bool: patches of what the question names. kept (B, K) int64: the visual tokens the
    LLM is given, ascending. counts (B, Q) bool: questions that these tokens can answer.
    """

    pixels: Tensor
    owners: Tensor
    labels: dict[str, Tensor]
    large: Tensor
    words: Tensor
    word_targets: Tensor
    word_grounded: Tensor
    head: Tensor
    blocks: Tensor
    rows: Tensor
    answers: Tensor
    looks: Tensor
    kept: Tensor
    counts: Tensor


class BatchMaker:
    """Makes batches from a pool; the same seed and step give the same batch."""

    def __init__(
        self,
        pool: Pool,
        tokenizer: PreTrainedTokenizerBase,
        mean: list[float],
        std: list[float],
        seed: int = 0,
    ) -> None:
        self.pool, self.tokenizer, self.seed = pool, tokenizer, seed
        self._mean, self._std = torch.tensor(mean), torch.tensor(std)
        self._scenes: dict[int, Scene] = {}
        self._grounded_ids: list[int] = tokenizer.convert_tokens_to_ids(list(GROUNDED))
        self._silent_ids = sorted(set(range(len(tokenizer))) - set(self._grounded_ids))
        self._ids: dict[str, list[int]] = {}
        self._head = torch.tensor(self._encode(f"{BOS} user :"))

    def batches(self, first_step: int, images: int, questions: int) -> Iterator[Batch]:
        """Batches from a step on, for ever; questions is Q (0 gives pictures only)."""
        step = first_step
        while True:
            rng = random.Random(f"{self.seed}/{step}")
            yield self.make([rng.randrange(self.pool.size) for _ in range(images)], questions, rng)
            step += 1

    def make(self, indices: list[int], questions: int, rng: random.Random) -> Batch:
        """The batch of these scenes of the pool."""
        scenes = [self._scene(index) for index in indices]
        drawn = [self.pool[index] for index in indices]
        pixels = torch.from_numpy(np.stack([image for image, _ in drawn])).float() / 255
        pixels = ((pixels - self._mean) / self._std).permute(0, 3, 1, 2).contiguous()
        owners = torch.from_numpy(np.stack([owner for _, owner in drawn])).long().flatten(1)
        words = torch.tensor(self._grounded_ids + rng.sample(self._silent_ids, 16))
        targets, grounded = _word_targets(scenes, owners, len(words))
        asked = [ask_for_training(scene, questions, rng) if questions else [] for scene in scenes]
        budget = draw_budget(rng, owners.shape[1]) if questions else owners.shape[1]
        kept = torch.stack([keep_some(row, budget, rng) for row in owners])
        counts = torch.tensor(
            [[answerable(q, owners[row], kept[row]) for q in row_asked] for row, row_asked in enumerate(asked)]
        )
        blocks = self._blocks(asked, owners, rng)
        labels, large = thing_labels(scenes), large_phrases(scenes)
        return Batch(pixels, owners, labels, large, words, targets, grounded, self._head, *blocks, kept, counts)

    def _scene(self, index: int) -> Scene:
        if index not in self._scenes:
            self._scenes[index] = make_scene(seed_in(self.pool.split, index))
        return self._scenes[index]

    def _blocks(
        self, asked: list[list[Question]], owners: Tensor, rng: random.Random
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        tail, end = self._encode("assistant :"), self._encode(EOS)
        encoded = [
            [self._encode(_retype(q.text, rng)) + tail + self._encode(q.answer) + end for q in row] for row in asked
        ]
        length = max((len(block) for row in encoded for block in row), default=0)
        size = len(asked[0])
        blocks = torch.tensor([[block + [0] * (length - len(block)) for block in row] for row in encoded])
        rows = torch.tensor([[len(block) - 3 for block in row] for row in encoded])
        answers = torch.tensor([[block[-2] for block in row] for row in encoded])
        looks = torch.zeros(len(asked), size, owners.shape[1], dtype=torch.bool)
        for row, questions in enumerate(asked):
            for column, question in enumerate(questions):
                named = question.targets[:1] if question.family == "relation" else question.targets
                looks[row, column] = _covered(owners[row], named)
        return blocks, rows, answers, looks

    def _encode(self, text: str) -> list[int]:
        if text not in self._ids:
            self._ids[text] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return self._ids[text]


def _covered(owners: Tensor, things: tuple[int, ...] | list[int]) -> Tensor:
    covered = torch.zeros_like(owners, dtype=torch.bool)
    for thing in things:
        covered |= owners == thing
    return covered


def _word_targets(scenes: list[Scene], owners: Tensor, count: int) -> tuple[Tensor, Tensor]:
    patches = owners.shape[1]
    targets = torch.full((len(scenes), count, patches), 1 / patches)
    grounded = torch.zeros(len(scenes), count, dtype=torch.bool)
    for row, scene in enumerate(scenes):
        for column, (attribute, value) in enumerate(GROUNDED.values()):
            named = [i for i, thing in enumerate(scene.things) if getattr(thing, attribute) == value]
            mask = _covered(owners[row], named)
            if named and mask.any():
                targets[row, column] = mask.float() / mask.sum()
                grounded[row, column] = True
    return targets, grounded


def _retype(text: str, rng: random.Random) -> str:
    """The question as somebody else would type it: sometimes without its last sign."""
    return text.rstrip("?.") if rng.random() < 0.25 else text
