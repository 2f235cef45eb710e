"""AdaFV as a model of lmms-eval: `lmms_eval --model adafv --model_args pretrained=…,method=adafv,keep_ratio=0.1`.

Prompts are those of lmms-eval's own `llava_hf` (image placeholders in front of the task's text, then the chat
template), so at `keep_ratio=1.0` the answers are those of `llava_hf`. Three things differ on purpose: an error while
pruning ends the run instead of scoring as a wrong answer, batches may hold more than one request, and
`loglikelihood`, which runs a bare forward call that nothing prunes, raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from lmms_eval import utils
from lmms_eval.api.instance import Instance
from lmms_eval.api.model import lmms
from PIL import Image
from tqdm import tqdm

from adafv_core.errors import InputError
from adafv_core.loading.load import load_model
from adafv_core.patching import prune
from adafv_core.patching.pruning import Totals

_IMAGE = "<image>"
_LONGEST = 1024
"""New tokens where a task sets no limit, as in `llava_hf`."""


class PrunedModel(lmms):  # type: ignore[misc]
    """A LLaVA-style model whose `generate` is pruned for the whole run.

    pretrained: "pocket", a hub id, or a folder. device, dtype, revision: as in `adafv_core.load`. batch_size: requests
    in one `generate` call. method, keep_ratio, budget, options (and flops_ratio): as in `adafv_core.prune`. Raises what
    these raise, and InputError for an argument that the method does not have.
    """

    is_simple = True

    def __init__(
        self,
        pretrained: str = "llava-hf/llava-1.5-7b-hf",
        device: str = "auto",
        dtype: str = "auto",
        revision: str | None = None,
        batch_size: int | str = 1,
        method: str = "adafv",
        keep_ratio: float | None = None,
        budget: int | None = None,
        max_batch_size: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        loaded = load_model(pretrained, "auto" if device in ("", "cuda") else device, dtype, revision)
        self.adapter, self.batch_size = loaded.adapter, int(batch_size)
        self.processor = loaded.adapter.processor
        self.tokenizer = self.processor.tokenizer
        self.tokenizer.padding_side = "left"
        self._device = loaded.device
        self.pruned: dict[str, Any] = {
            "keep_ratio": keep_ratio,
            "budget": budget,
            "method": method,
            "processor": self.processor,
            **options,
        }
        with prune(self.adapter.model, **self.pruned):
            pass  # a wrong method, option or budget is named before the first request
        self.totals = Totals()

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return self._device

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """Greedy or sampled answers to all requests, in their order; `totals` then counts what the whole run kept."""
        ordered = utils.Collator([one.args for one in requests], lambda args: (-len(args[0]), args[0]), grouping=True)
        answers: list[str] = []
        with prune(self.adapter.model, **self.pruned) as pruning:
            bar = tqdm(total=len(requests), disable=self.rank != 0, desc="Model Responding")
            for chunk in ordered.get_batched(n=self.batch_size, batch_fn=None):
                answers += self._answers(chunk)
                bar.update(len(chunk))
            bar.close()
        self.totals = pruning.totals
        tqdm.write(
            f"adafv: {self.totals.n_kept:,} of {self.totals.n_visual:,} visual tokens kept, {self.totals.n_images:,} "
            f"images in {self.totals.n_calls:,} calls"
        )
        restored: list[str] = ordered.get_original(answers)
        return restored

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Raises InputError: a bare forward call is not pruned, and its scores must not pass for a pruned model's."""
        raise InputError(
            "adafv prunes `generate` only, and this task asks for log-likelihoods, which a bare forward call with all "
            "visual tokens would compute; choose the task's generative variant (output_type: generate_until)."
        )

    def generate_until_multi_round(self, requests: list[Instance]) -> list[str]:
        """Raises InputError: rounds that depend on earlier answers are not supported."""
        raise InputError("adafv answers single rounds only; choose a task of output_type generate_until.")

    def _answers(self, chunk: Sequence[tuple[Any, ...]]) -> list[str]:
        """One `generate` call for requests with the same generation arguments."""
        texts: list[str] = []
        images: list[list[Image.Image]] = []
        for context, _, doc_to_visual, doc_id, task, split in chunk:
            shown = [one for one in doc_to_visual(self.task_dict[task][split][doc_id]) if one is not None]
            odd = next((one for one in shown if not isinstance(one, Image.Image)), None)
            if odd is not None:
                raise InputError(f"adafv reads still images; task {task} has a {type(odd).__name__}.")
            images.append([one.convert("RGB") for one in shown])
            texts.append(self._prompt(context, len(shown)))
        given = dict(chunk[0][1])
        flat = [one for row in images for one in row]
        pixels = {"images": images if len(flat) != len(images) else flat} if flat else {}
        inputs = self.processor(text=texts, padding=True, return_tensors="pt", **pixels)
        inputs = inputs.to(self.device, self.adapter.model.dtype)
        end = self.tokenizer.eos_token_id
        temperature = float(given.get("temperature") or 0)
        ids = self.adapter.model.generate(
            **inputs,
            do_sample=temperature > 0,
            temperature=temperature if temperature > 0 else None,
            top_p=given.get("top_p"),
            num_beams=int(given.get("num_beams", 1)),
            max_new_tokens=int(given.get("max_new_tokens", _LONGEST)),
            pad_token_id=end,
            eos_token_id=end,
        )
        answers = self.tokenizer.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return [str(one) for one in answers]

    def _prompt(self, context: str, n_images: int) -> str:
        """The task's text in the model's chat template, as `llava_hf` writes it."""
        if _IMAGE not in context and n_images:
            context = " ".join([_IMAGE] * n_images) + "\n" + context
        turns = [{"role": "user", "content": context}]
        template = self.processor if self.tokenizer.chat_template is None else self.tokenizer
        return str(template.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
