"""Exact Scaffold-BPE: the class that ships, and the way the stages encode."""

import io
import itertools
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import regex
from rich.console import Console
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from flows.inspect_tokenizer import show
from tasks.shared.byte_alphabet import from_alphabet
from tasks.shared.errors import InputError
from tasks.shared.model_loading import load_tokenizer
from tasks.shared.scaffold_file import EXACT_VERSION, Scaffolds, write_scaffolds
from tasks.shared.text_tokenizer import open_tokenizer
from tasks.shared.vocabulary import Segmenter, read_vocabulary
from tasks.shared.vocabulary_file import read_tokenizer_file
from tasks.tokenizer.config import Extend, ScaffoldBpe
from tasks.tokenizer.errors import UnsupportedSourceError
from tasks.tokenizer.folder import write_tokenizer
from tasks.tokenizer.scaffold_agreement import agreement_metrics

SIZE = 350
BEGIN, END = "<|im_start|>", "<|im_end|>"


@pytest.fixture(autouse=True)
def own_modules(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):
    place = str(tmp_path_factory.mktemp("modules"))
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", place)


@pytest.fixture(scope="module")
def exact_folder(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_model_folder: Path,
    small_corpus_texts: list[str],
    train_tokenizer_in: Callable,
) -> Path:
    """A small exact tokenizer; read only."""
    folder = tmp_path_factory.mktemp("exact")
    source = read_tokenizer_file(tiny_model_folder)
    config = ScaffoldBpe(vocabulary_size=SIZE, encoding="exact")
    train_tokenizer_in(folder, source, config, small_corpus_texts)
    return folder


def load(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder, trust_remote_code=True, local_files_only=True)


class Reference:
    """Plain BPE with all tokens, then every scaffold by its shortest visible split."""

    words = regex.compile(
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    )

    def __init__(self, folder: Path, n_visible: int):
        model = json.loads((folder / "tokenizer.json").read_text())["model"]
        self.ids = {from_alphabet(text): i for text, i in model["vocab"].items()}
        self.merges = [tuple(map(from_alphabet, merge)) for merge in model["merges"]]
        self.ranks = {merge: rank for rank, merge in reversed(list(enumerate(self.merges)))}
        self.n_visible = n_visible
        self.known: dict[bytes, list[int]] = {}

    def visible(self, token: bytes) -> list[int]:
        if self.ids[token] < self.n_visible:
            return [self.ids[token]]
        splits = [pair for pair in self.merges if b"".join(pair) == token]
        return min((self.visible(a) + self.visible(b) for a, b in splits), key=len)

    def word(self, data: bytes) -> list[int]:
        if data not in self.known:
            parts = [bytes([byte]) for byte in data]
            while pairs := [pair for pair in itertools.pairwise(parts) if pair in self.ranks]:
                best = min(pairs, key=self.ranks.__getitem__)
                at = next(i for i, pair in enumerate(itertools.pairwise(parts)) if pair == best)
                parts[at : at + 2] = [b"".join(best)]
            self.known[data] = [i for part in parts for i in self.visible(part)]
        return self.known[data]

    def __call__(self, text: str) -> list[int]:
        return [i for word in self.words.findall(text) for i in self.word(word.encode())]


def many_texts(texts: list[str], n: int) -> list[str]:
    draw = random.Random(7)
    whole = "\n".join(texts)

    def one(number: int) -> str:
        if number % 3 == 0:
            start = draw.randrange(len(whole) - 40)
            return whole[start : start + draw.randint(0, 40)]
        if number % 3 == 1:
            pieces = draw.choices(whole.split(), k=draw.randint(1, 5))
            return draw.choice(["", " ", "\n", "  "]).join(pieces)[draw.randint(0, 3) :]
        last = draw.choice([0x7F, 0xFF, 0x7FF, 0xD7FF, 0x10FFFF])
        codes = [draw.randint(0, last) for _ in range(draw.randint(0, 12))]
        return "".join(chr(code) for code in codes if not 0xD800 <= code < 0xE000)

    return [one(number) for number in range(n)]


def test_ten_thousand_strings_as_the_reference_encodes_them(
    exact_folder: Path, small_corpus_texts: list[str]
):
    reference = Reference(exact_folder, SIZE)
    texts = many_texts(small_corpus_texts, 10_000)
    expected = [reference(text) for text in texts]
    shipped = load(exact_folder)
    assert shipped(texts, add_special_tokens=False)["input_ids"] == expected
    used = open_tokenizer(exact_folder)
    assert [e.ids for e in used.encode_batch_fast(texts, add_special_tokens=False)] == expected
    plain = used.plain.encode_batch_fast(texts, add_special_tokens=False)
    assert sum(max(e.ids, default=0) >= SIZE for e in plain) > 1000
    assert shipped.batch_decode(expected) == texts
    assert used.decode_batch(expected) == texts


MERGES = [("u", "g"), ("u", "n"), ("h", "ug"), ("p", "un"), ("hug", "s")]
VISIBLE = [BEGIN, END, *"bghnpsu", "Ġ", "ug", "hug", "pun", "hugs"]


def hugs_folder(folder: Path, post_processor: Any = None) -> Path:
    """The words hug, pug, pun, bun, hugs learnt to a vocabulary with ``un`` for a scaffold."""
    vocab = {text: i for i, text in enumerate([*VISIBLE, "un"])}
    tokenizer = Tokenizer(models.BPE(vocab, MERGES))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens([BEGIN, END])
    if post_processor:
        tokenizer.post_processor = post_processor
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"bos_token": BEGIN, "eos_token": END, "pad_token": END}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    source = read_tokenizer_file(folder)
    write_tokenizer(folder, {**source.tokenizer, "version": EXACT_VERSION}, source)
    write_scaffolds(folder, Scaffolds(len(VISIBLE), {len(VISIBLE): [8, 5]}))
    return folder


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("bun", ["b", "u", "n"]),
        ("pun", ["pun"]),
        ("bug", ["b", "ug"]),
        ("spun", ["s", "pun"]),
        ("unhug", ["u", "n", "hug"]),
        ("hugs", ["hugs"]),
    ],
)
def test_words_by_hand(text: str, tokens: list[str], tmp_path: Path):
    folder = hugs_folder(tmp_path / "hugs")
    loaded = load(folder)
    assert loaded.tokenize(text) == tokens
    assert loaded.convert_ids_to_tokens(load_tokenizer(folder).encode(text).ids) == tokens
    assert Segmenter(folder).segment(text.encode()) == loaded.convert_tokens_to_ids(tokens)


def test_the_vocabulary_is_the_visible_tokens(tmp_path: Path):
    folder = hugs_folder(tmp_path / "hugs")
    loaded, vocabulary = load(folder), read_vocabulary(folder)
    assert len(loaded) == loaded.vocab_size == len(vocabulary) == len(VISIBLE)
    assert loaded.get_vocab() == {text: i for i, text in enumerate(VISIBLE)}
    assert vocabulary.token_text == tuple(VISIBLE)
    assert loaded.convert_ids_to_tokens(list(range(len(VISIBLE) + 1))) == [*VISIBLE, None]
    assert loaded.convert_tokens_to_ids("un") is None
    # "pun" is merged from the scaffold.
    named = [[vocabulary.token_text[i] for i in merge] for merge in vocabulary.merges_of_rows()]
    assert named == [["u", "g", "ug"], ["h", "ug", "hug"], ["hug", "s", "hugs"]]
    with pytest.raises(ValueError, match=r"'new' is no token, .* train the tokenizer with it"):
        loaded.add_tokens(["new"])


WITH_ENDS = processors.TemplateProcessing(
    single=f"{BEGIN} $A {END}", pair=f"{BEGIN} $A {END} $B:1 {END}:1",
    special_tokens=[(BEGIN, 0), (END, 1)],
)  # fmt: skip


def spelled(folder: Path) -> PreTrainedTokenizerFast:
    """A stock tokenizer of the same ids for texts that are written as tokens with spaces."""
    words = Tokenizer(models.WordLevel({text: i for i, text in enumerate(VISIBLE)}, BEGIN))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.add_special_tokens([BEGIN, END])
    words.post_processor = WITH_ENDS
    return PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token=BEGIN, eos_token=END, pad_token=END
    )


OPTIONS = [
    {},
    {"padding": True},
    {"padding": "max_length", "max_length": 17, "truncation": True},
    {"padding": True, "pad_to_multiple_of": 8, "padding_side": "left"},
    *({"truncation": True, "max_length": n} for n in (5, 6, 7, 8, 9, 12)),
    {"truncation": True, "max_length": 11, "padding": True, "stride": 1, "overflow": True},
    {"truncation": "longest_first", "max_length": 9, "side": "left"},
    {"truncation": True, "max_length": 6, "add_special_tokens": False},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("pairs", [False, True], ids=["texts", "pairs"])
def test_options_count_exact_tokens(tmp_path: Path, options: dict, pairs: bool):
    loaded = load(hugs_folder(tmp_path / "hugs", WITH_ENDS))
    stock = spelled(tmp_path)
    draw = random.Random(3)
    words = ["bun", "unhug", "pun", "hugs", "sun", "un"]
    columns = [[" ".join(draw.choices(words, k=draw.randint(1, 4))) for _ in range(12)]
               for _ in range(1 + pairs)]  # fmt: skip
    as_tokens = [[" ".join(loaded.tokenize(text)) for text in column] for column in columns]
    chosen = {key: value for key, value in options.items() if key not in ("side", "overflow")}
    for tokenizer in (loaded, stock):
        tokenizer.truncation_side = options.get("side", "right")
    for masks in ({}, {"return_special_tokens_mask": True, "return_token_type_ids": True}):
        wanted = {**chosen, **masks, "return_overflowing_tokens": options.get("overflow", False)}
        got, expected = loaded(*columns, **wanted), stock(*as_tokens, **wanted)
        assert got.data == expected.data
        assert all(max(ids) < len(VISIBLE) for ids in got["input_ids"])
    for row, other in zip(got.encodings, expected.encodings, strict=True):
        assert (row.ids, row.tokens) == (other.ids, other.tokens)
        assert row.sequence_ids == other.sequence_ids


def test_tensors_and_words_given_as_such(tmp_path: Path):
    loaded = load(hugs_folder(tmp_path / "hugs", WITH_ENDS))
    rows = loaded(["bun", "hugs"], padding=True, return_tensors="pt")["input_ids"].tolist()
    assert rows == [[0, 2, 8, 5, 1], [0, 13, 1, 1, 1]]
    got = loaded([["bun", "hug"], ["un"]], is_split_into_words=True, truncation=True, max_length=5)
    assert got.word_ids(0) == [None, 0, 0, 0, None]
    assert got.word_ids(1) == [None, 0, 0, None]
    pair = loaded(["bun"], ["un", "pun"], is_split_into_words=True, max_length=9, truncation=True)
    assert pair["input_ids"] == [0, 2, 8, 5, 1, 8, 5, 12, 1]


def test_offsets_of_parts_slice_the_text(exact_folder: Path, small_corpus_texts: list[str]):
    loaded, vocabulary = load(exact_folder), read_vocabulary(exact_folder)
    for text in many_texts(small_corpus_texts, 600):
        encoded = loaded(text, return_offsets_mapping=True, add_special_tokens=False)
        at = 0
        data = text.encode()
        # The characters that the token's own bytes belong to, found from the text.
        owner = [i for i, character in enumerate(text) for _ in character.encode()]
        for token_id, offsets in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True):
            token = vocabulary.token_bytes[token_id]
            assert token is not None
            assert data[at : at + len(token)] == token
            assert offsets == (owner[at], owner[at + len(token) - 1] + 1)
            at += len(token)
        assert at == len(data)
        backend = encoded.encodings[0]
        assert backend.offsets == encoded["offset_mapping"]
        if text:
            assert len(backend.word_ids) == len(backend.tokens) == len(encoded["input_ids"])
            first = encoded.char_to_token(0)
            assert first is not None
            assert encoded.token_to_chars(first).start == 0


def test_offsets_without_the_space_in_front(tmp_path: Path):
    trimmed = processors.ByteLevel(trim_offsets=True)
    folder = hugs_folder(tmp_path / "hugs", trimmed)
    path = folder / "tokenizer.json"
    record = json.loads(path.read_text())
    n = len(VISIBLE)
    record["model"]["vocab"] |= {"Ġun": n + 1}
    record["model"]["merges"].append(["Ġ", "un"])
    path.write_text(json.dumps(record))
    write_scaffolds(folder, Scaffolds(n, {n: [8, 5], n + 1: [9, 8, 5]}))
    encoded = load(folder)("bun un", return_offsets_mapping=True)
    assert encoded.tokens() == ["b", "u", "n", "Ġ", "u", "n"]
    assert encoded["offset_mapping"] == [(0, 1), (1, 2), (2, 3), (4, 4), (4, 5), (5, 6)]


def test_saved_and_loaded_again_it_is_the_same(
    exact_folder: Path, small_corpus_texts: list[str], tmp_path: Path
):
    loaded = load(exact_folder)
    again_in = tmp_path / "again"
    loaded.save_pretrained(again_in)
    again = load(again_in)
    assert again(small_corpus_texts)["input_ids"] == loaded(small_corpus_texts)["input_ids"]
    assert again.get_vocab() == loaded.get_vocab()
    assert read_vocabulary(again_in) == read_vocabulary(exact_folder)
    chat = [{"role": "user", "content": "Größe des Puffers"}]
    text = again.apply_chat_template(chat, tokenize=False)
    ids = again.apply_chat_template(chat, tokenize=True)["input_ids"]
    assert ids == loaded(text)["input_ids"]
    assert ids[0] == again.bos_token_id
    assert max(ids) < SIZE


@pytest.mark.parametrize("model_type", ["llama", "qwen2", None])
def test_without_its_class_the_folder_loads_nowhere(
    exact_folder: Path, model_type: str | None, tmp_path: Path
):
    folder = shutil.copytree(exact_folder, tmp_path / "model")
    if model_type:
        (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    for cls in (AutoTokenizer, PreTrainedTokenizerFast):
        with pytest.raises(Exception, match="trust_remote_code=True"):
            cls.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    with pytest.raises(Exception, match="trust_remote_code=True"):
        Tokenizer.from_file(str(folder / "tokenizer.json"))


def test_a_folder_without_its_list_or_with_another_is_named(tmp_path: Path):
    folder = hugs_folder(tmp_path / "hugs")
    n = len(VISIBLE)

    def refused(by_stages: str, by_class: str) -> None:
        for read in (open_tokenizer, read_vocabulary):
            with pytest.raises(InputError, match=by_stages):
                read(folder)
        with pytest.raises(ValueError, match=by_class):
            load(folder)

    for text in ("{", '{"splits": {}}', "[]", '{"n_visible": 14, "splits": {"14": 5}}'):
        (folder / "scaffold.json").write_text(text)
        refused("no list of scaffold tokens", "no list of scaffold tokens")
    for splits in ({n: [8, n]}, {n + 1: [8, 5]}, {n: [8, -1]}):
        write_scaffolds(folder, Scaffolds(n, splits))
        refused(f"n_visible={n} on by ids below it", "by ids below them")
    write_scaffolds(folder, Scaffolds(n, {}))
    with pytest.raises(InputError, match=r"15 tokens in tokenizer\.json and 14 in scaffold\.json"):
        open_tokenizer(folder)
    (folder / "scaffold.json").unlink()
    refused(r"has no scaffold\.json", r"has no scaffold\.json")


def test_an_exact_source_is_not_extended_and_hands_on_no_class(
    exact_folder: Path, train_tokenizer_in: Callable, small_corpus_texts: list[str], tmp_path: Path
):
    source = read_tokenizer_file(exact_folder)
    with pytest.raises(UnsupportedSourceError, match="choose a method that makes a new"):
        train_tokenizer_in(tmp_path, source, Extend(n_new_tokens=5), small_corpus_texts)
    plain = tmp_path / "plain"
    plain.mkdir()
    train_tokenizer_in(plain, source, ScaffoldBpe(vocabulary_size=SIZE), small_corpus_texts)
    assert len(AutoTokenizer.from_pretrained(plain)) > SIZE


def test_other_forms_do_not_go_with_exact():
    with pytest.raises(ValueError, match="exports tiktoken cannot say encoding: exact"):
        ScaffoldBpe(encoding="exact", exports=("tiktoken",))


def test_agreement_by_hand(tmp_path: Path):
    folder = hugs_folder(tmp_path / "hugs")
    # Plain: b un, pun, un; exact: b u n, pun, u n.
    metrics = agreement_metrics(
        "s", "new", open_tokenizer(folder), Scaffolds(14, {14: [8, 5]}), ["bun", "pun", "un"]
    )
    assert [metric.value for metric in metrics] == [2 / 4, 4 / 6]


def test_a_person_sees_exact_tokens_and_what_plain_ones_would_be(tmp_path: Path):
    screen = io.StringIO()
    folder = hugs_folder(tmp_path / "hugs")
    show(Console(file=screen, width=120), folder, "bunpun", None)
    lines = screen.getvalue().splitlines()
    assert lines[:3] == ["hugs: 4 tokens", "b│u│n│pun", "2 8 5 12"]
    shown = {line.split("  ")[0]: line.split("  ", 1)[1].split()[0] for line in lines[4:20]}
    assert shown["plain tokens that the exact encoding has too"] == "66.7%"
    assert shown["plain tokens / exact tokens"] == "75.0%"
