"""Trained tokenizers of every family: the model alone agrees with the library, and with bytes."""

import json
import re
from itertools import product
from pathlib import Path

import pytest
from tiktoken.load import load_tiktoken_bpe
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers.convert_slow_tokenizer import bytes_to_unicode

from tasks.shared.vocabulary import NO_MATCH, Segmenter, match_ids, read_vocabulary
from tasks.tokenizer.tiktoken_export import to_tiktoken
from tasks.tokenizer.tiktoken_format import read_tiktoken, write_tiktoken
from tasks.tokenizer.tiktoken_import import from_tiktoken

BYTE_PIECES = [f"<0x{b:02X}>" for b in range(256)]
BYTE_OF = {character: b for b, character in bytes_to_unicode().items()}
ROLES = {
    "byte_level": {"<s>": "eos", "<bos>": "bos"},
    "tiktoken": {"<|endoftext|>": "eos", "<pad>": "pad"},
    "metaspace_bpe": {"<unk>": "unk", "<s>": "bos", "</s>": "eos"},
    "unigram": {"<unk>": "unk", "</s>": "eos", "<pad>": "pad"},
    "word_piece": {"[UNK]": "unk", "[CLS]": "cls", "[SEP]": "sep"},
    "word_level": {"[UNK]": "unk", "[SEP]": "eos"},
}
"""What each family's special tokens do; where two differ, a text stands for two things."""
SPELL_ANY_BYTES = ("byte_level", "tiktoken", "metaspace_bpe", "unigram")


def byte_level(size: int = 500, name: str = "byte_level") -> tuple[Tokenizer, trainers.Trainer]:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer, trainers.BpeTrainer(
        vocab_size=size, special_tokens=[*ROLES[name]], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip


def tiktoken() -> tuple[Tokenizer, trainers.Trainer]:
    return byte_level(400, "tiktoken")


def metaspace_bpe() -> tuple[Tokenizer, trainers.Trainer]:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback()])
    specials = [*ROLES["metaspace_bpe"], *BYTE_PIECES]
    return tokenizer, trainers.BpeTrainer(
        vocab_size=700, special_tokens=specials, show_progress=False
    )


def unigram() -> tuple[Tokenizer, trainers.Trainer]:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    specials = [*ROLES["unigram"], *BYTE_PIECES]
    return tokenizer, trainers.UnigramTrainer(
        vocab_size=550, special_tokens=specials, unk_token="<unk>", show_progress=False
    )


def word_piece() -> tuple[Tokenizer, trainers.Trainer]:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer, trainers.WordPieceTrainer(
        vocab_size=400, special_tokens=[*ROLES["word_piece"]], show_progress=False
    )


def word_level() -> tuple[Tokenizer, trainers.Trainer]:
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer, trainers.WordLevelTrainer(
        special_tokens=[*ROLES["word_level"]], show_progress=False
    )


BUILDERS = (byte_level, tiktoken, metaspace_bpe, unigram, word_piece, word_level)


@pytest.fixture(scope="module")
def folders(
    tmp_path_factory: pytest.TempPathFactory, small_corpus_texts: list[str]
) -> dict[str, Path]:
    """A tokenizer of each family, trained on the same texts."""
    made: dict[str, Path] = {}
    for build in BUILDERS:
        name = build.__name__
        folder = made[name] = tmp_path_factory.mktemp(name)
        tokenizer, trainer = build()
        tokenizer.train_from_iterator(small_corpus_texts, trainer)
        record = json.loads(tokenizer.to_str())
        # A trainer takes pieces that no text leads to as special tokens, which bytes are not.
        record["added_tokens"] = [t for t in record["added_tokens"] if t["content"] in ROLES[name]]
        if name == "unigram":
            record["model"]["byte_fallback"] = True
        if name == "tiktoken":
            write_tiktoken(folder / "tokenizer.tiktoken", to_tiktoken(record))
            record = from_tiktoken(read_tiktoken(folder / "tokenizer.tiktoken"))
        (folder / "tokenizer.json").write_text(json.dumps(record))
        named = {f"{role}_token": text for text, role in ROLES[name].items()}
        (folder / "tokenizer_config.json").write_text(json.dumps(named))
    return made


def ordinary(folders: dict[str, Path], name: str) -> dict[int, bytes]:
    """Bytes by id of all but special tokens, read without the code under test."""
    if name == "tiktoken":
        record = json.loads((folders[name] / "tokenizer.tiktoken.json").read_text())
        path = str(folders[name] / "tokenizer.tiktoken")
        return {rank: data for data, rank in load_tiktoken_bpe(path, record["sha256"]).items()}

    def spelt(text: str) -> bytes:
        if name == "byte_level":
            return bytes(BYTE_OF[character] for character in text)
        if name == "word_piece":
            return text[2:].encode() if text.startswith("##") else b" " + text.encode()
        if text in BYTE_PIECES:
            return bytes([BYTE_PIECES.index(text)])
        return text.replace("▁", " ").encode()

    vocabulary = Tokenizer.from_file(str(folders[name] / "tokenizer.json")).get_vocab()
    return {i: spelt(text) for text, i in vocabulary.items() if text not in ROLES[name]}


@pytest.mark.parametrize("name", ROLES)
def test_a_word_with_its_space_is_cut_as_the_library_cuts_it(
    folders: dict[str, Path], small_corpus_texts: list[str], name: str
):
    library = Tokenizer.from_file(str(folders[name] / "tokenizer.json"))
    # A word of WordLevel is its text alone, without the space.
    space = "" if name == "word_level" else " "
    words = sorted({f"{space}{w}" for t in small_corpus_texts for w in re.findall(r"[^\W\d]+", t)})
    cut = Segmenter(folders[name]).try_segment_all([word.encode() for word in words])
    expected = [library.encode(word, add_special_tokens=False).ids for word in words]
    assert cut == expected


each_pair = pytest.mark.parametrize(("source", "target"), [*product(ROLES, repeat=2)])


@each_pair
def test_tokens_of_two_families_match_where_their_bytes_or_roles_do(
    folders: dict[str, Path], source: str, target: str
):
    old, new = (read_vocabulary(folders[name]) for name in (source, target))
    matched = match_ids(old, new).tolist()
    old_bytes, new_bytes = (ordinary(folders, name) for name in (source, target))
    known = set(old_bytes.values())
    for token, data in new_bytes.items():
        found = matched[token]
        assert old_bytes[found] == data if data in known else found == NO_MATCH
    by_role = {role: text for text, role in ROLES[source].items()}
    for text, role in ROLES[target].items():
        same = by_role.get(role, text if text in ROLES[source] else None)
        expected = NO_MATCH if same is None else old.special_ids[same]
        assert matched[new.special_ids[text]] == expected, text
    assert len(matched) == len(new_bytes) + len(ROLES[target])
    if source == target:
        assert matched == list(range(len(new)))
    if source in SPELL_ANY_BYTES and target in SPELL_ANY_BYTES:
        of_byte = {data: matched[i] for i, data in new_bytes.items() if len(data) == 1}
        assert len({*of_byte.values()} - {NO_MATCH}) == len(of_byte) == 256


@each_pair
def test_tokens_of_one_family_are_cut_into_anothers_or_cannot_be(
    folders: dict[str, Path], source: str, target: str
):
    old_bytes = ordinary(folders, source)
    tokens = sorted({*ordinary(folders, target).values()})
    cuts = Segmenter(folders[source]).try_segment_all(tokens)
    for token, cut in zip(tokens, cuts, strict=True):
        assert cut is None or b"".join(old_bytes[i] for i in cut) == token
    cut_tokens = {token for token, cut in zip(tokens, cuts, strict=True) if cut is not None}
    longest_first = b"|".join(map(re.escape, sorted({*old_bytes.values()}, key=len, reverse=True)))
    can_be = {
        "word_piece": re.compile(b"(?:%b)*+" % longest_first).fullmatch,
        "word_level": {*old_bytes.values()}.__contains__,
    }.get(source, lambda token: True)
    assert cut_tokens == {token for token in tokens if can_be(token)}
