"""What is refused while a model loads, instead of answering badly or ending in a traceback later."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.copied_model import copied
from helpers.models_shared import QUESTIONS, folder_of
from helpers.tiny_models import FAMILIES, picture
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from adafv_core.engine import load
from adafv_core.errors import ModelError, ModelNotFoundError, OutOfMemoryError, PromptError
from adafv_core.loading.fingerprint import weights_key
from adafv_core.loading.load import load_model
from adafv_core.models.prompts import Prompter

POCKET_KEY = "5cebf3ab743895fa"


def without(folder: Path, gone: Callable[[str], bool]) -> Path:
    """The checkpoint in that folder, less the weights whose names `gone` says."""
    file = folder / "model.safetensors"
    kept = {name: value for name, value in load_file(file).items() if not gone(name)}
    save_file(kept, file, metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("part", ["layers.1.", "projector", "embed_tokens", "image_newline"])
def test_a_checkpoint_that_lacks_weights(family: str, part: str, tmp_path: Path) -> None:
    """The first of them is named; transformers alone would draw them at random and answer."""
    folder = copied(family, tmp_path)
    if not any(part in name for name in load_file(folder / "model.safetensors")):
        assert part == "image_newline" and family.startswith("llava") and "next" not in family
        return
    without(folder, lambda name: part in name and "vision" not in name)
    with pytest.raises(ModelNotFoundError, match=r"incomplete, its files lack the weights \S*" + part) as caught:
        load_model(folder, device="cpu")
    assert "\n" not in str(caught.value)


def test_a_config_of_a_deeper_model(tmp_path: Path) -> None:
    folder = copied("llava", tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["num_hidden_layers"] += 2
    config["text_config"].pop("layer_types", None)
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelNotFoundError, match=r"incomplete.*more.*config\.json"):
        load_model(folder, device="cpu")


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_no_answer_depends_on_may_lack(family: str, tmp_path: Path) -> None:
    """What stands behind the vision encoder's layers: answers are those of the whole checkpoint."""
    folder = without(copied(family, tmp_path), lambda name: "post_layernorm" in name or ".head." in name)
    answers = [load(one, device="cpu").answer(picture(80, 60), QUESTIONS[0]) for one in (folder, folder_of(family))]
    assert answers[0].token_ids == answers[1].token_ids


def test_tied_weights_are_not_missing(tmp_path: Path) -> None:
    """A checkpoint with tied embeddings is saved without its head, as small LLaVA-OneVision models are."""
    loaded = load_model(copied("llava", tmp_path / "apart"), device="cpu").adapter
    for config in (loaded.model.config, loaded.model.config.text_config):
        config.tie_word_embeddings = True
    loaded.model.tie_weights()
    loaded.model.save_pretrained(tmp_path / "tied")
    loaded.processor.save_pretrained(tmp_path / "tied")
    assert not [name for name in load_file(tmp_path / "tied" / "model.safetensors") if "lm_head" in name]
    assert load(tmp_path / "tied", device="cpu").answer(picture(80, 60), QUESTIONS[0], max_new_tokens=2).token_ids


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 172 MiB."), MemoryError()]
)
def test_a_model_too_large_for_the_device(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """As CUDA raises it while the weights move there: one sentence, and nothing of the model is held any more."""
    held: list[weakref.ref[Any]] = []

    def refuse(self: Any, *_: Any, **__: Any) -> Any:
        held.append(weakref.ref(self))
        raise error

    monkeypatch.setattr(PreTrainedModel, "to", refuse)
    with pytest.raises(OutOfMemoryError, match=r"out of memory .*was freed\. Load a smaller model"):
        load_model("pocket", device="cpu")
    gc.collect()
    assert [one() for one in held] == [None]


BROKEN = {
    "syntax": ("{% if %}", "cannot be followed"),
    "a name it does not have": ("{{ messages[0].nothing.at_all }}", "cannot be followed"),
    "a sum of unlike things": ("{{ messages[0]['role'] + 1 }}", "cannot be followed"),
    "its own refusal": ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
    "no question": ("<image>", "drops, repeats or reorders"),
    "no image": ("{% for part in messages[0]['content'] %}{{ part['text'] }}{% endfor %}", "one image token"),
}


@pytest.mark.parametrize("template", BROKEN)
def test_a_chat_template_that_cannot_be_followed(template: str, tmp_path: Path) -> None:
    """Found while loading, where a page can still start with another model; asking raises PromptError."""
    text, said = BROKEN[template]
    folder = copied("llava", tmp_path)
    (folder / "chat_template.jinja").write_text(text)
    with pytest.raises(ModelError, match=said) as caught:
        load_model(folder, device="cpu")
    assert "\n" not in str(caught.value)
    adapter = load_model(folder_of("llava"), device="cpu").adapter
    adapter.processor.chat_template = text
    with pytest.raises(PromptError, match=said):
        Prompter(adapter.processor, adapter.image_token_id)("How many?")


def test_the_weights_are_named_by_what_was_loaded() -> None:
    """The key of the stored study, whatever the dtype, and still there when the values are not."""
    for dtype in ("float32", "bfloat16"):
        engine = load("pocket", device="cpu", dtype=dtype)
        assert engine.weights == weights_key(engine.model) == POCKET_KEY
    engine.model.to("meta")
    assert engine.weights == POCKET_KEY != weights_key(engine.model)
