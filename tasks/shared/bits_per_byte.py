"""Bits per byte: the one quality number that compares models with different tokenizers.

    bits per byte = nats of all document tokens / ln 2 / UTF-8 bytes of the original text

Every token of a document counts, the first included: it is predicted from the document prefix.
The end token carries no text and is left out. Texts are cut on character boundaries to a number
of bytes that fits the context under any tokenizer, so that both models see the same text whole.

Dimensions: N = documents, B = documents in a batch, T = tokens with the prefix, V = vocabulary.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64, Integer
from torch import Tensor
from transformers import PreTrainedModel

from tasks.shared.errors import InputError
from tasks.shared.text_tokenizer import TextTokenizer

LOGITS_AT_ONCE = 2**27
"""Values of one batch's logits, 512 MB in float32: beyond that a batch gains no speed."""
SOFTMAX_ROWS = 256
"""Positions whose logits are raised to float32 together."""


class ContextTooShortError(InputError):
    """Documents of the asked length might not fit the model's context."""


def check_document_bytes(document_bytes: int, context_length: int | None) -> None:
    """Refuse a document length that some tokenizer could not fit into the context.

    A tokenizer that covers all bytes needs at most one token a byte; the prefix needs one more.

    Raises:
        ContextTooShortError: ``document_bytes + 1`` exceeds the context.
    """
    if context_length is not None and document_bytes + 1 > context_length:
        raise ContextTooShortError(
            f"Documents of {document_bytes} bytes may take {document_bytes + 1} tokens, but the "
            f"model's context has {context_length}; set document_bytes to {context_length - 1} or "
            "less."
        )


def encode_documents(
    tokenizer: TextTokenizer, texts: Sequence[str]
) -> tuple[list[list[int]], Bool[np.ndarray, " N"]]:
    """Tokenize documents without special tokens and see which survive.

    Returns:
        The ids of each, and whether decoding them gives the text back. A text that does not
        return has lost bytes to a normaliser or an unknown token; its bits would be no measure.
    """
    encodings = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
    ids = [encoding.ids for encoding in encodings]
    decoded = tokenizer.decode_batch(ids, skip_special_tokens=False)
    returns = [back == text for back, text in zip(decoded, texts, strict=True)]
    return ids, np.asarray(returns, dtype=np.bool_)


def bits_per_byte(
    nats: Float[np.ndarray, " N"], n_bytes: Integer[np.ndarray, " N"]
) -> float | Float[np.ndarray, ""]:
    """Pool documents: all their bits over all their bytes."""
    return nats.sum() / math.log(2) / n_bytes.sum()


@torch.inference_mode()
def score_documents(
    model: PreTrainedModel,
    ids_of: Sequence[Sequence[int]],
    prefix_id: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Float64[np.ndarray, " N"]:
    """Sum the negative log-likelihood of every document's tokens.

    Args:
        model: any causal model of transformers, in the dtype it is to be judged in.
        ids_of: the tokens of each document, without special tokens.
        prefix_id: the token before each document.
        on_progress: called after each batch with the tokens done and in all.

    Returns:
        Nats by document, summed in float64.
    """
    nats_N = np.zeros(len(ids_of), dtype=np.float64)
    total, done = sum(len(ids) for ids in ids_of), 0
    for members in _batches(ids_of, LOGITS_AT_ONCE // model.config.get_text_config().vocab_size):
        nats_N[members] = _score_batch(model, [ids_of[i] for i in members], prefix_id)
        done += sum(len(ids_of[i]) for i in members)
        on_progress(done, total)
    return nats_N


def _batches(ids_of: Sequence[Sequence[int]], max_tokens: int) -> Iterator[Int64[np.ndarray, " B"]]:
    """Group documents of similar length; a document longer than ``max_tokens`` goes alone."""
    lengths = np.array([len(ids) + 1 for ids in ids_of], dtype=np.int64)
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        size = max(1, max_tokens // int(lengths[order[start]]))
        yield order[start : start + size]
        start += size


def _score_batch(
    model: PreTrainedModel, ids_of: Sequence[Sequence[int]], prefix_id: int
) -> Float64[np.ndarray, " B"]:
    width = max(len(ids) for ids in ids_of)
    input_BT = torch.full((len(ids_of), width + 1), prefix_id, dtype=torch.long)
    scored_BT = torch.zeros((len(ids_of), width), dtype=torch.bool)
    for row, ids in enumerate(ids_of):
        input_BT[row, 1 : len(ids) + 1] = torch.tensor(ids, dtype=torch.long)
        scored_BT[row, : len(ids)] = True
    # No attention mask: padding stands on the right, where a causal model never looks.
    device_BT = input_BT.to(model.device)
    logits_BTV = model(input_ids=device_BT[:, :-1], use_cache=False).logits
    nats_BT = _token_nats(logits_BTV.flatten(0, 1), device_BT[:, 1:].flatten()).view(
        scored_BT.shape
    )
    return nats_BT.masked_fill(~scored_BT, 0.0).sum(dim=1).numpy()


def _token_nats(logits_TV: Float[Tensor, "T V"], target_T: Integer[Tensor, " T"]) -> Tensor:
    """Cross-entropy by position, in float64 on the CPU; float32 logits exist a chunk at a time."""
    chunks = zip(logits_TV.split(SOFTMAX_ROWS), target_T.split(SOFTMAX_ROWS), strict=True)
    losses = [
        torch.nn.functional.cross_entropy(logits.float(), target, reduction="none")
        for logits, target in chunks
    ]
    return torch.cat(losses).double().cpu()
