"""Trained tokenizers of every family: the model alone agrees with the library, and with bytes."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from tasks.shared.vocabulary import NO_MATCH, Segmenter, match_ids, read_vocabulary

BYTE_PIECES = [f"<0x{b:02X}>" for b in range(256)]
Build = Callable[[Path, list[str]], Path]


def save(folder: Path, tokenizer: Tokenizer) -> Path:
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def byte_level(folder: Path, texts: list[str]) -> Path:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return save(folder, tokenizer)


def metaspace_bpe(folder: Path, texts: list[str]) -> Path:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback()])
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=["<unk>", "<s>", *BYTE_PIECES], show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return save(folder, tokenizer)


def unigram(folder: Path, texts: list[str]) -> Path:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=["<unk>", "<s>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return save(folder, tokenizer)


def word_piece(folder: Path, texts: list[str]) -> Path:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordPieceTrainer(
        vocab_size=400, special_tokens=["[UNK]"], show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return save(folder, tokenizer)


@pytest.mark.parametrize("build", [byte_level, metaspace_bpe, unigram, word_piece])
def test_every_token_is_cut_into_its_own_bytes(
    tmp_path: Path, small_corpus_texts: list[str], build: Build
):
    folder = build(tmp_path, small_corpus_texts)
    vocabulary = read_vocabulary(folder)
    tokens = [data for data in vocabulary.token_bytes if data is not None]
    for token, ids in zip(tokens, Segmenter(folder).segment_all(tokens), strict=True):
        assert b"".join(vocabulary.token_bytes[i] or b"?" for i in ids) == token


@pytest.mark.parametrize("build", [byte_level, metaspace_bpe, unigram, word_piece])
def test_a_word_with_its_space_is_cut_as_the_library_cuts_it(
    tmp_path: Path, small_corpus_texts: list[str], build: Build
):
    folder = build(tmp_path, small_corpus_texts)
    library = Tokenizer.from_file(str(folder / "tokenizer.json"))
    words = sorted({f" {w}" for t in small_corpus_texts for w in re.findall(r"[^\W\d]+", t)})
    cut = Segmenter(folder).try_segment_all([word.encode() for word in words])
    expected = [library.encode(word, add_special_tokens=False).ids for word in words]
    assert cut == expected


@pytest.mark.parametrize("build", [metaspace_bpe, unigram, word_piece])
def test_tokens_of_two_families_match_where_their_bytes_do(
    tmp_path: Path, small_corpus_texts: list[str], build: Build
):
    (tmp_path / "other").mkdir()
    source = read_vocabulary(byte_level(tmp_path, small_corpus_texts))
    target = read_vocabulary(build(tmp_path / "other", small_corpus_texts))
    matched = match_ids(source, target)
    known = set(source.token_bytes)
    for data, source_id in zip(target.token_bytes, matched.tolist(), strict=True):
        if data is not None:
            assert (source_id != NO_MATCH) == (data in known)
            assert source_id == NO_MATCH or source.token_bytes[source_id] == data
    assert sum(len(target.token_bytes[i] or b"") > 3 for i in (matched >= 0).nonzero()[0]) > 10
