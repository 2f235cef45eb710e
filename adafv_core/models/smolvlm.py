"""SmolVLM: Idefics3's layout at sizes that answer on a laptop (`SmolVLMForConditionalGeneration`)."""

from __future__ import annotations

from typing import Any

from transformers import SmolVLMProcessor
from transformers.processing_utils import ProcessorMixin

from adafv_core.models.idefics3 import Idefics3Adapter
from adafv_core.models.processors import stills

_Stills: Any = stills(SmolVLMProcessor)


class _SmolVLMProcessor(_Stills):  # type: ignore[misc]
    """The stock processor for still images. Stock requires num2words and a video processor even where there is no
    video; what it says about images is untouched.
    """

    def __init__(
        self,
        image_processor: Any,
        tokenizer: Any,
        image_seq_len: int = 169,
        chat_template: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.fake_image_token = getattr(tokenizer, "fake_image_token", "<fake_token_around_image>")
        self.image_token = getattr(tokenizer, "image_token", "<image>")
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        self.end_of_utterance_token = getattr(tokenizer, "end_of_utterance_token", "<end_of_utterance>")
        self.global_image_token = getattr(tokenizer, "global_image_token", "<global-img>")
        self.image_seq_len = image_seq_len
        self.video_token = getattr(tokenizer, "video_token", "<video>")
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template, **kwargs)

    def apply_chat_template(self, conversation: Any, chat_template: str | None = None, **kwargs: Any) -> Any:
        return ProcessorMixin.apply_chat_template(self, conversation, chat_template, **kwargs)


class SmolVLMAdapter(Idefics3Adapter):
    """Only the processor differs from Idefics3."""

    model_class = "SmolVLMForConditionalGeneration"
    model_type = "smolvlm"
    processor_class = _SmolVLMProcessor
