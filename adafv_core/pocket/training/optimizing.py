"""Data-parallel optimizer steps over worker processes: float32 master weights, averaged gradients."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from adafv_core.pocket.training.losses import PocketTrainer

VISION_SHARE = 0.28
"""Fraction of the training time spent on vision and alignment alone, before the LLM is trained jointly with them."""
_VISION_RATE, _LANGUAGE_RATE = 1.0e-3, 1.5e-3


class Stepper:
    """Master weights and optimizer state, kept identical in every worker process."""

    def __init__(self, trainer: PocketTrainer) -> None:
        self.named = [(name, p) for name, p in trainer.named_parameters() if p.requires_grad]
        self.masters = [nn.Parameter(p.detach().float().clone()) for _, p in self.named]
        language = [
            m
            for (name, _), m in zip(self.named, self.masters, strict=True)
            if "language_model.layers" in name or "language_model.norm" in name or "lm_head" in name
        ]
        chosen = {id(m) for m in language}
        vision = [m for m in self.masters if id(m) not in chosen]
        self.optimizer = torch.optim.AdamW(
            [{"params": vision}, {"params": language}], betas=(0.9, 0.98), weight_decay=0.03, fused=True
        )

    def step(self, progress: float) -> float:
        """Average the gradients over the workers, clip their norm to 2 and apply them.

        progress: this worker's, in 0..1. Returns its mean over the workers, which sets the learning rates.
        """
        flat = torch.cat(
            [(p.grad if p.grad is not None else torch.zeros_like(p)).float().flatten() for _, p in self.named]
            + [torch.tensor([progress])]
        )
        if dist.is_initialized():
            dist.all_reduce(flat)
            flat /= dist.get_world_size()
        progress = float(flat[-1])
        flat = flat[:-1]
        flat *= min(1.0, 2.0 / (float(flat.norm()) + 1e-6))
        for group, rate in zip(self.optimizer.param_groups, rates(progress), strict=True):
            group["lr"] = rate
        offset = 0
        for master, (_, parameter) in zip(self.masters, self.named, strict=True):
            master.grad = flat[offset : offset + master.numel()].view_as(master)
            offset += master.numel()
            parameter.grad = None
        self.optimizer.step()
        self.publish()
        return progress

    @torch.no_grad()
    def publish(self) -> None:
        """Copy the master weights into the model."""
        for master, (_, parameter) in zip(self.masters, self.named, strict=True):
            parameter.copy_(master)

    def state(self) -> dict[str, Any]:
        """The state to resume from with `load`."""
        weights = {name: m.detach() for (name, _), m in zip(self.named, self.masters, strict=True)}
        return {"weights": weights, "optimizer": self.optimizer.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Resume from a value of `state`."""
        weights: dict[str, Tensor] = state["weights"]
        with torch.no_grad():
            for master, (name, _) in zip(self.masters, self.named, strict=True):
                master.copy_(weights[name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.publish()


def rates(progress: float) -> tuple[float, float]:
    """Learning rates of (vision, language) at a progress in 0..1: a short warm-up, then a cosine decay, for each."""
    language = max(0.0, (progress - VISION_SHARE) / (1 - VISION_SHARE))
    return _VISION_RATE * _warm_cosine(progress), _LANGUAGE_RATE * _warm_cosine(language)


def _warm_cosine(progress: float) -> float:
    return min(1.0, progress / 0.02) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))
