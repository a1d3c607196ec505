"""The tokenizer in a GGUF file: what cuts words, what comes first, which ids are tokens."""

from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from gguf_files import TOKENS, close, write_tiny

from tasks.model.gguf_import import open_gguf_model
from tasks.shared.gguf_file import GgufFileError, UnsupportedGgufError, read_gguf
from tasks.shared.gguf_pre_tokenizers import UnknownPreTokenizerError
from tasks.shared.gguf_tokenizer import build_tokenizer


def test_digits_stay_single_though_a_merge_would_join_them(tmp_path: Path) -> None:
    tokenizer = open_gguf_model(write_tiny(tmp_path / "m.gguf"), torch.float32).tokenizer.tokenizer
    assert tokenizer.encode("a  12").tokens == ["a", "ĠĠ", "1", "2"]
    assert tokenizer.encode("x\n\n 2024").tokens == ["x", "ĊĊĠ", "2", "0", "2", "4"]
    assert tokenizer.encode("a<|im_end|>the").ids[1] == 2


def test_a_pre_tokenizer_that_keeps_digits_together_lets_them_merge(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "m.gguf", changes={"tokenizer.ggml.pre": "gpt-2"})
    tokenizer = open_gguf_model(path, torch.float32).tokenizer.tokenizer
    assert tokenizer.encode("a  12").tokens == ["a", "Ġ", "Ġ", "12"]


def test_bos_comes_first_where_the_family_puts_it(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "m.gguf", changes={"tokenizer.ggml.pre": "llama-bpe"})
    tokenizer = open_gguf_model(path, torch.float32).tokenizer.tokenizer
    assert tokenizer.encode("a").tokens == ["<|im_start|>", "a"]
    assert tokenizer.encode("a", add_special_tokens=False).tokens == ["a"]


def test_filler_rows_are_no_tokens(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "m.gguf", tokens=[*TOKENS, "[PAD265]", "[PAD266]"])
    model = open_gguf_model(path, torch.float32)
    assert model.tokenizer.tokenizer.get_vocab_size() == len(TOKENS)
    assert dict(model.weights())["model.embed_tokens.weight"].shape[0] == len(TOKENS) + 2


def test_unknown_pre_tokenizer_is_refused_with_the_list(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "m.gguf", changes={"tokenizer.ggml.pre": "jabberwock"})
    with pytest.raises(UnknownPreTokenizerError, match=r"'jabberwock'.*smollm"):
        open_gguf_model(path, torch.float32)


def test_missing_pre_tokenizer_name_is_refused(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "m.gguf", changes={"tokenizer.ggml.pre": None})
    with pytest.raises(GgufFileError, match=r"tokenizer\.ggml\.pre"):
        open_gguf_model(path, torch.float32)


def test_unknown_kind_of_tokenizer_is_refused(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "m.gguf", changes={"tokenizer.ggml.model": "rwkv"})
    with pytest.raises(UnsupportedGgufError, match=r"'rwkv'.*gpt2"):
        open_gguf_model(path, torch.float32)


def test_gemmas_runs_of_spaces_are_cut_longest_first(tmp_path: Path) -> None:
    tokens = ["<unk>", "<s>", "</s>", "  ", "   ", "\u2581a", "b", "\u2581", "a", "\t"]
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "gemma3")
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([-1000.0] * 5 + [-float(i) for i in range(5)])
    writer.add_token_types([2, 3, 3, 4, 4, 1, 1, 1, 1, 1])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_tensor("x", np.zeros((1, 32), dtype=np.float32))
    close(writer)
    tokenizer = build_tokenizer(read_gguf(tmp_path / "m.gguf")).tokenizer
    spaces = "\u2581"
    assert tokenizer.encode("b     b a").tokens == [
        "<s>",
        "b",
        spaces * 3,
        spaces * 2,
        "b",
        "\u2581a",
    ]
