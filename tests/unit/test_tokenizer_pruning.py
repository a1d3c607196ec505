"""Leaf-based pruning: the order by hand, and what must not change in the tokenizers library."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tokenizers import Tokenizer

from tasks.shared.vocabulary_file import Json, read_tokenizer_file
from tasks.tokenizer.config import SourceWords
from tasks.tokenizer.extend import Extended, extend_tokenizer
from tasks.tokenizer.merge_loop import Limits
from tasks.tokenizer.pretokens import PretokenCounter
from tasks.tokenizer.pruning import Pruned, TooFewLeavesError, prune_to_source_size
from tasks.tokenizer.word_rule import word_rule


def by_hand(*, n_new: int, as_text: bool = False) -> Json:
    """The old tokens are a b c ab abc bc <end>, the new ones of cb and cbc."""
    texts = ["a", "b", "c", "ab", "abc", "bc", "<end>", "cb", "cbc"][: 7 + n_new]
    merges = [["a", "b"], ["ab", "c"], ["b", "c"], ["c", "b"], ["cb", "c"]][: 3 + n_new]
    return {
        "version": "1.0",
        "added_tokens": [{"id": 6, "content": "<end>", "special": True}],
        "model": {
            "type": "BPE",
            "vocab": {text: number for number, text in enumerate(texts)},
            "merges": [" ".join(merge) if as_text else merge for merge in merges],
        },
    }


def test_a_dropped_leaf_makes_its_part_a_leaf_by_hand():
    # Leaves are abc (3 times) and bc (5 times). With abc gone ab is one, 4 times, and goes next.
    counts = np.array([9, 9, 9, 4, 3, 5, 0, 7, 7])
    pruned = prune_to_source_size(by_hand(n_new=2), counts, 7)
    assert pruned.dropped == [3, 4]
    assert pruned.tokenizer["model"]["vocab"] == {
        **{"a": 0, "b": 1, "c": 2, "cb": 3, "cbc": 4, "bc": 5, "<end>": 6}
    }
    assert pruned.tokenizer["model"]["merges"] == [["b", "c"], ["c", "b"], ["cb", "c"]]


def test_of_equal_counts_the_higher_id_goes():
    counts = np.array([9, 9, 9, 0, 3, 3, 0, 7])
    pruned = prune_to_source_size(by_hand(n_new=1, as_text=True), counts, 7)
    assert pruned.dropped == [5]
    assert pruned.tokenizer["model"]["vocab"]["cb"] == 5
    assert pruned.tokenizer["model"]["merges"] == ["a b", "ab c", "c b"]


def test_a_tokenizer_without_new_tokens_stays_as_it_is():
    assert prune_to_source_size(by_hand(n_new=0), np.zeros(7, np.int64), 7) == Pruned(
        by_hand(n_new=0), []
    )


def test_added_tokens_stay_though_a_merge_makes_them():
    tokenizer = by_hand(n_new=1)
    tokenizer["added_tokens"].append({"id": 4, "content": "abc", "special": False})
    pruned = prune_to_source_size(tokenizer, np.zeros(8, np.int64), 7)
    assert pruned.dropped == [5]


def test_a_required_token_stays_though_it_is_used_least_by_hand():
    counts = np.array([9, 9, 9, 4, 3, 5, 0, 7])
    # abc is used least; bc is the only other leaf.
    assert prune_to_source_size(by_hand(n_new=1), counts, 7, {4}).dropped == [5]


def test_too_few_leaves_name_both_numbers():
    tokenizer = by_hand(n_new=2)
    tokenizer["model"]["merges"].append(["abc", "bc"])
    tokenizer["model"]["vocab"]["abcbc"] = 9
    with pytest.raises(
        TooFewLeavesError, match="3 tokens were added, but only 0 of the source's 7"
    ):
        prune_to_source_size(tokenizer, np.zeros(10, np.int64), 7)


@pytest.fixture(scope="module")
def extended(tiny_model_folder: Path, small_corpus_texts: list[str]) -> Extended:
    file = read_tokenizer_file(tiny_model_folder)
    rule = word_rule(file, SourceWords())
    counter = PretokenCounter(rule.normalizer, rule.pre_tokenizer, 256)
    counter.add(pa.array(small_corpus_texts, pa.string()))
    return extend_tokenizer(file, counter.result(), 80, Limits(0), add_missing_bytes=False)


@pytest.fixture(scope="module")
def old(tiny_model_folder: Path) -> Json:
    return json.loads((tiny_model_folder / "tokenizer.json").read_text())


def own_cut(tokenizer: Json) -> dict[str, list[str]]:
    """Every token of the model as the library's model alone cuts its spelling."""
    bare = {"version": "1.0", "added_tokens": [], "model": tokenizer["model"]}
    library = Tokenizer.from_str(json.dumps(bare))
    return {text: library.encode(text).tokens for text in tokenizer["model"]["vocab"]}


def test_ids_that_stay_are_those_of_the_source(extended: Extended, old: Json):
    n_old = len(old["model"]["vocab"])
    pruned = prune_to_source_size(extended.tokenizer, extended.learnt.counts, n_old)
    new, before = pruned.tokenizer["model"]["vocab"], old["model"]["vocab"]
    assert sorted(new.values()) == list(range(n_old))
    assert len(pruned.dropped) == 80
    kept = {text: i for text, i in before.items() if i not in pruned.dropped}
    assert new.items() >= kept.items()
    added = [text for text in extended.tokenizer["model"]["vocab"] if text not in before]
    assert [new[text] for text in added] == pruned.dropped
    assert {k: v for k, v in pruned.tokenizer.items() if k != "model"} == {
        k: v for k, v in old.items() if k != "model"
    }


def test_every_token_that_was_reached_still_is(extended: Extended, old: Json):
    n_old = len(old["model"]["vocab"])
    pruned = prune_to_source_size(extended.tokenizer, extended.learnt.counts, n_old).tokenizer
    before, after = own_cut(extended.tokenizer), own_cut(pruned)
    whole = [text for text in after if before[text] == [text]]
    assert len(whole) == n_old - 3  # all but the special tokens
    assert all(after[text] == [text] for text in whole)


def test_text_survives_and_costs_little_more(
    extended: Extended, old: Json, small_corpus_texts: list[str]
):
    n_old = len(old["model"]["vocab"])
    pruned = prune_to_source_size(extended.tokenizer, extended.learnt.counts, n_old).tokenizer
    library, whole, source = (
        Tokenizer.from_str(json.dumps(t)) for t in (pruned, extended.tokenizer, old)
    )
    for text in [*small_corpus_texts[:40], "über naïve 中文 \x00\r\n\t😀 <x>"]:
        ids = library.encode(text, add_special_tokens=False).ids
        assert library.decode(ids, skip_special_tokens=False) == text
    n_pruned, n_whole, n_source = (
        sum(len(t.encode(text).ids) for text in small_corpus_texts)
        for t in (library, whole, source)
    )
    assert n_whole <= n_pruned < 0.9 * n_source
