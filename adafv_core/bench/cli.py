"""The command `adafv bench`: explains what it measures, measures, prints tables with spread, then one JSON object."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

EXPLANATION = """\
A request has two phases. The prefill runs the whole prompt, visual tokens included, through the LLM and ends with the
first new token (time to first token, TTFT, with encoding, scoring and selecting before it); its time follows the FLOPs
until reading the weights takes longer, which is the floor. Decoding makes one token at a time and is bound by reading
weights and KV cache. Variants run in turn, after a warm-up, with the device synchronized before every clock reading;
shown are medians [lowest – highest], and ratios are medians of ratios within a round. Weights are random: only shapes
count. A fraction of the roofline is the least possible time, by the ceilings measured here, over the time it took.
"""
KEEP_RATIOS = (0.25, 0.1, 0.05)
UNSTABLE = 0.15
_MS = ("score_s", "select_s", "prefill_s", "ttft_s", "token_s", "all_s")


def main(arguments: Sequence[str] | None = None, prog: str = "adafv bench") -> int:
    """Run the benchmark. Returns 0, or 2 for a device that is not there."""
    options = make_parser(prog).parse_args(arguments)
    from transformers.utils import logging

    from adafv_core.errors import AdaFVError

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    say = sys.stderr if options.json == "-" else sys.stdout
    print(EXPLANATION, file=say)
    try:
        found = measured(options)
    except AdaFVError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(report(found), file=say)
    text = json.dumps(found, ensure_ascii=False)
    if options.json in (None, "-"):
        print(text)
    else:
        Path(options.json).write_text(text + "\n", encoding="utf-8")
    return 0


def make_parser(prog: str = "adafv bench") -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog=prog, description="Measure encoding, scoring, selecting, prefill and decoding of pruning methods."
    )
    add = parser.add_argument
    shapes = ("pocket", "llava-1.5-7b", "llava-next-7b", "qwen2.5-vl-7b")
    add("--shapes", choices=shapes, default="pocket", help="the model whose shape is run [%(default)s]")
    add("--scale", type=_scale, help="of the model's width and depth [1 on CUDA, 0.125 elsewhere]")
    add("--runs", type=_count, default=9, help="timed runs of each variant [%(default)s]")
    add("--new-tokens", type=_count, default=8, help="tokens that each run generates [%(default)s]")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps [%(default)s]")
    add("--dtype", choices=("float32", "bfloat16", "float16"), help="[bfloat16 on CUDA, float32 elsewhere]")
    add("--json", metavar="FILE", help="where the JSON goes; - for nothing else on standard output [after the tables]")
    return parser


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Everything the benchmark finds, as plain values. Raises InputError for a device that is not there."""
    import torch

    from adafv_core.bench.sampling import Spread, alternate, load_average, measure_machine, peak_bytes, ratio
    from adafv_core.bench.shapes import make_subject
    from adafv_core.bench.variants import encode_variants, method_variants
    from adafv_core.loading.load import resolve_device

    device = resolve_device(options.device)
    dtype = getattr(torch, options.dtype or ("bfloat16" if device.type == "cuda" else "float32"))
    scale = options.scale or (1.0 if device.type == "cuda" else 0.125)
    machine = measure_machine(device, dtype)
    subject = make_subject(options.shapes, scale, device, dtype)
    encoding = alternate(encode_variants(subject), options.runs)
    pruned = {one.name: one for one in method_variants(subject, KEEP_RATIOS, options.new_tokens)}
    runs = alternate({name: one.run for name, one in pruned.items()}, options.runs)
    encode_s = {way: Spread.of([one["encode_s"] for one in seconds]).median for way, seconds in encoding.items()}
    for name, its_runs in runs.items():
        own_s = encode_s["stock" if name == "full" else "adafv"]
        for run in its_runs:
            run["ttft_s"] = own_s + run["score_s"] + run["select_s"] + run["prefill_s"]
            run["all_s"] += own_s
    methods = {}
    full = pruned["full"].costs()
    for name, one in pruned.items():
        costs = one.costs()
        times = {phase: asdict(Spread.of([run[phase] for run in runs[name]])) for phase in _MS}
        speedup = {
            phase: asdict(ratio(runs[name], runs["full"], phase).inverse())
            for phase in ("prefill_s", "ttft_s", "all_s")
        }
        floor_s = machine.floor_s(costs["prefill_flops"], subject.weight_bytes)
        step_s = machine.floor_s(0, subject.weight_bytes + costs["kv_cache_bytes"])
        methods[name] = {
            **costs,
            "flops_ratio": costs["prefill_flops"] / full["prefill_flops"],
            "peak_bytes": peak_bytes(one.run, device),
            **times,
            "speedup": speedup,
            "prefill_of_roofline": floor_s / times["prefill_s"]["median"],
            "decode_of_roofline": step_s / times["token_s"]["median"] if options.new_tokens > 1 else None,
        }
    return {
        "shapes": subject.name,
        "scale": subject.scale,
        "runs": options.runs,
        "new_tokens": options.new_tokens,
        "n_visual": next(iter(pruned.values())).visual.size,
        "n_text": subject.before.numel() + subject.after.numel(),
        "machine": asdict(machine),
        "load_after": load_average(),
        "weight_bytes": subject.weight_bytes,
        "encode": {
            name: {
                "encode_s": asdict(Spread.of([one["encode_s"] for one in seconds])),
                "over_stock": asdict(ratio(seconds, encoding["stock"], "encode_s")),
            }
            for name, seconds in encoding.items()
        },
        "methods": methods,
    }


def report(found: dict[str, Any]) -> str:
    """The tables."""
    machine = found["machine"]
    lines = [
        f"{found['shapes']} at scale {found['scale']:g}: {found['n_visual']:,} visual and {found['n_text']} text "
        f"tokens, {found['weight_bytes'] / 1e6:,.0f} MB of LLM weights; {found['runs']} runs",
        f"{machine['name']} ({machine['device']}, {machine['dtype']}, {machine['threads']} threads, torch "
        f"{machine['torch']}): {machine['matmul_flops_per_s'] / 1e9:,.0f} GFLOP/s of products, "
        f"{machine['read_bytes_per_s'] / 1e9:,.1f} GB/s of reading",
        "",
        f"{'encode':20} {'ms':>24} {'over stock':>22}",
    ]
    for name, one in found["encode"].items():
        lines.append(f"{name:20} {_ms(one['encode_s']):>24} {_ratio(one['over_stock']):>22}")
    lines += [
        "",
        f"{'method':16} {'score':>8} {'select':>8} {'prefill ms':>24} {'speed-up':>20} {'FLOPs':>6} {'roof':>5} "
        f"{'TTFT':>20} {'all':>18} {'token':>8} {'roof':>5} {'KV MB':>7} {'peak MB':>8}",
    ]
    for name, one in found["methods"].items():
        peak = "–" if one["peak_bytes"] is None else f"{one['peak_bytes'] / 1e6:.1f}"
        decode = "–" if one["decode_of_roofline"] is None else f"{one['decode_of_roofline']:.2f}"
        lines.append(
            f"{name:16} {one['score_s']['median'] * 1e3:8.2f} {one['select_s']['median'] * 1e3:8.2f} "
            f"{_ms(one['prefill_s']):>24} {_ratio(one['speedup']['prefill_s']):>20} {1 / one['flops_ratio']:6.2f} "
            f"{one['prefill_of_roofline']:5.2f} {_ratio(one['speedup']['ttft_s']):>20} "
            f"{_ratio(one['speedup']['all_s']):>18} {one['token_s']['median'] * 1e3:8.2f} {decode:>5} "
            f"{one['kv_cache_bytes'] / 1e6:7.2f} {peak:>8}"
        )
    lines.append("speed-up, TTFT, all, FLOPs: the unpruned run's over this one's; roof: fraction of the roofline.")
    wide = [name for name, one in found["methods"].items() if _width(one["speedup"]["prefill_s"]) > UNSTABLE]
    if wide:
        lines.append(f"Too unsteady for a verdict (ratios spread by more than ±15 %): {', '.join(wide)}.")
    return "\n".join(lines)


def _width(spread: dict[str, float]) -> float:
    return (spread["highest"] - spread["lowest"]) / 2 / spread["median"]


def _ms(spread: dict[str, float]) -> str:
    median, lowest, highest = (1e3 * spread[name] for name in ("median", "lowest", "highest"))
    return f"{median:.2f} [{lowest:.2f} – {highest:.2f}]"


def _ratio(spread: dict[str, float]) -> str:
    return f"{spread['median']:.2f} [{spread['lowest']:.2f} – {spread['highest']:.2f}]"


def _scale(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number above 0 and at most 1; got {text}")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1; got {text}")
    return value
