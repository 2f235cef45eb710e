"""Weights that are not what they were: refused by the name of the file, and never answered as if they were right."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from helpers.copied_model import copied
from helpers.models_shared import QUESTIONS, folder_of
from helpers.tiny_models import picture

from adafv_core.engine import load
from adafv_core.errors import ModelError, ModelNotFoundError
from adafv_core.loading.checksums import SUMS, check_sums, write_sums
from adafv_core.loading.load import POCKET


def test_the_bundled_model_is_what_it_shipped_as(tmp_path: Path) -> None:
    before = (POCKET / SUMS).read_text(encoding="ascii")
    for file in POCKET.glob("*.safetensors"):
        shutil.copy(file, tmp_path)
    write_sums(tmp_path)
    assert (tmp_path / SUMS).read_text(encoding="ascii") == before and before.count("\n") == 2
    check_sums(POCKET)


def test_one_flipped_bit_is_refused_by_the_name_of_the_file(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(POCKET, tmp_path / "pocket"))
    file = folder / "model-00002-of-00002.safetensors"
    data = bytearray(file.read_bytes())
    data[-1_000] ^= 1
    file.write_bytes(data)
    with pytest.raises(ModelError, match=r"model-00002-of-00002\.safetensors is damaged"):
        load(folder, device="cpu")


@pytest.mark.parametrize(
    "form", ["{0}  {1}\n", "{0} *{1}\n", "{0}  ./{1}\r\n", "# made by hand\n{0}  {1}\n\n{0}  notes.txt\n"]
)
def test_sums_are_read_in_every_form_that_sha256sum_prints(form: str, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"weights")
    text = form.format(hashlib.sha256(b"weights").hexdigest(), file.name)
    (tmp_path / SUMS).write_bytes(text.encode())
    check_sums(tmp_path)
    file.write_bytes(b"Weights")
    with pytest.raises(ModelError, match=r"model\.safetensors is damaged"):
        check_sums(tmp_path)
    file.unlink()
    with pytest.raises(ModelError, match=r"model\.safetensors is missing"):
        check_sums(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_truncated_weights_are_refused_by_the_name_of_the_file(share: float, tmp_path: Path) -> None:
    file = copied("llava", tmp_path) / "model.safetensors"
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    with pytest.raises(ModelNotFoundError, match=r"model\.safetensors is missing or unreadable"):
        load(tmp_path, device="cpu")


@pytest.mark.parametrize("method", ["adafv", "saliency", "full", "fastv"])
@pytest.mark.parametrize("part", ["vision_tower", "lm_head"])
def test_logits_that_are_no_numbers_are_an_error(part: str, method: str) -> None:
    engine = load(folder_of("llava"), device="cpu")
    module = engine.model.lm_head if part == "lm_head" else engine.model.model.vision_tower
    next(module.parameters()).data.fill_(float("nan"))
    for call in (engine.answer, lambda *asked, **more: list(engine.stream(*asked, **more))):
        with pytest.raises(ModelError, match="not finite numbers"):
            call(picture(80, 60), QUESTIONS[0], keep_ratio=1.0 if method == "full" else 0.5, method=method)
