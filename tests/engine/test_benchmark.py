"""`adafv bench`: every shape runs, tables and JSON agree, and the arithmetic beside the times is that of the runs."""

from __future__ import annotations

import json

import pytest
import torch

from adafv_core import cli, cost
from adafv_core.bench.sampling import Machine, Spread, alternate, ratio
from adafv_core.bench.shapes import SHAPES, make_subject
from adafv_core.bench.variants import METHODS, Pruned, encode_variants, method_variants
from adafv_core.engine.batch import planned, row_from_ids

N_VISUAL = {"pocket": 196, "llava-1.5-7b": 576, "llava-next-7b": 2880, "qwen2.5-vl-7b": 576}


def test_tables_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "--shapes", "pocket", "--runs", "1", "--new-tokens", "2", "--json", "-"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert "prefill" in printed.err and "roof" in printed.err and "adafv −90 %" in printed.err
    assert set(found["encode"]) == {"stock", "authors", "adafv"}
    assert len(found["methods"]) == 1 + 3 * len(METHODS)
    for name, one in found["methods"].items():
        assert one["ttft_s"]["median"] > one["prefill_s"]["median"] > 0 < one["token_s"]["median"]
        assert 0 < one["prefill_of_roofline"] <= 1.5 and one["all_s"]["median"] > one["ttft_s"]["median"], name
    assert found["methods"]["adafv −90 %"]["n_kept"] == 20
    ratios = [found["methods"][name]["flops_ratio"] for name in ("full", "adafv −75 %", "adafv −90 %")]
    assert ratios[0] == 1 > ratios[1] > ratios[2] > 0, "a share of the full prefill, as in a Request"
    assert found["methods"]["full"]["speedup"]["prefill_s"]["median"] == 1
    assert found["machine"]["matmul_flops_per_s"] > 1e9 and found["machine"]["read_bytes_per_s"] > 1e8


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_runs_scaled_down(name: str) -> None:
    subject = make_subject(name, 0.01, torch.device("cpu"), torch.float32)
    if name in ("pocket", "llava-1.5-7b"):
        assert all(way()["encode_s"] > 0 for way in encode_variants(subject).values())
    variants = method_variants(subject, [0.05], 2)
    assert [one.visual.size for one in variants] == [N_VISUAL[name]] * (1 + len(METHODS))
    assert [one.request.method for one in variants] == ["full", *METHODS]
    for one in variants if name == "pocket" else variants[1:3]:
        assert min(one.run().values()) >= 0
        _agrees_with_the_plan(one)


def _agrees_with_the_plan(one: Pruned) -> None:
    """What the arithmetic says each layer sees is what `generate` is given, or what the method leaves inside."""
    adapter, request = one.subject.adapter, one.request
    made = None if request.chooser.inside_llm else request.select(one.scores())
    row = row_from_ids(adapter, one.ids, [(one.visual, made)])
    with planned(adapter, [row], request, request.chooser, one.budgets_of, pad_token_id=0) as plan:
        if request.chooser.inside_llm:
            adapter.model.generate(**plan.arguments, max_new_tokens=1, do_sample=False, pad_token_id=0)
        seen = plan.layer_tokens(0) or (plan.length,) * adapter.llm_shape.layers
    assert one.layer_tokens() == tuple(seen)
    assert one.costs()["prefill_flops"] == cost.prefill_flops(adapter.llm_shape, seen)


def test_variants_alternate_and_ratios_stay_within_a_round() -> None:
    called: list[str] = []

    def variant(name: str, seconds: list[float]) -> dict[str, float]:
        called.append(name)
        return {"a_s": seconds[len([one for one in called if one == name]) - 1]}

    times = {"a": [9.0, 1.0, 2.0], "b": [9.0, 2.0, 6.0]}
    runs = alternate({name: lambda name=name: variant(name, times[name]) for name in times}, 2)
    assert called == ["a", "b", "b", "a", "a", "b"]
    assert runs == {"a": [{"a_s": 1.0}, {"a_s": 2.0}], "b": [{"a_s": 2.0}, {"a_s": 6.0}]}
    assert ratio(runs["b"], runs["a"], "a_s") == Spread(2.5, 2.0, 3.0)


def test_the_floor_is_what_takes_longer() -> None:
    machine = Machine("cpu", "", "", "float32", 1, matmul_flops_per_s=100.0, read_bytes_per_s=10.0, load=None)
    assert machine.floor_s(1000, 50) == 10.0 and machine.floor_s(100, 50) == 5.0
