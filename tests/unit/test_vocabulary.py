"""Vocabularies as bytes: what each family writes, and which tokens are the same."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from tasks.shared.byte_alphabet import BYTE_CHARACTERS, from_alphabet, to_alphabet
from tasks.shared.vocabulary import (
    NO_MATCH,
    TokenizerFileError,
    UnknownTokenError,
    UnsupportedTokenizerError,
    Vocabulary,
    match_ids,
    read_vocabulary,
)


def save(folder: Path, tokenizer: Tokenizer, **config: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def byte_level(folder: Path) -> Path:
    vocab = {character: i for i, character in enumerate(BYTE_CHARACTERS)} | {"Ġa": 256, "Ã¼": 257}
    tokenizer = Tokenizer(models.BPE(vocab, [("Ġ", "a"), ("Ã", "¼")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    return save(folder, tokenizer, bos_token="<|im_start|>", eos_token="<|im_end|>")


def sentencepiece_vocab() -> dict[str, int]:
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), "▁", "a", "b", "▁a"]
    return {piece: i for i, piece in enumerate([*pieces, "ab", "ü"])}


def sentencepiece_bpe(folder: Path) -> Path:
    tokenizer = Tokenizer(
        models.BPE(
            sentencepiece_vocab(),
            [("▁", "a"), ("a", "b")],
            unk_token="<unk>",
            byte_fallback=True,
            fuse_unk=True,
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback()])
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    return save(folder, tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def unigram(folder: Path) -> Path:
    pieces = [(piece, -float(i)) for piece, i in sentencepiece_vocab().items()]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.add_special_tokens(["<s>", "</s>"])
    return save(folder, tokenizer, eos_token="</s>")


def word_piece(folder: Path) -> Path:
    texts = ["[UNK]", "[CLS]", "[SEP]", "a", "##b", "##ab", "ü", "##"]
    tokenizer = Tokenizer(models.WordPiece({t: i for i, t in enumerate(texts)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(["[CLS]", "[SEP]"])
    return save(folder, tokenizer, cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]")


def word_level(folder: Path) -> Path:
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "haus": 1, "ü": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return save(folder, tokenizer)


def bytes_of(vocabulary: Vocabulary, text: str) -> bytes | None:
    return vocabulary.token_bytes[vocabulary.token_text.index(text)]


def test_the_byte_alphabet_is_that_of_gpt2():
    assert to_alphabet(b" a\n\xc3\xbc\x00\xff") == "ĠaĊÃ¼Āÿ"
    assert sorted(BYTE_CHARACTERS) == sorted(pre_tokenizers.ByteLevel.alphabet())
    assert from_alphabet(to_alphabet(bytes(range(256)))) == bytes(range(256))
    assert from_alphabet("a b") is None


def test_byte_level_tokens_are_bytes_and_all_256_are_distinct(tmp_path: Path):
    vocabulary = read_vocabulary(byte_level(tmp_path))
    assert vocabulary.token_bytes[256:] == (b" a", "ü".encode(), None, None, None)
    assert set(vocabulary.token_bytes[:256]) == {bytes([b]) for b in range(256)}
    assert vocabulary.merges == ((0x20, 0x61, 256), (0xC3, 0xBC, 257))
    assert vocabulary.special_ids == {"<|endoftext|>": 258, "<|im_start|>": 259, "<|im_end|>": 260}
    assert vocabulary.roles["document_separator"] == 258
    assert vocabulary.roles["bos"] == vocabulary.roles["chat_turn_start"] == 259


@pytest.mark.parametrize("build", [sentencepiece_bpe, unigram])
def test_sentencepiece_tokens_read_metaspace_and_byte_fallback(tmp_path: Path, build):
    vocabulary = read_vocabulary(build(tmp_path))
    assert bytes_of(vocabulary, "▁a") == b" a"
    assert bytes_of(vocabulary, "ü") == "ü".encode()
    assert bytes_of(vocabulary, "<0xFF>") == b"\xff"
    assert bytes_of(vocabulary, "<unk>") is None
    assert vocabulary.is_byte_fallback(vocabulary.token_text.index("<0x61>"))
    assert not vocabulary.is_byte_fallback(vocabulary.token_text.index("a"))


def test_a_rule_that_cleans_up_text_is_no_metaspace(tmp_path: Path):
    folder = sentencepiece_bpe(tmp_path)
    parsed = json.loads((folder / "tokenizer.json").read_text())
    parsed["normalizer"]["normalizers"] = [
        {"type": "Replace", "pattern": {"String": "\n"}, "content": " "},
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
        *parsed["normalizer"]["normalizers"],
    ]
    (folder / "tokenizer.json").write_text(json.dumps(parsed))
    assert bytes_of(read_vocabulary(folder), "▁a") == b" a"


def test_a_word_piece_at_the_start_of_a_word_carries_its_space(tmp_path: Path):
    vocabulary = read_vocabulary(word_piece(tmp_path))
    assert vocabulary.token_bytes == (
        *(None, None, None),
        *(b" a", b"b", b"ab", " ü".encode(), b" ##"),
    )


def test_a_word_level_token_is_its_text(tmp_path: Path):
    assert read_vocabulary(word_level(tmp_path)).token_bytes == (None, b"haus", "ü".encode())


def test_an_added_token_that_is_not_special_is_its_text(tmp_path: Path):
    folder = byte_level(tmp_path)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens(["   "])
    vocabulary = read_vocabulary(save(folder, tokenizer))
    assert vocabulary.token_bytes[-1] == b"   "


def test_ids_that_nothing_uses_have_no_bytes(tmp_path: Path):
    folder = byte_level(tmp_path)
    parsed = json.loads((folder / "tokenizer.json").read_text())
    parsed["model"]["vocab"]["b" * 5] = 300
    (folder / "tokenizer.json").write_text(json.dumps(parsed))
    vocabulary = read_vocabulary(folder)
    assert len(vocabulary) == 301
    assert vocabulary.token_bytes[299] is None
    assert vocabulary.token_bytes[300] == b"bbbbb"


def test_a_vocabulary_matches_itself(tmp_path: Path):
    for build in (byte_level, sentencepiece_bpe, unigram, word_piece, word_level):
        vocabulary = read_vocabulary(build(tmp_path / build.__name__))
        np.testing.assert_array_equal(match_ids(vocabulary, vocabulary), np.arange(len(vocabulary)))


def test_a_permuted_vocabulary_matches_by_the_permutation(tmp_path: Path):
    source = read_vocabulary(byte_level(tmp_path))
    order = list(range(len(source)))
    random.Random(1).shuffle(order)
    place = {old: new for new, old in enumerate(order)}
    target = Vocabulary(
        token_bytes=tuple(source.token_bytes[i] for i in order),
        token_text=tuple(source.token_text[i] for i in order),
        special_ids={text: place[i] for text, i in source.special_ids.items()},
        roles={role: place[i] for role, i in source.roles.items()},
    )
    np.testing.assert_array_equal(match_ids(source, target), np.array(order))


def test_families_match_by_bytes(tmp_path: Path):
    bpe = read_vocabulary(byte_level(tmp_path / "bpe"))
    for build in (sentencepiece_bpe, unigram):
        target = read_vocabulary(build(tmp_path / build.__name__))
        matched = dict(zip(target.token_text, match_ids(bpe, target).tolist(), strict=True))
        assert matched["▁a"] == 256
        assert matched["ü"] == 257
        assert matched["<0xFF>"] == 0xFF
        assert matched["ab"] == NO_MATCH
    pieces = read_vocabulary(word_piece(tmp_path / "wp"))
    assert match_ids(bpe, pieces).tolist()[3:6] == [256, ord("b"), NO_MATCH]


def test_a_real_piece_comes_before_byte_fallback(tmp_path: Path):
    source = read_vocabulary(sentencepiece_bpe(tmp_path / "sp"))
    target = read_vocabulary(byte_level(tmp_path / "bl"))
    matched = match_ids(source, target)
    assert source.token_text[matched[ord("a")]] == "a"
    assert source.token_text[matched[ord("c")]] == "<0x63>"


def test_special_tokens_match_by_role_then_text_then_as_told(tmp_path: Path):
    source = read_vocabulary(byte_level(tmp_path / "bl"))
    target = read_vocabulary(sentencepiece_bpe(tmp_path / "sp"))
    matched = match_ids(source, target)
    start, end = source.special_ids["<|im_start|>"], source.special_ids["<|im_end|>"]
    assert matched[target.special_ids["<s>"]] == start
    assert matched[target.special_ids["</s>"]] == end
    assert matched[target.special_ids["<unk>"]] == NO_MATCH
    told = match_ids(source, target, {"</s>": "<|endoftext|>"})
    assert told[target.special_ids["</s>"]] == source.special_ids["<|endoftext|>"]


def test_the_same_token_in_one_of_its_roles_beats_a_greater_role():
    def vocabulary(texts: list[str], **roles: int) -> Vocabulary:
        ids = {text: i for i, text in enumerate(texts)}
        return Vocabulary((None,) * len(texts), tuple(texts), ids, roles)

    chat = vocabulary(["<|endoftext|>", "<|im_end|>"], eos=1, document_separator=0)
    base = vocabulary(["<|endoftext|>"], eos=0, document_separator=0)
    assert match_ids(chat, base).tolist() == [0]


def test_a_mapping_to_a_token_that_is_not_there_names_it(tmp_path: Path):
    vocabulary = read_vocabulary(byte_level(tmp_path))
    with pytest.raises(UnknownTokenError, match=r"'<nowhere>'.*source.*<\|im_end\|>"):
        match_ids(vocabulary, vocabulary, {"<|im_end|>": "<nowhere>"})


def test_a_folder_without_tokenizer_json_is_named(tmp_path: Path):
    with pytest.raises(TokenizerFileError, match=r"holds no tokenizer\.json"):
        read_vocabulary(tmp_path)


def test_a_broken_tokenizer_json_is_named(tmp_path: Path):
    (tmp_path / "tokenizer.json").write_text('{"model": {"voc')
    with pytest.raises(TokenizerFileError, match=r"tokenizer\.json is no valid JSON"):
        read_vocabulary(tmp_path)


def test_a_merge_outside_the_vocabulary_is_named(tmp_path: Path):
    model = {"type": "BPE", "vocab": {"a": 0}, "merges": [["a", "b"]]}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": model}))
    with pytest.raises(TokenizerFileError, match=r"merge \['a', 'b'\] needs 'b'"):
        read_vocabulary(tmp_path)


def test_bpe_with_word_affixes_is_refused(tmp_path: Path):
    model = {"type": "BPE", "vocab": {"a</w>": 0}, "merges": [], "end_of_word_suffix": "</w>"}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": model}))
    with pytest.raises(UnsupportedTokenizerError, match="end_of_word_suffix '</w>'"):
        read_vocabulary(tmp_path)
