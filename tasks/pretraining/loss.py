"""The module that is trained: token ids in, sum of nats and number of targets out.

DDP or FSDP2 wraps this module, so that its forward is the model's only use.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from tasks.pretraining.errors import SequenceLengthError, UnsupportedHeadError
from tasks.pretraining.head_loss import LogitRule, head_nats
from tasks.pretraining.packing import IGNORED

_TOLERANCE = 1e-3


class CausalLoss(nn.Module):
    """Next-token loss of a Hugging Face model on packed sequences.

    Args:
        model: any causal model with a linear head.
        chunk_positions: positions whose logits exist at one time.
    """

    def __init__(self, model: PreTrainedModel, chunk_positions: int = 512) -> None:
        super().__init__()
        self.model = model
        self._chunk_positions = chunk_positions
        self._rule = logit_rule(model)

    def forward(
        self,
        input_ids: Int64[Tensor, "B S"],
        targets: Int64[Tensor, "B S"],
        position_ids: Int64[Tensor, "B S"],
    ) -> tuple[Float[Tensor, ""], Int64[Tensor, ""]]:
        """Sum of nats over the targets that are not ``IGNORED``, and how many these are.

        Args:
            input_ids: packed documents.
            targets: the token after each position, already moved on by one.
            position_ids: start again at 0 where documents must not attend to the one before;
                transformers derives the block-diagonal mask from that.
        """
        hidden_BSD = self.model.base_model(
            input_ids=input_ids, position_ids=position_ids, use_cache=False
        ).last_hidden_state
        head = head_of(self.model)
        nats = head_nats(
            hidden_BSD.flatten(0, 1),
            head.weight,
            head.bias,
            targets.flatten(),
            self._rule,
            self._chunk_positions,
        )
        return nats, (targets != IGNORED).sum()


def head_of(model: PreTrainedModel) -> nn.Linear:
    """The layer that turns hidden states into logits.

    Raises:
        UnsupportedHeadError: the architecture has no such layer.
    """
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        raise UnsupportedHeadError(
            f"{type(model).__name__} has {type(head).__name__} where a linear head is expected; "
            "take a model of a ...ForCausalLM class."
        )
    return head


def logit_rule(model: PreTrainedModel) -> LogitRule:
    """What the architecture does to its head's output, from the fields its family uses."""
    config = model.config.get_text_config()
    scale = float(getattr(config, "logit_scale", None) or 1.0)
    scale /= float(getattr(config, "logits_scaling", None) or 1.0)
    return LogitRule(scale, getattr(config, "final_logit_softcapping", None))


@torch.no_grad()
def check_loss(loss: CausalLoss) -> None:
    """Compare with the model's own logits, two short documents packed and each by itself.

    Raises:
        UnsupportedHeadError: the architecture computes logits in a way unknown here, or lets
            packed documents attend to each other.
    """
    model = loss.model
    device = head_of(model).weight.device
    ids_S = torch.arange(8, device=device) % model.config.get_text_config().vocab_size
    expected = torch.zeros((), device=device)
    for part in ids_S[:5], ids_S[5:]:
        logits = model(input_ids=part[None], use_cache=False).logits[0].float()
        expected += nn.functional.cross_entropy(logits[:-1], part[1:], reduction="sum")
    targets_S = torch.cat((ids_S[1:], ids_S[:1])).index_fill(
        0, torch.tensor([4, 7], device=device), IGNORED
    )
    positions_S = torch.tensor([0, 1, 2, 3, 4, 0, 1, 2], device=device)
    found, _ = loss(ids_S[None], targets_S[None], positions_S[None])
    if not torch.allclose(found, expected, rtol=_TOLERANCE):
        raise UnsupportedHeadError(
            f"{type(model).__name__} gives {expected.item():.4f} nats on a probe by its own "
            f"logits and {found.item():.4f} packed: it changes its logits in a way unknown here or "
            "ignores position_ids; such an architecture cannot be trained yet."
        )


def check_sequence_length(config: PreTrainedConfig, sequence_length: int) -> None:
    """Refuse sequences that the model has no positions for.

    Raises:
        SequenceLengthError: it names both lengths.
    """
    context = getattr(config.get_text_config(), "max_position_embeddings", None)
    if context is not None and sequence_length > context:
        raise SequenceLengthError(
            f"sequence_length={sequence_length} is longer than the model's context of "
            f"{context} tokens; take at most that."
        )
