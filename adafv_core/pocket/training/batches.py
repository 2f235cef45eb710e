"""Training batches: several questions per image, each in its own block."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from adafv_core.pocket.training.build import POCKET
from adafv_core.pocket.training.dropping import answerable, draw_budget, draw_kept
from adafv_core.pocket.training.pool import Pool
from adafv_core.pocket.world.labels import large_phrases, thing_labels
from adafv_core.pocket.world.questions import SceneQuestion, ask_for_training
from adafv_core.pocket.world.scenes import Scene, make_scene
from adafv_core.pocket.world.vocabulary import BOS, EOS, GROUNDED
from adafv_core.pocket.world.world import seed_in


@dataclass(frozen=True)
class TrainingBatch:
    """B images of N patches with Q questions each.

    pixels: (B, 3, H, W) float32, normalized.
    owners: (B, N) int64, the thing each patch shows, see `patch_owners`.
    labels: per label name (B, M) int64, see `thing_labels`.
    large: (B, colors × shapes) float32, see `large_phrases`.
    words: (W,) int64, token ids of the words to align with patches.
    word_targets: (B, W, N) float32, the target distribution over patches for each word; rows sum to 1.
    word_grounded: (B, W) bool, whether the image shows what the word names.
    prefix: (P,) int64, token ids before the image.
    blocks: (B, Q, L) int64, token ids of each question, its answer and the end-of-sequence token, right-padded.
    answer_rows: (B, Q) int64, the position in the block that predicts the answer.
    answers: (B, Q) int64, token id of the answer.
    named: (B, Q, N) bool, patches of the thing that the question refers to.
    kept: (B, K) int64, visual tokens passed to the LLM, ascending.
    answerable: (B, Q) bool, whether the kept tokens suffice to answer the question.
    """

    pixels: Tensor
    owners: Tensor
    labels: dict[str, Tensor]
    large: Tensor
    words: Tensor
    word_targets: Tensor
    word_grounded: Tensor
    prefix: Tensor
    blocks: Tensor
    answer_rows: Tensor
    answers: Tensor
    named: Tensor
    kept: Tensor
    answerable: Tensor


class BatchMaker:
    """Builds batches from a pool of scenes; the same seed and step give the same batch."""

    def __init__(
        self,
        pool: Pool,
        tokenizer: PreTrainedTokenizerBase,
        mean: list[float],
        std: list[float],
        seed: int = 0,
        drop_share: float = POCKET.drop_share,
    ) -> None:
        self.pool, self.tokenizer, self.seed, self.drop_share = pool, tokenizer, seed, drop_share
        self._mean, self._std = torch.tensor(mean), torch.tensor(std)
        self._scenes: dict[int, Scene] = {}
        self._grounded_ids: list[int] = tokenizer.convert_tokens_to_ids(list(GROUNDED))
        self._ungrounded_ids = sorted(set(range(len(tokenizer))) - set(self._grounded_ids))
        self._ids: dict[str, list[int]] = {}
        self._prefix = torch.tensor(self._encode(f"{BOS} user :"))

    def batches(self, first_step: int, images: int, questions: int) -> Iterator[TrainingBatch]:
        """Yield batches endlessly, starting at a step. images: B. questions: Q; 0 gives images without questions."""
        step = first_step
        while True:
            rng = random.Random(f"{self.seed}/{step}")
            yield self.make([rng.randrange(self.pool.size) for _ in range(images)], questions, rng)
            step += 1

    def make(self, indices: list[int], questions: int, rng: random.Random) -> TrainingBatch:
        """Build the batch of the given scenes of the pool."""
        scenes = [self._scene(index) for index in indices]
        drawn = [self.pool[index] for index in indices]
        pixels = torch.from_numpy(np.stack([image for image, _ in drawn])).float() / 255
        pixels = ((pixels - self._mean) / self._std).permute(0, 3, 1, 2).contiguous()
        owners = torch.from_numpy(np.stack([owner for _, owner in drawn])).long().flatten(1)
        words = torch.tensor(self._grounded_ids + rng.sample(self._ungrounded_ids, 16))
        targets, grounded = _word_targets(scenes, owners, len(words))
        asked = [ask_for_training(scene, questions, rng) if questions else [] for scene in scenes]
        budget = draw_budget(rng, owners.shape[1], self.drop_share) if questions else owners.shape[1]
        kept = torch.stack([draw_kept(row, budget, rng) for row in owners])
        can_answer = torch.tensor(
            [[answerable(q, owners[row], kept[row]) for q in row_asked] for row, row_asked in enumerate(asked)]
        )
        blocks = self._blocks(asked, owners, rng)
        labels, large = thing_labels(scenes), large_phrases(scenes)
        return TrainingBatch(
            pixels, owners, labels, large, words, targets, grounded, self._prefix, *blocks, kept, can_answer
        )

    def _scene(self, index: int) -> Scene:
        if index not in self._scenes:
            self._scenes[index] = make_scene(seed_in(self.pool.split, index))
        return self._scenes[index]

    def _blocks(
        self, asked: list[list[SceneQuestion]], owners: Tensor, rng: random.Random
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        tail, end = self._encode("assistant :"), self._encode(EOS)
        encoded = [
            [self._encode(_vary_punctuation(q.text, rng)) + tail + self._encode(q.answer) + end for q in row]
            for row in asked
        ]
        length = max((len(block) for row in encoded for block in row), default=0)
        size = len(asked[0])
        blocks = torch.tensor([[block + [0] * (length - len(block)) for block in row] for row in encoded])
        rows = torch.tensor([[len(block) - 3 for block in row] for row in encoded])
        answers = torch.tensor([[block[-2] for block in row] for row in encoded])
        named = torch.zeros(len(asked), size, owners.shape[1], dtype=torch.bool)
        for row, questions in enumerate(asked):
            for column, question in enumerate(questions):
                named[row, column] = _covered(owners[row], question.referents)
        return blocks, rows, answers, named

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


def _vary_punctuation(text: str, rng: random.Random) -> str:
    """The question as another user might type it: sometimes without the final punctuation."""
    return text.rstrip("?.") if rng.random() < 0.25 else text
