"""A source of a few letters with texts, and what is to be learnt from them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from letter_rows import MODELS, WIDTH, vocabulary
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from tasks.embedding.config_vectors import Side
from tasks.embedding.known import Known
from tasks.embedding.rows import SourceRows
from tasks.embedding.words_of_tokens import Encode
from tasks.shared.vocabulary import Vocabulary

DONOR_WIDTH = 9
BYTES = [bytes([i]) for i in range(256)]
EOS, A, B, C = 0, 1 + ord("a"), 1 + ord("b"), 1 + ord("c")
AB, BC, ABC = 257, 258, 259
CAPITALS = [(1 + x, 2 + x, ABC + 1 + n) for n, x in enumerate(range(ord("A"), ord("U")))]
"""Merges enough for a network to learn from, of letters that no text has."""
MERGES = [(A, B, AB), (B, C, BC), (AB, C, ABC), *CAPITALS]
OLD = ["<eos>", *BYTES, b"ab", b"bc", b"abc", *(bytes([x - 1, y - 1]) for x, y, _ in CAPITALS)]
SOURCE = vocabulary(OLD, MERGES)
N_OLD = len(SOURCE)
EXTENDED = vocabulary(
    [*OLD, b"aba", b"abab", b"cb", b"bcbc"],
    [*MERGES, *((AB, A, N_OLD), (AB, AB, N_OLD + 1), (C, B, N_OLD + 2), (BC, BC, N_OLD + 3))],
)
TOKENS_OF_EXTENDED = list(zip(EXTENDED.token_bytes, EXTENDED.token_text, strict=True))
N_NEW = len(EXTENDED)
NEW = slice(N_OLD, N_NEW)
FIRST_PIECES = [AB, AB, C, BC]
"""Old pieces that aba, abab, cb and bcbc begin with."""


def permuted() -> tuple[np.ndarray, Vocabulary]:
    """Old ids by new id, and the source vocabulary in that order."""
    order = np.random.default_rng(2).permutation(N_OLD)
    new_id = {int(i): new for new, i in enumerate(order)}
    tokens = [SOURCE.token_bytes[i] or SOURCE.token_text[i] for i in order]
    merges = [tuple(new_id[i] for i in merge) for merge in SOURCE.merges]
    return order, vocabulary(tokens, merges)


def cut(vocabulary: Vocabulary, text: bytes) -> list[int]:
    """Longest match from the left."""
    ids = {t: i for i, t in enumerate(vocabulary.token_bytes) if t is not None}
    found: list[int] = []
    while text:
        size = next(n for n in range(min(4, len(text)), 0, -1) if text[:n] in ids)
        found.append(ids[text[:size]])
        text = text[size:]
    return found


def segment_all(tokens: Sequence[bytes]) -> list[list[int]]:
    return [cut(SOURCE, token) for token in tokens]


@dataclass(frozen=True)
class Letters:
    """A corpus of a, b and c, and a small model with the source's rows."""

    known: Known

    def new_ids(self, max_bytes: int, seed: int) -> Iterator[np.ndarray]:
        return (new for _, new in self.both_ids(max_bytes, seed))

    def both_ids(self, max_bytes: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        rng = np.random.default_rng(seed)
        for _ in range(40):
            text = bytes(rng.choice([*b"abc"], size=40).tolist())
            yield np.array(cut(SOURCE, text)), np.array(cut(self.known.target, text))

    def model(self) -> PreTrainedModel:
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=N_OLD, hidden_size=WIDTH, intermediate_size=8, num_hidden_layers=1,
            num_attention_heads=1, num_key_value_heads=1,
        )  # fmt: skip
        model = LlamaForCausalLM(config).eval()
        model.get_input_embeddings().weight.data = torch.tensor(self.known.rows.input)
        return model

    def compute_dtype(self, asked: str) -> torch.dtype:
        return torch.float32

    def progress(self, done: int, total: int, text: str) -> None:
        pass

    def device(self) -> str:
        return "cpu"

    def outside_file(self, role: str) -> Path:
        raise KeyError(role)  # networks of these tests are trained here

    def encode(self, side: Side) -> Encode:
        vocabulary = self.known.source if side == "source" else self.known.target
        return lambda texts: [cut(vocabulary, text.encode()) for text in texts]


def random_rows(n: int, width: int, *, tied: bool, bias: bool = False) -> SourceRows:
    rng = np.random.default_rng(width)
    input_VD, head_VD = rng.normal(size=(2, n, width)).astype(np.float32)
    bias_V = rng.normal(size=n).astype(np.float32) if bias else None
    return SourceRows(input_VD, input_VD if tied else head_VD, bias_V, tied)


def old_rows(model: str = "untied") -> SourceRows:
    tied, bias = MODELS[model]
    return random_rows(N_OLD, WIDTH, tied=tied, bias=bias)
