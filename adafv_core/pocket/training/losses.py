"""Training losses of the pocket model: patch labels, word–patch alignment, and answers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import LlavaForConditionalGeneration

from adafv_core.pocket.training.attention import shared_prefix
from adafv_core.pocket.training.batches import TrainingBatch
from adafv_core.pocket.world.labels import CLASSES, IGNORE, first_patches
from adafv_core.pocket.world.vocabulary import vocabulary
from adafv_core.pocket.world.world import COLOR_NAMES, DIRECTIONS, KINDS, PLURALS, SHAPES

_WEIGHTS = {"kind": 1.0, "color": 1.0, "digit": 2.0, "place": 0.4, "size": 0.2, "count": 0.7}
_WEIGHTS.update(dict.fromkeys(DIRECTIONS, 0.4))
_GROUNDED_LAYERS = (1, 2)
_GROUNDED_HEADS = 4
_READING_HEADS = (4, 5)


class VisionHeads(nn.Module):
    """Linear heads over the vision feature layer, used in training only and discarded afterwards."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.thing = nn.Linear(width, 1)
        self.patch = nn.ModuleDict({name: nn.Linear(width, count) for name, count in CLASSES.items()})
        self.large = nn.Linear(width, len(COLOR_NAMES) * len(SHAPES))
        self.first = nn.Linear(width, 1)


class TokenHeads(nn.Module):
    """Linear heads over the projected visual tokens, so that what the LLM receives encodes what the patches show."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.token = nn.ModuleDict({name: nn.Linear(width, count) for name, count in CLASSES.items()})


class PocketTrainer(nn.Module):
    """The model with its training heads; `forward` returns every loss by name."""

    def __init__(self, model: LlavaForConditionalGeneration) -> None:
        super().__init__()
        self.model = model
        self.heads = VisionHeads(model.config.vision_config.hidden_size)
        self.token_heads = TokenHeads(model.config.text_config.hidden_size)
        ids = {word: number for number, word in enumerate(vocabulary())}
        self.color_ids = torch.tensor([ids[word] for word in COLOR_NAMES])
        self.kind_ids = torch.tensor([ids[word] for word in (*KINDS, *PLURALS)])

    def forward(self, batch: TrainingBatch, answers: bool) -> dict[str, Tensor]:
        """Compute the losses of a batch, weighted; `answers=False` skips the LLM.

        "answered" is no loss but the share of answerable questions answered correctly.
        """
        vision = self.model.model.vision_tower
        hidden = vision(batch.pixels.to(vision.dtype), output_hidden_states=True).hidden_states[
            self.model.config.vision_feature_layer
        ]
        visual = self.model.model.multi_modal_projector(hidden[:, 1:])
        losses = self._vision_losses(hidden, batch)
        losses.update(self._alignment_losses(visual.float(), batch))
        token_losses = _thing_losses(self.token_heads.token, self.token_heads.norm(visual.float()), batch)
        losses["tokens"] = 0.5 * torch.stack(list(token_losses.values())).sum()
        if answers:
            losses.update(self._answer_losses(visual, batch))
        return losses

    def _vision_losses(self, hidden: Tensor, batch: TrainingBatch) -> dict[str, Tensor]:
        hidden = self.heads.norm(hidden.float())
        patches, owners = hidden[:, 1:], batch.owners
        clear = owners != -2
        losses = {
            "thing": F.binary_cross_entropy_with_logits(
                self.heads.thing(patches).squeeze(-1)[clear], (owners >= 0).float()[clear]
            )
        }
        losses["first"] = 4 * F.binary_cross_entropy_with_logits(
            self.heads.first(patches).squeeze(-1), first_patches(owners).float(), pos_weight=torch.tensor(4.0)
        )
        losses.update(_thing_losses(self.heads.patch, patches, batch))
        losses["large"] = 12 * F.binary_cross_entropy_with_logits(self.heads.large(hidden[:, 0]), batch.large)
        return losses

    def _alignment_losses(self, visual: Tensor, batch: TrainingBatch) -> dict[str, Tensor]:
        words = F.normalize(self.model.get_input_embeddings().weight[batch.words].float(), dim=-1)
        unit = F.normalize(visual, dim=-1)
        log_attention = F.log_softmax(100.0 * torch.einsum("wd,bnd->bwn", words, unit), dim=-1)
        excess = F.kl_div(log_attention, batch.word_targets, reduction="none").sum(-1)
        grounded = batch.word_grounded
        return {
            "align": excess[grounded].mean(),
            "flat": 0.3 * excess[~grounded].mean(),
            "center": 2.0 * unit.mean((0, 1)).square().sum(),
            "norm": 0.05 * visual.norm(dim=-1).clamp(min=1e-3).log().square().mean(),
        }

    def _answer_losses(self, visual: Tensor, batch: TrainingBatch) -> dict[str, Tensor]:
        embed = self.model.get_input_embeddings()
        count, asked, length = batch.blocks.shape
        visual = visual.gather(1, batch.kept[..., None].expand(-1, -1, visual.shape[-1]))
        named = batch.named.gather(2, batch.kept[:, None].expand(-1, asked, -1))
        prefix = embed(batch.prefix).expand(count, -1, -1)
        blocks = embed(batch.blocks).flatten(1, 2)
        embeds = torch.cat([prefix, visual.to(prefix.dtype), blocks], 1)
        shared = prefix.shape[1] + visual.shape[1]
        positions = torch.cat([torch.arange(shared), torch.arange(shared, shared + length).repeat(asked)])
        visual_columns = slice(prefix.shape[1], shared)
        with shared_prefix(shared, asked, batch.answer_rows, visual_columns, _GROUNDED_LAYERS) as (
            visual_attention,
            block_attention,
        ):
            hidden = self.model.model.language_model(
                inputs_embeds=embeds,
                attention_mask=embeds.new_zeros(1, 1, 1, 1),
                position_ids=positions[None].to(embeds.device),
                use_cache=False,
            ).last_hidden_state
        hidden = hidden[:, shared:].unflatten(1, (asked, length))
        pick = torch.stack([batch.answer_rows, batch.answer_rows + 1], 2)[..., None].expand(
            -1, -1, -1, hidden.shape[-1]
        )
        logits = self.model.lm_head(hidden.gather(2, pick)).float()
        end = torch.full_like(batch.answers, self.model.config.text_config.eos_token_id)
        use = named.any(-1) & batch.answerable
        log_masses = [
            (attention[:, :_GROUNDED_HEADS] * named[:, None]).sum(-1).clamp(min=1e-6).log()
            for attention in visual_attention
        ]
        ground = -sum(log_mass.mean(1)[use].sum() for log_mass in log_masses) / use.sum().clamp(min=1)
        words = self._reading_loss(block_attention[0], batch.blocks)
        answerable = batch.answerable
        answer = F.cross_entropy(logits[:, :, 0][answerable], batch.answers[answerable], reduction="sum")
        correct = logits[:, :, 0].argmax(-1) == batch.answers
        return {
            "answer": 2 * answer / answerable.sum().clamp(min=1),
            "end": 0.1 * F.cross_entropy(logits[:, :, 1].flatten(0, 1), end.flatten()),
            "ground": 0.6 * ground,
            "words": 0.3 * words,
            "answered": correct[answerable].float().mean().detach(),
        }

    def _reading_loss(self, attention: Tensor, blocks: Tensor) -> Tensor:
        """Teach two heads of the first layer to attend to the color word and to the kind word of a question.

        attention: (B, heads, Q, L), from the answer's position to its own block. blocks: (B, Q, L) token ids.
        """
        losses = []
        for head, ids in zip(_READING_HEADS, (self.color_ids, self.kind_ids), strict=True):
            found = torch.isin(blocks, ids)
            mass = (attention[:, head] * found).sum(-1)
            use = mass.detach() > 1e-9
            losses.append(-mass.clamp(min=1e-6).log()[use].sum() / use.sum().clamp(min=1))
        return torch.stack(losses).sum()


def _thing_losses(heads: nn.ModuleDict, patches: Tensor, batch: TrainingBatch) -> dict[str, Tensor]:
    """Cross-entropy per label over the patches that show a thing, each weighted by 1 / √(patches of that thing).

    patches: (B, N, width).
    """
    row, column = torch.nonzero(batch.owners >= 0, as_tuple=True)
    owner = batch.owners[row, column]
    shown = patches[row, column]
    sizes = torch.zeros(patches.shape[0], int(owner.max()) + 1)
    sizes.index_put_((row, owner), torch.ones(len(row)), accumulate=True)
    weight = sizes[row, owner].rsqrt()
    losses = {}
    for name, head in heads.items():
        label = batch.labels[name][row, owner]
        use = label != IGNORE
        each = F.cross_entropy(head(shown[use]), label[use], reduction="none")
        losses[name] = _WEIGHTS[name] * (each * weight[use]).sum() / weight[use].sum().clamp(min=1e-6)
    return losses
