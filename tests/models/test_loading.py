"""Loading: what comes in through files, and what is said when it cannot."""

from __future__ import annotations

import json
import shutil
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.copied_model import copied
from helpers.models_shared import QUESTIONS, folder_of
from helpers.tiny_models import FAMILIES, picture
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError
from transformers import BertConfig, BertModel

from adafv_core.engine import load
from adafv_core.errors import InputError, ModelError, ModelNotFoundError, UnsupportedModelError
from adafv_core.loading import load as loading
from adafv_core.loading.known_models import KNOWN_MODELS, advised, find_known
from adafv_core.loading.load import find_processor, load_model
from adafv_core.models import ADAPTERS


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_loads_ready_to_answer(family: str) -> None:
    loaded = load_model(folder_of(family), device="cpu")
    assert loaded.dtype == torch.float32 and loaded.device == torch.device("cpu") and loaded.revision is None
    assert loaded.name == str(folder_of(family))
    assert not loaded.adapter.model.training
    assert type(loaded.adapter.processor.image_processor).__name__.endswith("Pil")
    assert loaded.adapter.processor.tokenizer.padding_side == "left"
    assert type(loaded.adapter) is ADAPTERS[type(loaded.adapter.model).__name__]


def test_the_bundled_model_is_found_beside_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    engine = load("pocket", device="cpu")
    answer = engine.answer(picture(168, 168), "What color is the ring?", 0.1, max_new_tokens=4)
    assert engine.name == "pocket" and answer.n_kept == round(0.1 * answer.n_visual)


@pytest.mark.parametrize(
    ("asked", "got"), [("bfloat16", torch.bfloat16), (torch.float16, torch.float16), ("auto", torch.float32)]
)
def test_dtypes(asked: Any, got: torch.dtype) -> None:
    """Whatever the weights are in, scores are float32, and an answer comes."""
    engine = load(folder_of("llava_next_vicuna"), device="cpu", dtype=asked)
    assert engine.dtype == got == engine.model.lm_head.weight.dtype
    scores = engine.score(engine.encode(picture(80, 60)), QUESTIONS[0])
    assert scores.t2i.dtype == scores.saliency.dtype == scores.visual.cls_attention.dtype == torch.float32
    assert scores.visual.features.dtype == got
    for method in ("adafv", "fastv"):
        answer = engine.answer(picture(80, 60), QUESTIONS[0], 0.3, method=method, max_new_tokens=3)
        assert torch.isfinite(answer.first_logprobs).all()


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_attention_backends(attention: str) -> None:
    engine = load(folder_of("llava"), device="cpu", attn_implementation=attention)
    assert engine.model.config.text_config._attn_implementation == attention
    assert engine.answer(picture(80, 60), QUESTIONS[0], max_new_tokens=3).token_ids


@pytest.mark.parametrize(
    "options", [{"device": "tpu"}, {"device": "cuda:99x"}, {"dtype": "float8"}, {"dtype": torch.int8}, {"dtype": 16}]
)
def test_what_this_machine_has_not(options: dict[str, str]) -> None:
    with pytest.raises(InputError, match="auto"):
        load(folder_of("llava"), **{"device": "cpu", **options})


@pytest.mark.parametrize("attention", ["quick", "flash_attention_2"])
def test_an_attention_that_is_not_here(attention: str) -> None:
    """One no transformers has, and one whose package is not installed."""
    with pytest.raises(InputError, match="attn_implementation"):
        load(folder_of("llava"), device="cpu", attn_implementation=attention)


@pytest.mark.parametrize("name", ["", " ", "./no/such/folder", "nothing", "a/b/c", "~/no-such-model-folder"])
def test_a_folder_that_is_not_there(name: str) -> None:
    with pytest.raises(ModelNotFoundError, match="pocket"):
        load(name)


def test_a_missing_weight_file(tmp_path: Path) -> None:
    folder = copied("llava", tmp_path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelNotFoundError, match=r"missing or unreadable"):
        load(folder, device="cpu")


def test_weights_that_are_not_safetensors_are_not_read(tmp_path: Path) -> None:
    """A pickle beside the config is never opened."""
    folder = copied("llava", tmp_path)
    weights = folder / "model.safetensors"
    weights.unlink()
    torch.save({"x": torch.zeros(1)}, folder / "pytorch_model.bin")
    with pytest.raises(ModelNotFoundError, match="safetensors"):
        load(folder, device="cpu")


def test_a_broken_weight_file(tmp_path: Path) -> None:
    folder = copied("llava", tmp_path)
    (folder / "model.safetensors").write_bytes(b"not a tensor file")
    with pytest.raises(ModelNotFoundError, match="missing or unreadable"):
        load(folder, device="cpu")


def test_a_missing_processor(tmp_path: Path) -> None:
    folder = copied("llava", tmp_path)
    for file in ("tokenizer.json", "tokenizer_config.json", "processor_config.json"):
        (folder / file).unlink()
    with pytest.raises(ModelNotFoundError, match="missing or unreadable"):
        load(folder, device="cpu")


def test_a_missing_config(tmp_path: Path) -> None:
    folder = copied("llava", tmp_path)
    (folder / "config.json").unlink()
    with pytest.raises(ModelError):
        load(folder, device="cpu")


def test_a_model_of_another_kind(tmp_path: Path) -> None:
    config = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=9)
    BertModel(config).save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModelError, match=r"bert.*LlavaForConditionalGeneration.*llava-hf") as caught:
        load(tmp_path)
    assert isinstance(caught.value, RuntimeError)


def test_code_in_a_repository_is_never_run(tmp_path: Path) -> None:
    folder = copied("llava", tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "homemade"
    config["auto_map"] = {"AutoConfig": "homemade.Config"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "homemade.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(ModelError):
        load(folder, device="cpu")
    assert not (tmp_path / "ran").exists()


class _Response:
    headers = types.MappingProxyType({})
    status_code = 404
    text = ""
    request = None

    def json(self) -> dict[str, str]:
        return {}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RevisionNotFoundError("no revision", response=_Response()), "no such revision"),  # type: ignore[arg-type]
        (RepositoryNotFoundError("no repository", response=_Response()), "wrong id, private or gated"),  # type: ignore[arg-type]
        (LocalEntryNotFoundError("not in the cache"), "cannot be reached"),
    ],
)
def test_what_the_hub_says_becomes_one_sentence(monkeypatch: pytest.MonkeyPatch, error: Exception, said: str) -> None:
    """transformers wraps what the hub client raises in an OSError; the cause decides what is said."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("We couldn't do that.") from error

    monkeypatch.setattr(loading.AutoConfig, "from_pretrained", refuse)
    with pytest.raises(ModelNotFoundError, match=said) as caught:
        load("someone/some-model")
    assert "\n" not in str(caught.value)


def test_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """An id that is not on this machine, with the hub switched off as its own client does it."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelNotFoundError, match="cannot be reached"):
        load("someone/some-model-that-is-not-here")


def test_the_resolved_revision_is_recorded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A hub id that was fetched before: read from the hub's cache on this machine, without the network."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--someone--tiny-llava"
    copied("llava", repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    engine = load("someone/tiny-llava", device="cpu")
    assert (engine.name, engine.revision) == ("someone/tiny-llava", commit)
    assert engine.answer(picture(80, 60), QUESTIONS[0], max_new_tokens=2).token_ids
    with pytest.raises(ModelNotFoundError):
        load("someone/tiny-llava", device="cpu", revision="of-another-day")


def test_old_processor_files_are_completed(tmp_path: Path) -> None:
    """Checkpoints from before the processor knew the patch size."""
    folder = copied("llava", tmp_path)
    settings = json.loads((folder / "processor_config.json").read_text())
    for name in ("patch_size", "vision_feature_select_strategy"):
        settings[name] = None
    (folder / "processor_config.json").write_text(json.dumps(settings))
    engine = load(folder, device="cpu")
    assert engine.processor.patch_size == 14
    assert engine.answer(picture(80, 60), QUESTIONS[0], max_new_tokens=2).n_visual == 16


def test_a_processor_is_found_without_the_network_or_not_at_all(tmp_path: Path) -> None:
    model = load_model(copied("llava", tmp_path / "model"), device="cpu").adapter.model
    assert find_processor(model) is not None
    shutil.rmtree(tmp_path / "model")
    assert find_processor(model) is None


ASKED = {
    "llava-hf/llava-1.5-7b-hf": "USER: <image>\nQ1 ASSISTANT: A1 USER: Q2 ASSISTANT:",
    "llava-hf/llava-v1.6-vicuna-13b-hf": "USER: <image>\nQ1 ASSISTANT: A1 USER: Q2 ASSISTANT:",
    "llava-hf/llava-v1.6-mistral-7b-hf": "[INST] <image>\nQ1 [/INST] A1</s>[INST] Q2 [/INST]",
    "llava-hf/llava-v1.6-34b-hf": "<|im_start|>system\nAnswer the questions.<|im_end|><|im_start|>user\n<image>\nQ1"
    "<|im_end|><|im_start|>assistant\nA1<|im_end|><|im_start|>user\nQ2<|im_end|><|im_start|>assistant\n",
    "llava-hf/llava-onevision-qwen2-7b-ov-hf": "<|im_start|>user <image>\nQ1<|im_end|><|im_start|>assistant \nA1"
    "<|im_end|><|im_start|>user \nQ2<|im_end|><|im_start|>assistant\n",
}


@pytest.mark.parametrize("model_id", ASKED)
def test_a_known_model_without_a_chat_template_gets_the_registrys(
    model_id: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """From the hub's cache, by its id; files of another model, whose own template was taken away."""
    folder = tmp_path / f"models--{model_id.replace('/', '--')}"
    copied("llava", folder / "snapshots" / "0123")
    (folder / "snapshots" / "0123" / "chat_template.jinja").unlink()
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0123")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert load_model(model_id, device="cpu").adapter.processor.chat_template == find_known(model_id).chat_template
    engine = load(model_id, device="cpu")
    assert engine.prompter.render("Q2", [("Q1", "A1")]) == ASKED[model_id]


def test_the_registry_names_real_families() -> None:
    assert len({known.model_id for known in KNOWN_MODELS}) == len(KNOWN_MODELS) >= 8
    for known in KNOWN_MODELS:
        assert known.model_class in ADAPTERS
        assert known.download_bytes == pytest.approx(2 * known.parameters, rel=0.05)
        assert find_known(known.model_id) is known
        assert known.download_bytes < known.gpu_bytes < known.cpu_bytes
    assert find_known("someone/else") is None
    assert {known.model_class for known in KNOWN_MODELS} == set(ADAPTERS) - {"Qwen3VLMoeForConditionalGeneration"}


def test_models_are_advised_by_what_fits() -> None:
    laptop = advised(8_000_000_000, on_gpu=False)
    assert laptop[0] is min(KNOWN_MODELS, key=lambda known: known.parameters)
    assert all(known.cpu_bytes <= 8_000_000_000 for known in laptop) and len(laptop) >= 3
    card = advised(24_000_000_000, on_gpu=True)
    assert [known.parameters for known in card] == sorted((known.parameters for known in card), reverse=True)
    assert max(known.gpu_bytes for known in card) <= 24_000_000_000 < max(known.gpu_bytes for known in KNOWN_MODELS)
    assert advised(100, on_gpu=False) == ()
