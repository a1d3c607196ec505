"""Rows by methods with text, words or a donor: what test_embedding_rows.py asks of the others."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from letter_methods import (
    DICTIONARY,
    METHODS,
    NETWORK,
    SHORT,
    RowsFor,
    each,
    each_case,
    each_method,
    each_model,
    make,
)
from letter_rows import WIDTH, once_each, vocabulary
from letter_texts import (
    BYTES,
    EXTENDED,
    FIRST_PIECES,
    N_NEW,
    N_OLD,
    NEW,
    OLD,
    SOURCE,
    A,
    B,
    Letters,
    old_rows,
    permuted,
    segment_all,
)

from tasks.embedding.config_learned import Hypernetwork
from tasks.embedding.config_prealign import PreAlign
from tasks.embedding.config_text import Align, TokenDistillation
from tasks.embedding.description import describe
from tasks.embedding.from_lexicon import FromLexicon, make_from_lexicon
from tasks.embedding.from_network import make_from_network
from tasks.embedding.from_text import make_from_text
from tasks.embedding.known import Known
from tasks.embedding.lexicon import Lexicon
from tasks.embedding.lineage import lineage_tables
from tasks.embedding.merge_regression import NoMergesError
from tasks.embedding.old_tokens import NoOldMergesError
from tasks.embedding.row_plan import plan_rows
from tasks.embedding.rows import SourceRows


@each_method
@each_case
def test_same_vocabulary_changes_no_bit(rows_for: RowsFor, method, head: str, model: str):
    old = old_rows(model)
    rows = rows_for(method, old, SOURCE, head)
    assert rows.input.tobytes() == old.input.tobytes()
    assert (rows.head is None) is (old.tied and head == "same")
    if rows.head is not None:
        np.testing.assert_array_equal(rows.head, old.head)
    if old.head_bias is not None:
        np.testing.assert_array_equal(rows.head_bias, old.head_bias)
    else:
        assert rows.head_bias is None


@each([method for method in METHODS if isinstance(method, FromLexicon)])
def test_where_no_token_is_new_nothing_is_read_and_nothing_trained(method, tmp_path: Path):
    known = Known(
        old_rows(), plan_rows(SOURCE, SOURCE, segment_all, {}), SOURCE, SOURCE, once_each(SOURCE)
    )
    letters = Letters(known)
    nothing_there = Lexicon(
        tmp_path, tmp_path, {}.__getitem__, letters.encode, letters.device, letters.model,
        letters.compute_dtype,
    )  # fmt: skip
    made = make_from_lexicon(method, known, nothing_there)
    assert len(made.found) == 0
    assert made.losses is None


@dataclass(frozen=True)
class OddLetters(Letters):
    """A corpus that begins with documents whose letters the new tokenizer changes."""

    n_odd: int

    def both_ids(self, max_bytes: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        yield from [(np.array([A, B]), np.array([B, A]))] * self.n_odd
        yield from super().both_ids(max_bytes, seed)


@each([Align(), TokenDistillation(**SHORT), NETWORK, TokenDistillation(start=NETWORK, **SHORT)])
@pytest.mark.parametrize("n_odd", [0, 3])
def test_documents_that_the_tokenizers_spell_differently_are_counted(method, n_odd: int):
    plan = plan_rows(SOURCE, EXTENDED, segment_all, {})
    letters = OddLetters(Known(old_rows(), plan, SOURCE, EXTENDED, once_each(EXTENDED)), n_odd)
    made_from = make_from_network if isinstance(method, Hypernetwork) else make_from_text
    assert made_from(method, letters.known, letters).measured["n_documents_passed_over"] == n_odd


@each([TokenDistillation(**SHORT), PreAlign(dictionary=DICTIONARY), NETWORK])
def test_a_source_without_merges_is_told_what_does_without(
    method, lexicon_folder: Path, tiny_model_folder: Path
):
    source = vocabulary(list(OLD))
    plan = plan_rows(source, EXTENDED, segment_all, {})
    known = Known(old_rows(), plan, source, EXTENDED, once_each(EXTENDED))
    letters = Letters(known)
    lexicon = Lexicon(
        lexicon_folder, tiny_model_folder, {}.__getitem__, letters.encode, letters.device,
        letters.model, letters.compute_dtype,
    )  # fmt: skip
    with pytest.raises(
        (NoMergesError, NoOldMergesError),
        match=r"^the source tokenizer has no merges, .*Unigram and WordPiece have none\): use "
        r"initialiser method mean_of_pieces, or .*prealign with start: mean_of_pieces\.$",
    ):
        make(method, known, lexicon, donor_tied=True)
    if not isinstance(method, Hypernetwork):
        started = method.model_copy(update={"start": "mean_of_pieces", "n_steps": 1})
        assert make(started, known, lexicon, donor_tied=True).found.all()


@each_method
@each_model
def test_permuted_vocabulary_permutes_rows(rows_for: RowsFor, method, model: str):
    old, (order, target) = old_rows(model), permuted()
    rows = rows_for(method, old, target, "untied")
    assert rows.input.tobytes() == old.input[order].tobytes()
    assert rows.head is not None
    assert rows.head.tobytes() == old.head[order].tobytes()
    if old.head_bias is not None:
        np.testing.assert_array_equal(rows.head_bias, old.head_bias[order])


@each_method
@each_case
def test_old_rows_stay_and_every_row_is_usable(rows_for: RowsFor, method, head: str, model: str):
    old = old_rows(model)
    rows = rows_for(method, old, head=head)
    assert rows.input.shape == (N_NEW, WIDTH)
    assert rows.input[:N_OLD].tobytes() == old.input.tobytes()
    # What describe checks before anything is written: no row is zero, none is not finite.
    summary = describe(rows, old, plan_rows(SOURCE, EXTENDED, segment_all, {}))
    assert (summary["n_copied"], summary["n_initialised"]) == (N_OLD, 4)
    assert summary["n_unexplained_equal_rows"] == 0
    assert summary.get("n_unexplained_equal_head_rows", 0) == 0
    assert summary["tied"] is (old.tied and head == "same")
    if rows.head is not None:
        assert rows.head.shape == rows.input.shape
        assert not np.shares_memory(rows.head, rows.input)
        if head != "prefix_prior":
            assert rows.head[:N_OLD].tobytes() == old.head.tobytes()
    assert (rows.head_bias is None) is (old.head_bias is None)
    tables = lineage_tables(rows, SOURCE, EXTENDED)
    assert [table.num_rows for table in tables] == [N_NEW] * (1 + (rows.head is not None))


@each_method
@each_model
def test_untying_alone_changes_no_row(rows_for: RowsFor, method, model: str):
    old = old_rows(model)
    same, untied = (rows_for(method, old, head=head) for head in ("same", "untied"))
    np.testing.assert_array_equal(untied.input, same.input)
    np.testing.assert_array_equal(untied.head_bias, same.head_bias)
    np.testing.assert_array_equal(untied.head, same.input if same.head is None else same.head)


@each_method
@each_model
def test_first_piece_head_by_hand(rows_for: RowsFor, method, model: str):
    old = old_rows(model)
    rows = rows_for(method, old, head="first_piece")
    assert rows.head is not None
    np.testing.assert_array_equal(rows.head[NEW], old.head[FIRST_PIECES])
    if old.head_bias is not None and rows.head_bias is not None:
        np.testing.assert_array_equal(rows.head_bias[NEW], old.head_bias[FIRST_PIECES])


@each_method
def test_the_same_choices_give_the_same_bits(rows_for: RowsFor, method):
    old = old_rows("untied_bias")
    once, again = (rows_for(method, old) for _ in range(2))
    assert once.input.tobytes() == again.input.tobytes()
    assert once.head is not None
    assert again.head is not None
    assert once.head.tobytes() == again.head.tobytes()


@each_method
def test_all_byte_tokens_have_rows_of_their_own(rows_for: RowsFor, method):
    target = vocabulary(
        [b"ab", b"cb", *BYTES[::-1], "<eos>", b"bc"],
        [(160, 159, 0), (158, 159, 1), (159, 158, 259)],
    )
    old = old_rows("tied")
    rows = rows_for(method, old, target)
    assert len({row.tobytes() for row in rows.input[2:258]}) == 256
    assert rows.input[2:258].tobytes() == old.input[256:0:-1].tobytes()


@each_method
@pytest.mark.parametrize("stored", ["float16", "bfloat16", "float32"])
def test_shared_rows_survive_the_stored_dtype(rows_for: RowsFor, method, stored: str):
    dtype = getattr(torch, stored)
    stored_VD = torch.randn(N_OLD, WIDTH, generator=torch.manual_seed(0)).to(dtype)
    input_VD = stored_VD.float().numpy()
    rows = rows_for(method, SourceRows(input_VD, input_VD, None, tied=True))
    back = torch.from_numpy(rows.input[:N_OLD]).to(dtype)
    assert torch.equal(back.view(torch.uint8), stored_VD.view(torch.uint8))


@each_method
@pytest.mark.parametrize("head", ["same", "untied", "first_piece"])
def test_old_logits_stay_up_to_new_columns(rows_for: RowsFor, method, head: str):
    old = old_rows()
    rows = rows_for(method, old, head=head)
    assert rows.head is not None
    hidden_ND = np.random.default_rng(5).normal(size=(20, WIDTH))
    np.testing.assert_array_equal(hidden_ND @ rows.head[:N_OLD].T, hidden_ND @ old.head.T)
