"""A new vocabulary: merges by hand, all bytes, nothing of the source lost that is in use."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import TypeAdapter, ValidationError
from tokenizers import Tokenizer

from tasks.shared.byte_alphabet import BYTE_CHARACTERS
from tasks.shared.vocabulary import read_vocabulary
from tasks.shared.vocabulary_file import Json, read_tokenizer_file
from tasks.tokenizer.bpe import learn_vocabulary
from tasks.tokenizer.byte_level_file import byte_level_tokenizer
from tasks.tokenizer.carry_over import carry_config, carry_post_processor, tokens_to_carry
from tasks.tokenizer.config import Bpe, Extend, TokenizerConfig
from tasks.tokenizer.errors import CorpusTooSmallError, VocabularyTooSmallError
from tasks.tokenizer.folder import read_template
from tasks.tokenizer.merge_loop import Limits
from tasks.tokenizer.pretokens import PretokenCounter

WHOLE_LINES: Json = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": True,
    "use_regex": False,
}


def special(content: str, token_id: int = 0) -> Json:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": token_id, "content": content, **flags, "special": True}


def train(texts: list[str], vocabulary_size: int, *carried: str, **options: int) -> Json:
    chosen = {"min_frequency": 1, "max_token_bytes": 48} | options
    counter = PretokenCounter(None, WHOLE_LINES, 256)
    counter.add(pa.array(texts, pa.string()))
    limits = Limits(vocabulary_size, **chosen)
    learnt = learn_vocabulary(counter.result(), limits, len(carried), scaffold=False)
    return byte_level_tokenizer(learnt, WHOLE_LINES, None, [special(name) for name in carried])


def test_merges_by_hand():
    # hug 10, pug 5, pun 12, bun 4, hugs 5: ug 20, un 16, hug 15, pun 12.
    words = {"hug": 10, "pug": 5, "pun": 12, "bun": 4, "hugs": 5}
    trained = train([word for word, n in words.items() for _ in range(n)], 260)
    assert trained["model"]["merges"] == [["u", "g"], ["u", "n"], ["h", "ug"], ["p", "un"]]


def test_all_bytes_and_carried_tokens_are_there_whatever_the_text():
    trained = train(["aaaa"], 256 + 2 + 1, "<end>", "<start>")
    vocabulary = trained["model"]["vocab"]
    assert (vocabulary["<end>"], vocabulary["<start>"]) == (0, 1)
    assert set(BYTE_CHARACTERS) <= vocabulary.keys()
    assert [token["id"] for token in trained["added_tokens"]] == [0, 1]
    assert len(vocabulary) == 259


def test_the_longest_token_is_as_long_as_asked():
    trained = train(["abcdefgh" * 3], 262, max_token_bytes=4)
    assert max(len(a + b) for a, b in trained["model"]["merges"]) == 4


def test_too_few_ids_name_both_numbers():
    with pytest.raises(VocabularyTooSmallError, match="vocabulary_size=257 is below 258"):
        train(["a"], 257, "<end>", "<start>")


def test_too_little_text_names_both_numbers():
    with pytest.raises(CorpusTooSmallError, match=r"of 257 tokens .* vocabulary_size=300"):
        train(["ab"], 300)


@pytest.fixture(scope="module")
def trained_folder(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_model_folder: Path,
    small_corpus_texts: list[str],
    train_tokenizer_in: Callable,
) -> Path:
    folder = tmp_path_factory.mktemp("bpe")
    source = read_tokenizer_file(tiny_model_folder)
    train_tokenizer_in(folder, source, Bpe(vocabulary_size=500), small_corpus_texts)
    return folder


def test_special_tokens_and_template_come_along(trained_folder: Path, tiny_model_folder: Path):
    old, new = read_vocabulary(tiny_model_folder), read_vocabulary(trained_folder)
    assert len(new) == 500
    assert new.special_ids.keys() == old.special_ids.keys()
    assert new.roles == {role: new.special_ids[old.token_text[i]] for role, i in old.roles.items()}
    assert read_template(trained_folder) == read_template(tiny_model_folder) != ""


def test_any_text_survives(trained_folder: Path, small_corpus_texts: list[str]):
    tokenizer = Tokenizer.from_file(str(trained_folder / "tokenizer.json"))
    draw = random.Random(0)
    texts = [
        *small_corpus_texts,
        *("".join(map(chr, draw.choices(range(0xD800), k=30))) for _ in range(50)),
        *(draw.randbytes(40).decode(errors="replace") for _ in range(50)),
        *("".join(map(chr, draw.choices(range(0x10000, 0x110000), k=20))) for _ in range(50)),
    ]
    for text in texts:
        assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


def test_an_unused_special_token_stays_behind(tiny_model_folder: Path):
    file = read_tokenizer_file(tiny_model_folder)
    added = (*file.added, (600, "<reserved>", True), (601, "<tool>", False))
    file = type(file)(file.folder, file.tokenizer, added, file.named)
    kept = [token["content"] for token in tokens_to_carry(file, "{{ '<tool>' }}")]
    assert kept == ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool>"]


def test_post_processors_get_the_new_ids():
    template = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}],
        "pair": [],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [7], "tokens": ["<s>"]}},
    }
    bert = {"type": "BertProcessing", "sep": ["</s>", 8], "cls": ["<s>", 7]}
    both = {"type": "Sequence", "processors": [template, bert]}
    carried = carry_post_processor(both, {"<s>": 0, "</s>": 1})
    assert carried is not None
    assert carried["processors"][0]["special_tokens"]["<s>"]["ids"] == [0]
    assert carried["processors"][1] == {**bert, "sep": ["</s>", 1], "cls": ["<s>", 0]}


def test_the_config_drops_what_holds_for_old_ids(tiny_model_folder: Path):
    config = {
        "added_tokens_decoder": {"5": {"content": "<x>"}},
        "additional_special_tokens": ["<|im_end|>", "<x>"],
        "extra_special_tokens": {"image": "<x>"},
        "tokenizer_class": "LlamaTokenizer",
        "model_max_length": 256,
    }
    carried = carry_config(config, read_tokenizer_file(tiny_model_folder), {"<|im_end|>"})
    assert carried == {
        "additional_special_tokens": ["<|im_end|>"],
        "extra_special_tokens": {},
        "model_max_length": 256,
        "eos_token": "<|im_end|>",
        "pad_token": "<|im_end|>",
        "clean_up_tokenization_spaces": False,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }


def test_a_config_names_its_method_and_takes_only_its_fields():
    adapter: TypeAdapter[Extend | Bpe] = TypeAdapter(TokenizerConfig)
    assert adapter.validate_python({"method": "extend", "n_new_tokens": 5}) == Extend(
        n_new_tokens=5
    )
    with pytest.raises(ValidationError, match=r"bpe\.n_new_tokens"):
        adapter.validate_python({"method": "bpe", "n_new_tokens": 5})
    with pytest.raises(ValidationError, match="greater than 256"):
        adapter.validate_python(json.loads('{"method": "bpe", "vocabulary_size": 256}'))
