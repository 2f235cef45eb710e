"""Trains the pocket model: `python -m adafv_core.pocket.training.train --minutes 90`. Run it again to resume."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Mapping
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from transformers import LlavaForConditionalGeneration

from adafv_core.loading.checksums import write_sums
from adafv_core.pocket.training.attention import TRAINING
from adafv_core.pocket.training.batches import BatchMaker
from adafv_core.pocket.training.build import POCKET, RECIPES, Recipe, build_model, build_processor
from adafv_core.pocket.training.card import summarize_log
from adafv_core.pocket.training.losses import PocketTrainer
from adafv_core.pocket.training.optimizing import VISION_SHARE, Stepper
from adafv_core.pocket.training.pool import Pool

_SAVE_EVERY_S, _LOG_EVERY = 90.0, 25


def make_parser() -> argparse.ArgumentParser:
    """Build the command-line parser."""
    parser = argparse.ArgumentParser(prog="python -m adafv_core.pocket.training.train", description=__doc__)
    parser.add_argument("--minutes", type=float, default=90.0, help="total training time, over all restarts")
    parser.add_argument(
        "--work", type=Path, default=Path("runs/pocket"), help="folder for the scene pool, the checkpoint and the log"
    )
    parser.add_argument("--out", type=Path, default=Path("assets/pocket"), help="folder to write the trained model to")
    parser.add_argument("--scenes", type=int, default=40_000, help="training scenes in the pool (19 ms to draw one)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="worker processes, one thread each")
    parser.add_argument("--images", type=int, default=16, help="images per worker and step")
    parser.add_argument("--questions", type=int, default=16, help="questions per image, once the LLM is trained")
    parser.add_argument("--recipe", choices=tuple(RECIPES), default="pocket", help="which model (default: the bundled)")
    parser.add_argument("--seed", type=int, help="of weights and questions (default: the recipe's)")
    parser.add_argument("--export-only", action="store_true", help="only write the model from the last checkpoint")
    return parser


def training_dtype() -> torch.dtype:
    """bfloat16 where this CPU multiplies in it; elsewhere it is emulated, ten times slower than float32."""
    able: Mapping[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # not in every torch from the floor on
    return torch.bfloat16 if able.get("avx512_bf16") or able.get("amx_bf16") else torch.float32


def build_trainer(seed: int, recipe: Recipe = POCKET) -> PocketTrainer:
    """Build an untrained model with its training heads, without the last vision layer, which nothing reads."""
    model = build_model(seed=seed, recipe=recipe)
    tower = model.model.vision_tower
    tower.encoder.layers = tower.encoder.layers[:-1]
    model.config.vision_feature_layer = -1
    tower.set_attn_implementation(TRAINING)
    model.model.language_model.set_attn_implementation(TRAINING)
    trainer = PocketTrainer(model)
    trainer.model.to(training_dtype())
    return trainer


def run_worker(rank: int, options: argparse.Namespace, port: int) -> None:
    """Run one worker process: batches, losses and optimizer steps until the training time is used up."""
    torch.set_num_threads(1)
    if options.workers > 1:
        address = f"tcp://127.0.0.1:{port}"
        dist.init_process_group("gloo", init_method=address, rank=rank, world_size=options.workers)
    recipe = RECIPES[options.recipe]
    trainer = build_trainer(options.seed, recipe)
    stepper = Stepper(trainer)
    state_file: Path = options.work / "state.pt"
    spent_s, step = 0.0, 0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        stepper.load(state)
        spent_s, step = state["spent_s"], state["step"]
    processor = build_processor(recipe)
    shape = processor.image_processor
    pool = Pool(options.work / "pool", "train", options.scenes, recipe.image_px, recipe.grid)
    seed = options.seed * 1000 + rank
    maker = BatchMaker(pool, processor.tokenizer, shape.image_mean, shape.image_std, seed, recipe.drop_share)
    started_s, saved_s, logged_s = time.monotonic() - spent_s, time.monotonic(), time.monotonic()
    progress, answers = spent_s / (60 * options.minutes), False
    sums: dict[str, float] = {}
    batches = maker.batches(step, options.images, 0)
    while progress < 1.0:
        if not answers and progress >= VISION_SHARE:
            answers, batches = True, maker.batches(step, options.images, options.questions)
        losses = trainer(next(batches), answers)
        torch.autograd.backward([loss for name, loss in losses.items() if name != "answered"])
        progress = stepper.step((time.monotonic() - started_s) / (60 * options.minutes))
        step += 1
        for name, loss in losses.items():
            sums[name] = sums.get(name, 0.0) + float(loss.detach())
        if rank == 0 and step % _LOG_EVERY == 0:
            rate = _LOG_EVERY * options.images * options.workers / (time.monotonic() - logged_s)
            mean = {name: value / _LOG_EVERY for name, value in sums.items()}
            _log(options, step, progress, rate, mean)
            logged_s = time.monotonic()
        if step % _LOG_EVERY == 0:
            sums = {}
        if rank == 0 and (time.monotonic() - saved_s > _SAVE_EVERY_S or progress >= 1.0):
            _save(state_file, {**stepper.state(), "spent_s": time.monotonic() - started_s, "step": step})
            saved_s = time.monotonic()


def _train(options: argparse.Namespace) -> None:
    if options.workers == 1:
        run_worker(0, options, 0)
        return
    port = 20_000 + os.getpid() % 20_000
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=run_worker, args=(rank, options, port)) for rank in range(options.workers)]
    for worker in workers:
        worker.start()
    try:
        wait([worker.sentinel for worker in workers])
        while all(worker.exitcode in (None, 0) for worker in workers) and any(w.is_alive() for w in workers):
            time.sleep(0.2)
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()
    if any(worker.exitcode for worker in workers):
        raise RuntimeError("a worker process failed; see its error message above")


def export(options: argparse.Namespace) -> None:
    """Write model and processor for `from_pretrained`: float32 safetensors in shards under 9 MB."""
    state = torch.load(options.work / "state.pt", weights_only=True)
    model: LlavaForConditionalGeneration = build_model(seed=options.seed, recipe=RECIPES[options.recipe])
    weights = {
        name.removeprefix("model."): value for name, value in state["weights"].items() if name.startswith("model.")
    }
    missing, unexpected = model.load_state_dict(weights, strict=False)
    if unexpected or any("layers.4" not in name and "post_layernorm" not in name for name in missing):
        raise RuntimeError(f"the checkpoint does not fit the model: missing {missing}, unexpected {unexpected}")
    model.save_pretrained(options.out, max_shard_size="8MB")
    write_sums(options.out)
    build_processor(RECIPES[options.recipe]).save_pretrained(options.out)
    log = options.work / "log.jsonl"
    if log.exists():
        training = summarize_log(log, state["spent_s"] / 60)
        (options.out / "training.json").write_text(json.dumps(training, indent=1) + "\n")
    print(f"wrote {options.out}: {state['step']} steps, {state['spent_s'] / 60:.0f} minutes")


def _save(file: Path, state: dict[str, Any]) -> None:
    partial = file.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(file)


def _log(
    options: argparse.Namespace, step: int, progress: float, images_per_s: float, losses: dict[str, float]
) -> None:
    images = options.images * options.workers
    line = {
        "step": step,
        "progress": round(progress, 4),
        "images_per_s": round(images_per_s, 1),
        "images_per_step": images,
        "questions_per_step": images * options.questions if "answer" in losses else 0,
    }
    line.update({name: round(value, 4) for name, value in losses.items()})
    with (options.work / "log.jsonl").open("a") as log:
        log.write(json.dumps({**line, "machine": platform.processor() or platform.machine()}) + "\n")
    shown = " ".join(f"{name} {value:.2f}" for name, value in losses.items())
    print(f"{progress:6.1%} step {step} {images_per_s:.0f} images/s {shown}", flush=True)


def main(argv: list[str] | None = None) -> None:
    """Train, then write the model."""
    options = make_parser().parse_args(argv)
    options.seed = RECIPES[options.recipe].seed if options.seed is None else options.seed
    options.work.mkdir(parents=True, exist_ok=True)
    if not options.export_only:
        _train(options)
    export(options)


if __name__ == "__main__":
    main(sys.argv[1:])
