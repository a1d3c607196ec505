"""Cutting bytes by the model alone: nothing added, nothing lost."""

import json
import random
from itertools import pairwise
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from tasks.shared.byte_alphabet import BYTE_CHARACTERS
from tasks.shared.vocabulary import Segmenter, UncoverableTokenError, read_vocabulary

BYTE_PIECES = [f"<0x{b:02X}>" for b in range(256)]


def write(folder: Path, tokenizer: Tokenizer) -> Path:
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def pieces_of(folder: Path, data: bytes) -> list[str]:
    vocabulary = read_vocabulary(folder)
    return [vocabulary.token_text[i] for i in Segmenter(folder).segment(data)]


def naive_bpe(data: bytes, merges: list[tuple[str, str]]) -> list[str]:
    """Merge the pair of lowest rank, leftmost first, until none is left."""
    pieces = [BYTE_CHARACTERS[b] for b in data]
    while True:
        ranks = [
            (merges.index(pair), i) for i, pair in enumerate(pairwise(pieces)) if pair in merges
        ]
        if not ranks:
            return pieces
        _, i = min(ranks)
        pieces[i : i + 2] = [pieces[i] + pieces[i + 1]]


def byte_level(folder: Path, merges: list[tuple[str, str]], **options: bool) -> Path:
    vocab = {c: i for i, c in enumerate(BYTE_CHARACTERS)}
    for left, right in merges:
        vocab.setdefault(left + right, len(vocab))
    tokenizer = Tokenizer(models.BPE(vocab, merges, **options))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    return write(folder, tokenizer)


def sentencepiece_vocab(*pieces: str) -> dict[str, int]:
    return {piece: i for i, piece in enumerate(["<unk>", *BYTE_PIECES, *pieces])}


def sentencepiece_bpe(folder: Path, byte_fallback: bool = True) -> Path:
    vocab = sentencepiece_vocab("▁", "a", "b", "▁a", "ab")
    tokenizer = Tokenizer(
        models.BPE(
            vocab,
            [("▁", "a"), ("a", "b")],
            byte_fallback=byte_fallback,
            unk_token="<unk>",
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Replace("▁", " ")
    return write(folder, tokenizer)


def unigram(folder: Path) -> Path:
    scores = {"▁": -3.0, "a": -3.0, "b": -3.0, "▁a": -2.5, "ab": -2.0, "</s>": 0.0}
    vocab = [("<unk>", -9.0), *((p, -8.0) for p in BYTE_PIECES), *scores.items()]
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=0, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.add_special_tokens(["</s>"])
    return write(folder, tokenizer)


def word_piece(folder: Path) -> Path:
    texts = ["[UNK]", "un", "##aff", "##able", "##a", "ü"]
    tokenizer = Tokenizer(models.WordPiece({t: i for i, t in enumerate(texts)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return write(folder, tokenizer)


def test_merges_run_by_rank_with_no_normaliser_and_no_added_space(tmp_path: Path):
    folder = byte_level(tmp_path, [("a", "b"), ("Ġ", "ab"), ("b", "c")])
    assert pieces_of(folder, b"abc") == ["ab", "c"]
    assert pieces_of(folder, b" abbc") == ["Ġab", "bc"]
    assert pieces_of(folder, b"AB ab ab") == ["A", "B", "Ġab", "Ġab"]
    assert pieces_of(folder, b"") == []


def test_parts_of_characters_and_bytes_outside_utf8_are_cut_too(tmp_path: Path):
    folder = byte_level(tmp_path, [("Ã", "¼")])
    assert Segmenter(folder).segment(b"\xc3\xbc\xc3\xff") == [256, 0xC3, 0xFF]


def test_byte_level_agrees_with_merging_by_hand(tmp_path: Path):
    merges = [("a", "b"), ("b", "a"), ("a", "a"), ("ab", "ab"), ("aa", "ba"), ("Ġ", "ab")]
    folder = byte_level(tmp_path, merges)
    draw = random.Random(0)
    samples = [bytes(draw.choices(b"ab ", k=draw.randint(1, 20))) for _ in range(300)]
    vocabulary = read_vocabulary(folder)
    cut = Segmenter(folder).segment_all(samples)
    assert [[vocabulary.token_text[i] for i in ids] for ids in cut] == [
        naive_bpe(sample, merges) for sample in samples
    ]


def test_ignore_merges_gives_a_known_piece_whole(tmp_path: Path):
    unreachable = [("a", "b"), ("b", "c"), ("a", "bc")]
    (tmp_path / "plain").mkdir()
    (tmp_path / "ignore").mkdir()
    assert pieces_of(byte_level(tmp_path / "plain", unreachable), b"abc") == ["ab", "c"]
    ignoring = byte_level(tmp_path / "ignore", unreachable, ignore_merges=True)
    assert pieces_of(ignoring, b"abc") == ["abc"]


def test_sentencepiece_bpe_adds_no_space_and_falls_back_to_bytes(tmp_path: Path):
    folder = sentencepiece_bpe(tmp_path)
    assert pieces_of(folder, b"ab") == ["ab"]
    assert pieces_of(folder, b" ab") == ["▁a", "b"]
    assert pieces_of(folder, "aü".encode()) == ["a", "<0xC3>", "<0xBC>"]
    assert pieces_of(folder, b"\xbcab\xc3") == ["<0xBC>", "ab", "<0xC3>"]


def test_a_literal_metaspace_is_not_taken_for_a_space(tmp_path: Path):
    folder = sentencepiece_bpe(tmp_path)
    assert pieces_of(folder, "▁a".encode()) == ["<0xE2>", "<0x96>", "<0x81>", "a"]


def test_unigram_takes_the_most_probable_pieces(tmp_path: Path):
    folder = unigram(tmp_path)
    assert pieces_of(folder, b" ab") == ["▁", "ab"]
    assert pieces_of(folder, b" a") == ["▁a"]
    assert pieces_of(folder, "aü\xff".encode()[:-1]) == ["a", "<0xC3>", "<0xBC>", "<0xC3>"]


def test_unigram_never_takes_a_special_piece_for_text(tmp_path: Path):
    ids = Segmenter(unigram(tmp_path)).segment(b"</s>")
    assert ids == [1 + byte for byte in b"</s>"]


def test_word_piece_takes_the_longest_piece_from_the_left(tmp_path: Path):
    folder = word_piece(tmp_path)
    assert pieces_of(folder, b" unaffable") == ["un", "##aff", "##able"]
    assert pieces_of(folder, b"affa un") == ["##aff", "##a", "un"]


@pytest.mark.parametrize("data", [b"unaff", b" unx", b"\xc3"])
def test_word_piece_names_what_it_cannot_cover(tmp_path: Path, data: bytes):
    with pytest.raises(UncoverableTokenError, match="no pieces for 1 of 1"):
        Segmenter(word_piece(tmp_path)).segment(data)


def test_a_model_without_byte_fallback_drops_nothing_silently(tmp_path: Path):
    segmenter = Segmenter(sentencepiece_bpe(tmp_path, byte_fallback=False))
    with pytest.raises(UncoverableTokenError, match=r"1 of 2 byte strings .*fallback"):
        segmenter.segment_all([b"ab", "aü".encode()])
    assert segmenter.try_segment_all([b"ab", "aü".encode()])[1] is None


def test_word_level_covers_whole_words_only(tmp_path: Path):
    folder = write(
        tmp_path, Tokenizer(models.WordLevel({"[UNK]": 0, "haus": 1}, unk_token="[UNK]"))
    )
    assert Segmenter(folder).segment(b"haus") == [1]
    with pytest.raises(UncoverableTokenError):
        Segmenter(folder).segment(b"hau")


@pytest.mark.parametrize("build", [sentencepiece_bpe, unigram, word_piece])
def test_pieces_concatenate_to_every_token(tmp_path: Path, build):
    check_every_token(build(tmp_path))


def test_every_token_of_a_trained_tokenizer_is_cut_into_its_own_bytes(tiny_model_folder: Path):
    check_every_token(tiny_model_folder)
    vocabulary = read_vocabulary(tiny_model_folder)
    tokens = [(i, b) for i, b in enumerate(vocabulary.token_bytes) if b is not None]
    cut = Segmenter(tiny_model_folder).segment_all([b for _, b in tokens])
    assert cut == [[i] for i, _ in tokens]


def test_random_bytes_are_cut_without_loss(tiny_model_folder: Path):
    draw = random.Random(2)
    samples = [draw.randbytes(draw.randint(0, 40)) for _ in range(200)]
    vocabulary = read_vocabulary(tiny_model_folder)
    for sample, ids in zip(samples, Segmenter(tiny_model_folder).segment_all(samples), strict=True):
        assert b"".join(vocabulary.token_bytes[i] or b"?" for i in ids) == sample


def check_every_token(folder: Path) -> None:
    vocabulary = read_vocabulary(folder)
    tokens = [data for data in vocabulary.token_bytes if data is not None]
    for token, ids in zip(tokens, Segmenter(folder).segment_all(tokens), strict=True):
        assert b"".join(vocabulary.token_bytes[i] or b"?" for i in ids) == token


def test_old_files_without_a_model_type_are_read(tmp_path: Path):
    folder = byte_level(tmp_path, [("a", "b")])
    parsed = json.loads((folder / "tokenizer.json").read_text())
    del parsed["model"]["type"]
    parsed["model"]["merges"] = ["a b"]
    (folder / "tokenizer.json").write_text(json.dumps(parsed))
    assert pieces_of(folder, b"ab") == ["ab"]
