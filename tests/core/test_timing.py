from __future__ import annotations

import pytest
import torch
from helpers.models_shared import QUESTIONS, engine_of
from helpers.tiny_models import picture

from adafv_core.engine.streaming import now_s
from adafv_core.errors import InputError
from adafv_core.timing import measure, peak_bytes


def test_medians_of_whole_requests() -> None:
    """Each run encodes anew, and the phases add up to the time to the first token."""
    engine, runs = engine_of("llava"), []
    handle = engine.model.model.vision_tower.register_forward_hook(lambda *_: runs.append(1))
    found = measure(engine, picture(80, 60), QUESTIONS[0], keep_ratio=0.25, warmup=2, repeats=3, max_new_tokens=4)
    handle.remove()
    assert len(runs) == 5 and found.repeats == 3
    assert (found.n_kept, found.n_visual, found.device) == (4, 16, "cpu")
    assert found.ttft_s > found.prefill_s > 0 and found.encode_s > 0 and found.select_s > 0
    assert found.per_token_s > 0 and found.peak_bytes > 50_000_000


def test_one_token_has_no_decoding() -> None:
    found = measure(engine_of("llava"), picture(80, 60), QUESTIONS[0], warmup=0, repeats=1, max_new_tokens=1)
    assert found.per_token_s == 0


@pytest.mark.parametrize("options", [{"repeats": 0}, {"warmup": -1}])
def test_bad_counts(options: dict[str, int]) -> None:
    with pytest.raises(InputError, match="repeats"):
        measure(engine_of("llava"), picture(80, 60), QUESTIONS[0], **options)


def test_the_clock_is_steady() -> None:
    assert now_s("cpu") <= now_s(torch.device("cpu"))
    assert peak_bytes(torch.device("cpu")) > 50_000_000
