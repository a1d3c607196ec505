"""A pretrained tokenizer in a model's place: what stays, what is carried, by hand."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from tasks.shared.byte_alphabet import BYTE_CHARACTERS
from tasks.shared.vocabulary_file import TokenizerFile, read_tokenizer_file
from tasks.shared.vocabulary_reading import vocabulary_of
from tasks.tokenizer.adoption import adopt
from tasks.tokenizer.named_roles import RolesConflictError, agreed_roles

TEMPLATE = "<|im_start|>{{ m }}<|im_end|>"


def write(folder: Path, specials: list[str], around: Any = None, **roles: str) -> TokenizerFile:
    """256 bytes and special tokens behind them."""
    folder.mkdir(exist_ok=True)
    tokenizer = Tokenizer(models.BPE({c: i for i, c in enumerate(BYTE_CHARACTERS)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(specials)
    if around is not None:
        tokenizer.post_processor = around
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {f"{role}_token": text for role, text in roles.items()}
    (folder / "tokenizer_config.json").write_text(json.dumps(named))
    return read_tokenizer_file(folder)


@pytest.fixture
def source(tmp_path: Path) -> TokenizerFile:
    """eos is pad too; unk separates documents."""
    return write(
        tmp_path / "source",
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<reserved>"],
        bos="<|im_start|>", eos="<|im_end|>", pad="<|im_end|>", unk="<|endoftext|>",
    )  # fmt: skip


def test_a_tokenizer_that_has_all_roles_stays_as_it_is(tmp_path: Path, source: TokenizerFile):
    donor = write(tmp_path / "d", ["<s>", "</s>", "<pad>"], bos="<s>", eos="</s>", pad="<pad>")
    adopted = adopt(donor, source, "")
    assert adopted.carried == ()
    assert adopted.file == donor


def test_a_role_that_is_lacking_falls_to_the_token_of_an_equal_role(
    tmp_path: Path, source: TokenizerFile
):
    # The model pads with its end token, so that the new one pads with the new end token.
    donor = write(tmp_path / "d", ["<s>", "</s>"], bos="<s>", eos="</s>")
    adopted = adopt(donor, source, "")
    assert adopted.carried == ()
    assert adopted.file.named == {"bos": "<s>", "eos": "</s>", "pad": "</s>"}


def test_a_token_whose_role_nothing_has_is_carried_behind_the_others(
    tmp_path: Path, source: TokenizerFile
):
    donor = write(tmp_path / "d", ["<|endoftext|>"])
    adopted = adopt(donor, source, "")
    assert adopted.carried == ("<|im_start|>", "<|im_end|>")
    loaded = Tokenizer.from_str(json.dumps(adopted.file.tokenizer))
    assert [loaded.token_to_id(t) for t in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")] == [
        *(256, 257, 258)
    ]
    assert loaded.get_vocab_size() == len(vocabulary_of(adopted.file)) == 259
    roles = vocabulary_of(adopted.file).roles
    assert (roles["bos"], roles["eos"], roles["pad"]) == (257, 258, 258)
    assert roles["document_separator"] == 256


def test_a_template_that_is_taken_over_gets_the_tokens_it_writes(
    tmp_path: Path, source: TokenizerFile
):
    donor = write(tmp_path / "d", ["<s>", "</s>"], bos="<s>", eos="</s>")
    adopted = adopt(donor, source, TEMPLATE)
    assert adopted.carried == ("<|im_start|>", "<|im_end|>")
    assert adopted.file.named == {"bos": "<s>", "eos": "</s>", "pad": "<|im_end|>"}
    loaded = Tokenizer.from_str(json.dumps(adopted.file.tokenizer))
    assert loaded.encode("<|im_start|>a<|im_end|>").tokens == ["<|im_start|>", "a", "<|im_end|>"]


def test_what_the_model_puts_around_a_text_is_put_there_by_role(tmp_path: Path):
    def around(text: str, token_id: int) -> Any:
        return processors.TemplateProcessing(f"{text} $A", special_tokens=[(text, token_id)])

    source = write(tmp_path / "s", ["<bos>", "<eos>"], around("<bos>", 256), bos="<bos>")
    donor = write(tmp_path / "d", ["<x>", "<s>"], bos="<s>")
    loaded = Tokenizer.from_str(json.dumps(adopt(donor, source, "").file.tokenizer))
    assert (loaded.encode("a").tokens, loaded.encode("a").ids[0]) == (["<s>", "a"], 257)
    bare = write(tmp_path / "b", [])
    loaded = Tokenizer.from_str(json.dumps(adopt(bare, source, "").file.tokenizer))
    assert loaded.encode("a").tokens == ["<bos>", "a"]
    unwanted = adopt(bare, source, "", ["bos"]).file
    assert unwanted.named == {}
    assert Tokenizer.from_str(json.dumps(unwanted.tokenizer)).encode("a").tokens == ["a"]
    own = write(tmp_path / "o", ["<x>"], around("<x>", 256), bos="<x>")
    loaded = Tokenizer.from_str(json.dumps(adopt(own, source, "").file.tokenizer))
    assert loaded.encode("a").tokens == ["<x>", "a"]


def test_a_piece_list_without_ids_takes_tokens_too(tmp_path: Path, source: TokenizerFile):
    folder = tmp_path / "u"
    folder.mkdir()
    tokenizer = Tokenizer(models.Unigram([("<unk>", 0.0), ("a", -1.0), ("▁a", -1.5)], 0, False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.add_special_tokens(["<unk>", "<s>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    adopted = adopt(read_tokenizer_file(folder), source, "")
    loaded = Tokenizer.from_str(json.dumps(adopted.file.tokenizer))
    vocabulary = vocabulary_of(adopted.file)
    assert {t: i for t, i in loaded.get_vocab().items() if i > 2} == {
        text: i for i, text in enumerate(vocabulary.token_text) if i > 2
    }
    assert [vocabulary.token_text[i] for i in (3, 4)] == ["<s>", "<|endoftext|>"]


def test_an_override_may_name_a_token_of_the_model_and_nothing_else(
    tmp_path: Path, source: TokenizerFile
):
    donor = write(tmp_path / "d", ["<s>", "</s>"], bos="<s>", eos="<|im_end|>")
    adopted = adopt(donor, source, "")
    assert adopted.carried == ("<|im_end|>",)
    assert adopted.file.named == {"bos": "<s>", "eos": "<|im_end|>", "pad": "<|im_end|>"}
    wrong = write(tmp_path / "w", ["<s>"], bos="<bos>")
    with pytest.raises(RolesConflictError, match=r"'<bos>' as bos, .* neither .*<\|im_end\|>"):
        adopt(wrong, source, "")


def test_roles_that_files_name_differently_need_a_word_from_the_config():
    named = {"a.json": {"eos": "</s>", "pad": "</s>"}, "b.json": {"eos": "<end>"}}
    tokens = ["</s>", "<end>"]
    with pytest.raises(
        RolesConflictError, match=r"a\.json names '</s>' as eos and b\.json names '<end>'; .*roles"
    ):
        agreed_roles(named, {}, tokens)
    assert agreed_roles(named, {"eos": "<end>"}, tokens) == {"pad": "</s>", "eos": "<end>"}
    assert agreed_roles(named, {"eos": None}, tokens) == {"pad": "</s>"}


def test_a_role_of_no_token_is_refused():
    with pytest.raises(RolesConflictError, match=r"c\.json names '<m>' as mask, which is no token"):
        agreed_roles({"c.json": {"mask": "<m>"}}, {}, ["a"])
    assert agreed_roles({"c.json": {"mask": "<m>"}}, {"mask": None}, ["a"]) == {}
