"""The merge loop: worked cases, a slow second implementation, and Hugging Face's trainer."""

import itertools
import json
import random
import re
from collections import Counter

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from tasks.shared.byte_alphabet import BYTE_CHARACTERS
from tasks.tokenizer import merge_kernels as kernels
from tasks.tokenizer.merge_loop import Learnt, Limits, Words, learn_merges

HUGS = {"hug": 10, "pug": 5, "pun": 12, "bun": 4, "hugs": 5}


def words_of(counts: dict[str, int], base: list[bytes]) -> Words:
    ids = {data: number for number, data in enumerate(base)}
    cut = [[ids[bytes([byte])] for byte in word.encode()] for word in counts]
    return Words(
        np.array([symbol for word in cut for symbol in word], np.int32),
        np.concatenate(([0], np.cumsum([len(word) for word in cut]))).astype(np.int64),
        np.array(list(counts.values()), np.int64),
    )


def letters(counts: dict[str, int]) -> list[bytes]:
    return [bytes([byte]) for byte in sorted(set("".join(counts).encode()))]


def pairs(learnt: Learnt) -> list[tuple[str, str]]:
    text = [data.decode("latin-1") for data in learnt.token_bytes]
    return [(text[left], text[right]) for left, right, _ in learnt.merges]


def visible(learnt: Learnt, n_base: int) -> list[str]:
    made = zip(learnt.token_bytes[n_base:], learnt.is_scaffold[n_base:], strict=True)
    return [data.decode() for data, gone in made if not gone]


def test_plain_merges_by_hand():
    base = letters(HUGS)
    learnt = learn_merges(words_of(HUGS, base), base, Limits(11))
    assert pairs(learnt) == [("u", "g"), ("u", "n"), ("h", "ug"), ("p", "un")]
    by_text = dict(
        zip(learnt.token_bytes, zip(learnt.counts, learnt.made, strict=True), strict=True)
    )
    assert by_text[b"ug"] == (5, 20)
    assert by_text[b"hug"] == (15, 15)
    assert by_text[b"un"] == (4, 16)


def test_scaffold_merges_by_hand_with_one_token_restored():
    base = letters(HUGS)
    learnt = learn_merges(words_of(HUGS, base), base, Limits(10), scaffold=True)
    assert visible(learnt, 7) == ["ug", "hug", "pun"]
    story = [(kind, learnt.token_bytes[token].decode()) for kind, token, _ in learnt.events]
    assert story == [
        (kernels.MADE_TOKEN, "ug"),
        (kernels.MADE_TOKEN, "un"),
        (kernels.MADE_TOKEN, "hug"),
        (kernels.BECAME_SCAFFOLD, "ug"),
        (kernels.MADE_TOKEN, "pun"),
        (kernels.BECAME_SCAFFOLD, "un"),
        (kernels.RESTORED, "ug"),
    ]


def test_scaffold_ties_go_to_the_pair_with_the_older_left_token():
    base = letters(HUGS)
    learnt = learn_merges(words_of(HUGS, base), base, Limits(11), scaffold=True)
    # (p, ug) and (hug, s) tie at 5. "pug" takes the last of "ug", which leaves again for "hugs".
    assert visible(learnt, 7) == ["hug", "pun", "pug", "hugs"]
    assert learnt.counts[learnt.token_bytes.index(b"ug")] == 0


def test_overlapping_pairs_count_replacements_and_not_neighbours():
    learnt = learn_merges(words_of({"aaaaa": 3}, [b"a"]), [b"a"], Limits(3))
    # Four neighbouring pairs, two replacements; then (aa, a) and (aa, aa) tie, and "a" is older.
    assert [data.decode() for data in learnt.token_bytes] == ["a", "aa", "aaa"]
    assert learnt.made.tolist() == [0, 6, 3]
    assert learnt.counts.tolist() == [0, 3, 3]


def test_a_token_made_in_two_ways_keeps_one_id():
    counts = {"abc": 50, "ab": 10, "xbc": 40}
    base = [b"a", b"b", b"c", b"x"]
    learnt = learn_merges(words_of(counts, base), base, Limits(100, min_frequency=1))
    assert len(set(learnt.token_bytes)) == len(learnt.token_bytes)
    # A second base token "abc" makes the product of (a, bc) an old one.
    base = [*base, b"abc"]
    again = learn_merges(words_of(counts, base), base, Limits(100, min_frequency=1))
    results = [again.token_bytes[result] for _, _, result in again.merges]
    assert b"abc" in results
    assert again.token_bytes.count(b"abc") == 1
    assert again.counts[4] == 50


def test_limits_of_length_frequency_and_content():
    base = letters(HUGS)
    words = words_of(HUGS, base)
    short = learn_merges(words, base, Limits(30, min_frequency=1, max_token_bytes=3))
    assert max(map(len, short.token_bytes)) == 3
    rare = learn_merges(words, base, Limits(30, min_frequency=12))
    assert pairs(rare) == [("u", "g"), ("u", "n"), ("h", "ug"), ("p", "un")]
    blocked = learn_merges(words, base, Limits(30, min_frequency=1, blocked=re.compile(b"ug")))
    assert not any(b"ug" in data for data in blocked.token_bytes)
    assert b"pun" in blocked.token_bytes


def test_counts_beyond_32_bits():
    counts = {"the": 3_000_000_000, "then": 2_000_000_000}
    base = letters(counts)
    learnt = learn_merges(words_of(counts, base), base, Limits(7))
    # (h, e) and (t, h) tie at five thousand million; the smaller left id, "h", goes first.
    assert pairs(learnt) == [("h", "e"), ("t", "he"), ("the", "n")]
    assert int(learnt.counts[learnt.token_bytes.index(b"the")]) == 3_000_000_000


def test_a_stopped_loop_goes_on_where_it_stopped(small_corpus_texts: list[str]):
    counts = Counter(re.findall(r" ?\w+", " ".join(small_corpus_texts)))
    base = letters(counts)
    words = words_of(counts, base)
    whole = learn_merges(words, base, Limits(150), scaffold=True)
    seen: list[int] = []
    never = re.compile(b"never")  # asks before every merge, so that the loop stops at each
    asked = learn_merges(
        words, base, Limits(150, blocked=never), scaffold=True,
        progress=lambda done, total: seen.append(done),
    )  # fmt: skip
    np.testing.assert_array_equal(asked.merges, whole.merges)
    np.testing.assert_array_equal(asked.events, whole.events)
    assert seen[-1] == 150


def slow_merges(
    counts: dict[str, int], base: list[bytes], n_tokens: int, scaffold: bool
) -> tuple[list[tuple[bytes, bytes]], set[bytes], set[bytes]]:
    """The algorithm as written, everything counted anew at every step."""
    words = [([bytes([b]) for b in word.encode()], count) for word, count in counts.items()]
    ids = {data: number for number, data in enumerate(base)}
    normal, scaffolds, merges = set(base), set[bytes](), list[tuple[bytes, bytes]]()

    def found() -> tuple[Counter[bytes], Counter[tuple[bytes, bytes]]]:
        tokens: Counter[bytes] = Counter()
        neighbours: Counter[tuple[bytes, bytes]] = Counter()
        for word, count in words:
            for token in word:
                tokens[token] += count
            for pair in itertools.pairwise(word):
                neighbours[pair] += count
        return tokens, neighbours

    def queue(skip: frozenset[bytes]) -> list[tuple[int, int, int, int, object]]:
        tokens, neighbours = found()
        entries: list[tuple[int, int, int, int, object]] = [
            (-count, 1, ids[left], ids[right], (left, right))
            for (left, right), count in neighbours.items()
            if count >= 2
        ]
        entries += [(-tokens[s], 0, ids[s], 0, s) for s in scaffolds - skip if tokens[s] > 0]
        return sorted(entries, key=lambda entry: entry[:4])

    while len(normal) < n_tokens:
        entries = queue(frozenset())
        if not entries or -entries[0][0] < 2:
            break
        head = entries[0][4]
        if isinstance(head, bytes):
            scaffolds.remove(head)
            normal.add(head)
            continue
        left, right = head  # type: ignore[misc]
        merges.append((left, right))
        product = left + right
        ids.setdefault(product, len(ids))
        scaffolds.discard(product)
        normal.add(product)
        for word, _ in words:
            at = 0
            while at < len(word) - 1:
                if word[at] == left and word[at + 1] == right:
                    word[at : at + 2] = [product]
                at += 1
        if not scaffold:
            continue
        # The loop puts both children's old entries aside while it looks at the queue's head.
        for child in dict.fromkeys((left, right)):
            if len(child) == 1 or child in scaffolds:
                continue
            waiting = queue(frozenset())
            if waiting and found()[0][child] < -waiting[0][0]:
                normal.remove(child)
                scaffolds.add(child)
    return merges, normal, scaffolds


@pytest.mark.parametrize("scaffold", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_agreement_with_counting_everything_anew(seed: int, scaffold: bool):
    draw = random.Random(seed)
    letter_count = draw.randint(2, 5)
    texts = ["".join(draw.choices("abcde"[:letter_count], k=draw.randint(1, 9))) for _ in range(40)]
    counts = {text: draw.randint(1, 30) for text in texts}
    base = letters(counts)
    learnt = learn_merges(words_of(counts, base), base, Limits(40), scaffold=scaffold)
    merges, normal, scaffolds = slow_merges(counts, base, 40, scaffold)
    found = learnt.token_bytes
    assert [(found[left], found[right]) for left, right, _ in learnt.merges] == merges
    gone = {data for data, out in zip(found, learnt.is_scaffold, strict=True) if out}
    assert gone == scaffolds
    assert set(found) - gone == normal


def test_the_same_merges_as_the_library_at_every_position(small_corpus_texts: list[str]):
    with open(json.__file__, encoding="utf-8") as code, open(re.__file__, encoding="utf-8") as more:
        texts = [*small_corpus_texts, code.read(), more.read()]
    pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library = Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizer
    library.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=1500, min_frequency=2, initial_alphabet=list(BYTE_CHARACTERS),
            show_progress=False,
        ),
    )  # fmt: skip
    expected = json.loads(library.to_str())["model"]["merges"]
    base = [bytes([BYTE_CHARACTERS.index(symbol)]) for symbol in sorted(BYTE_CHARACTERS)]
    byte_of = {symbol: byte for byte, symbol in enumerate(BYTE_CHARACTERS)}
    cut = Counter(word for text in texts for word, _ in pre_tokenizer.pre_tokenize_str(text))
    counts = {bytes(byte_of[c] for c in word).decode(): n for word, n in cut.items()}
    learnt = learn_merges(words_of(counts, base), base, Limits(1500))

    def written(token: int) -> str:
        return "".join(BYTE_CHARACTERS[byte] for byte in learnt.token_bytes[token])

    assert [[written(left), written(right)] for left, right, _ in learnt.merges] == expected
