"""A new model family is one new file and one line: done here on a copy of the library, in a fresh interpreter."""

from __future__ import annotations

from pathlib import Path

from helpers.library_copy import copy_library, run

TOY = '''"""A family of its own name, made like LLaVA-1.5."""

from transformers import AutoConfig, AutoModelForImageTextToText, LlavaConfig, LlavaForConditionalGeneration

import adafv_core.models.llava as llava


class ToyConfig(LlavaConfig):
    model_type = "toy"


class ToyForConditionalGeneration(LlavaForConditionalGeneration):
    config_class = ToyConfig


AutoConfig.register("toy", ToyConfig)
AutoModelForImageTextToText.register(ToyConfig, ToyForConditionalGeneration)


class ToyAdapter(llava.LlavaAdapter):
    model_class = "ToyForConditionalGeneration"
    model_type = "toy"
'''

CHECK = """
from pathlib import Path
from helpers.tiny_models import picture, save_tiny
from transformers import LlavaForConditionalGeneration
from adafv_core import load
from adafv_core.models.toy import ToyConfig, ToyForConditionalGeneration
folder = save_tiny("llava", Path("model"))
stock = LlavaForConditionalGeneration.from_pretrained(folder)
toy = ToyForConditionalGeneration(ToyConfig(**{**stock.config.to_dict(), "model_type": "toy"}))
toy.load_state_dict(stock.state_dict())
toy.save_pretrained(folder)
engine = load(folder, device="cpu")
assert type(engine.adapter).__name__ == "ToyAdapter", engine.adapter
assert engine.answer(picture(80, 60), "What color is the ring?", 0.25, max_new_tokens=2).n_kept == 4
"""


def test_one_file_and_one_line_add_a_model_family(tmp_path: Path) -> None:
    copy_library(tmp_path)
    models = tmp_path / "adafv_core" / "models"
    (models / "toy.py").write_text(TOY, encoding="utf-8")
    registry = models / "__init__.py"
    lines = registry.read_text(encoding="utf-8")
    assert lines.count('    "llava_onevision",\n') == 1
    line = '    "llava_onevision",\n'
    registry.write_text(lines.replace(line, line + '    "toy",\n'), encoding="utf-8")
    run(["-c", CHECK], tmp_path)
