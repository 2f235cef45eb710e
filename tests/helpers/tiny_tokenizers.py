"""Small tokenizers in the manner of Llama's and Qwen2's, trained on a few sentences."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

TEXTS = [
    "What color is the ring? What is left of the small square? USER: ASSISTANT: [INST] [/INST]",
    "Is there a green triangle in the picture? Yes. No. How many circles are there? Describe the image.",
    "Read the number on the card. The main object is a large blue star on a striped ground.",
]


def sentencepiece_like() -> PreTrainedTokenizerFast:
    """A BPE tokenizer in the manner of Llama: ▁ for spaces, bytes as a fallback, <s> in front."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = ["<unk>", "<s>", "</s>", "<pad>", "<image>"]
    in_bytes = [f"<0x{value:02X}>" for value in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=special + in_bytes)
    tokenizer.train_from_iterator(TEXTS, trainer)
    files = json.loads(tokenizer.to_str())
    files["added_tokens"] = [token for token in files["added_tokens"] if token["content"] in special]
    plain = Tokenizer.from_str(json.dumps(files))
    plain.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=plain,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        extra_special_tokens={"image_token": "<image>"},
        padding_side="left",
    )


def byte_level(marks: Sequence[str] = ("<image>", "<video>"), image: str = "<image>") -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer in the manner of Qwen2: no token in front, turn marks as special tokens.

    marks: further special tokens, of which `image` stands for an image.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *marks]
    video = next((mark for mark in marks if "video" in mark), None)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=600, special_tokens=special, initial_alphabet=alphabet)
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens={"image_token": image, **({"video_token": video} if video else {})},
        additional_special_tokens=["<|im_start|>"],
        padding_side="left",
    )


def llm_config(tokenizer: PreTrainedTokenizerFast, **changes: Any) -> dict[str, Any]:
    """Arguments of the config of a tiny LLM."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 48,
        "intermediate_size": 80,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "initializer_range": 0.2,
        **changes,
    }
