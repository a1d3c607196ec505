"""Head rows fitted to the states that stand before next tokens."""

import resource
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from embedding_inputs import COMPOSED, MEAN, Inputs, extended, rows_of
from tokenizers import AddedToken
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from infra.artifacts import open_artifact
from infra.parquet import read_table
from tasks.embedding.config_head_fit import HeadFit
from tasks.embedding.fitted_head import HeadNotOwnError
from tasks.embedding.frozen_body import FrozenBody, frozen_body
from tasks.embedding.head_fit import FitSettings, HeadFitDivergedError, fit_head
from tasks.embedding.moving_head import FixedHead, Movable, centred
from tasks.embedding.states_of_text import NoRoomForStatesError, States, read_states
from tasks.shared.extra_tokens import ExtraTokens, ToolToken
from tasks.shared.row_origins import is_fitted
from tasks.shared.run_options import RunOptions, run_options

LEFT, RIGHT = 3, 4
SETTINGS = FitSettings(
    n_passes=40, positions_per_step=8, n_negatives=64, lr=0.1, lr_map=None, seed=0
)


def single(*tokens: int) -> Movable:
    """Each moves by itself alone."""
    nothing = np.empty(0, np.int64)
    return Movable(np.array(tokens), nothing, np.empty((0, 1), np.float32))


def two_contexts() -> States:
    """Token 3 comes behind one state, token 4 behind another, and old token 0 behind both."""
    states = torch.eye(4)[[0, 1, 0, 1] * 4]
    return States(states, np.array([LEFT, RIGHT, LEFT, 0] * 4))


def test_tokens_of_one_first_piece_are_told_apart_by_what_stands_before_them():
    head = FixedHead(np.zeros((6, 4), np.float32), None, 1.0)
    head.rows[[LEFT, RIGHT, 5], 0] = 1.0
    fitted = fit_head(head, single(LEFT, RIGHT, 5), two_contexts(), "cpu", SETTINGS)
    logits = fitted.rows[[LEFT, RIGHT]] @ np.eye(4, dtype=np.float32)[:2].T
    assert logits[0, 0] > logits[1, 0]
    assert logits[1, 1] > logits[0, 1]
    assert fitted.loss[-1] < fitted.loss[0]
    assert fitted.counts.tolist() == [0, 0, 0, 8, 4, 0]
    assert np.flatnonzero(fitted.is_moved).tolist() == [LEFT, RIGHT]
    # Old tokens, and a new one that the text never has, are as they were.
    np.testing.assert_array_equal(fitted.rows[[0, 1, 2, 5]], head.rows[[0, 1, 2, 5]])


def test_the_rows_that_come_out_have_the_loss_that_was_reached():
    head = FixedHead(np.zeros((6, 4), np.float32), None, 1.0)
    head.rows[[LEFT, RIGHT, 5], 0] = 1.0
    all_at_once = replace(SETTINGS, positions_per_step=16, n_negatives=5000)
    fitted = fit_head(head, single(LEFT, RIGHT, 5), two_contexts(), "cpu", all_at_once)
    again = fit_head(
        replace(head, rows=fitted.rows), single(LEFT), two_contexts(), "cpu",
        replace(all_at_once, n_passes=1),
    )  # fmt: skip
    # Token 5 is drawn in every step and never comes next: had it moved, it would be missed now.
    assert again.loss[0] == pytest.approx(fitted.loss[-1], rel=1e-3)


def test_a_token_without_text_goes_with_those_of_its_kind():
    head = FixedHead(np.zeros((6, 4), np.float32), None, 1.0)
    features = np.array([[1, 0], [0, 1], [1, 0]], np.float32)
    movable = Movable(np.empty(0, np.int64), np.array([LEFT, RIGHT, 5]), features)
    fitted = fit_head(head, movable, two_contexts(), "cpu", replace(SETTINGS, lr_map=0.1))
    assert fitted.loss[-1] < fitted.loss[0]
    assert np.flatnonzero(fitted.is_moved).tolist() == [LEFT, RIGHT, 5]
    assert fitted.rows[LEFT, 0] > 0.5 > 0 > fitted.rows[LEFT, 1]
    np.testing.assert_array_equal(fitted.rows[5], fitted.rows[LEFT])
    np.testing.assert_array_equal(fitted.rows[:3], head.rows[:3])
    # What a token has beyond its kind is its own: the one without text gets none of it.
    both = replace(movable, own=np.array([LEFT, RIGHT, 5]))
    again = fit_head(head, both, two_contexts(), "cpu", replace(SETTINGS, lr_map=0.1))
    assert again.loss[-1] < fitted.loss[-1]
    assert not np.array_equal(again.rows[5], again.rows[LEFT])


def test_features_have_no_mean_and_norm_one():
    rows = np.random.default_rng(0).normal(3.0, size=(50, 8)).astype(np.float32)
    features = centred(rows)
    np.testing.assert_allclose(features.mean(axis=0), 0.0, atol=1e-6)
    assert np.linalg.norm(features, axis=1).mean() == pytest.approx(1.0)
    assert not centred(rows[:1]).any()
    assert centred(rows[:0]).shape == (0, 8)


def test_with_all_tokens_as_negatives_the_loss_is_that_of_the_whole_head():
    rng = np.random.default_rng(0)
    rows, bias = rng.normal(size=(50, 8)).astype(np.float32), rng.normal(size=50)
    states, targets = torch.from_numpy(rng.normal(size=(16, 8))).float(), rng.integers(50, size=16)
    settings = replace(SETTINGS, n_passes=1, positions_per_step=16, n_negatives=5000)
    head = FixedHead(rows, bias.astype(np.float32), 0.5)
    fitted = fit_head(head, single(*range(20)), States(states, targets), "cpu", settings)
    logits = 0.5 * (states @ torch.from_numpy(rows).T + torch.from_numpy(bias).float())
    whole = torch.nn.functional.cross_entropy(logits, torch.from_numpy(targets))
    assert fitted.loss[0] == pytest.approx(whole.item(), rel=1e-5)


def test_a_rate_too_high_is_said():
    settings = replace(SETTINGS, lr=1e38)
    with pytest.raises(HeadFitDivergedError, match=r"lr=1e\+38 and lr_map=None; lower them"):
        fit_head(
            FixedHead(np.zeros((6, 4), np.float32), None, 1.0),
            single(LEFT), two_contexts(), "cpu", settings,
        )  # fmt: skip


@pytest.fixture
def tiny_body() -> Iterator[FrozenBody]:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=30, hidden_size=8, intermediate_size=8, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2,
    )  # fmt: skip
    with frozen_body(LlamaForCausalLM(config).eval(), None) as body:
        yield body


def test_states_are_those_of_each_window_read_alone(tiny_body: FrozenBody):
    rows = torch.randn(40, 8)
    rng = np.random.default_rng(0)
    windows = [rng.integers(40, size=n).tolist() for n in (5, 9, 2, 7, 3, 8, 6, 4, 9, 5)]
    told = list[tuple[int, int]]()
    with read_states(
        tiny_body, rows, windows, torch.float32, lambda *counts: told.append(counts)
    ) as read:
        alone = [tiny_body.states(rows[torch.tensor([window])])[0, :-1] for window in windows]
        torch.testing.assert_close(read.states, torch.cat(alone).detach())
    assert read.targets.tolist() == [token for window in windows for token in window[1:]]
    assert told == [(36, 48), (48, 48)]


def test_states_for_which_the_disk_has_no_room_are_said(
    tiny_body: FrozenBody, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # A limit on the size of files fails as a full disk does, and can be set without one.
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with (
            pytest.raises(NoRoomForStatesError, match=r"99 states of 8 values need 3,168 bytes"),
            read_states(tiny_body, torch.randn(40, 8), [[1] * 100], torch.float32),
        ):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


FIT = HeadFit(
    n_positions=3000, window_tokens=32, positions_per_step=64, n_negatives=3000, n_passes=3,
    lr=0.02, compute_dtype="float32",
)  # fmt: skip


@pytest.fixture
def inputs(tiny_model_folder: Path, small_corpus_texts: list[str]) -> Inputs:
    tokenizer = extended(tiny_model_folder, small_corpus_texts)
    return Inputs(tiny_model_folder, tokenizer, small_corpus_texts)


@pytest.mark.parametrize("first_pieces", [True, False])
def test_the_stage_moves_head_rows_of_new_tokens_and_their_first_pieces(
    inputs: Inputs, first_pieces: bool
):
    fit = FIT.model_copy(update={"first_pieces": first_pieces})
    plain = inputs.initialise(COMPOSED)
    artifact = inputs.initialise(COMPOSED.model_copy(update={"head_fit": fit}))
    n_old = AutoModelForCausalLM.from_pretrained(inputs.folder).config.vocab_size
    before, after = rows_of(plain)[0], rows_of(artifact)[0]
    assert torch.equal(after["input_rows"], before["input_rows"])
    moved = set((after["head_rows"] != before["head_rows"]).any(dim=1).nonzero().flatten().tolist())
    lineage = read_table(open_artifact(artifact) / "lineage.parquet").to_pylist()
    of_head = [row for row in lineage if row["part"] == "head"]
    pieces = {row["source_ids"][0] for row in of_head if row["id"] >= n_old and row["source_ids"]}
    new = set(range(n_old, len(after["head_rows"])))
    assert new <= moved <= new | pieces
    assert bool(moved & pieces) == first_pieces

    fitted = [row for row in of_head if row["method"] == "prefix_prior, fitted"]
    assert {row["id"] for row in fitted} == moved
    alone = [
        row
        for row in fitted
        if row["note"].endswith("; fitted to text: by the map of all new tokens")
    ]
    assert len(alone) == artifact.summary["n_head_moved_by_map_alone"] > 0
    assert all(is_fitted(row["note"]) == (row["id"] in moved) for row in of_head)
    assert len(fitted) - len(alone) == artifact.summary["n_head_fitted"]
    losses = read_table(open_artifact(artifact) / "head_losses.parquet")["loss"].to_numpy()
    assert losses[-5:].mean() < losses[:5].mean()


def test_the_same_fit_gives_the_same_bits(inputs: Inputs):
    config = COMPOSED.model_copy(update={"head_fit": FIT})
    artifact = inputs.initialise(config)
    token = run_options.set(RunOptions(force=frozenset({"embedding"})))
    again = inputs.initialise(config)
    run_options.reset(token)
    assert again.uri != artifact.uri
    assert again.digest == artifact.digest


def test_what_no_text_teaches_is_not_fitted(tiny_model_folder: Path, small_corpus_texts: list[str]):
    tokenizer = extended(tiny_model_folder, small_corpus_texts)
    start = tokenizer.get_vocab_size()
    names = ["<|search|>", "<|free|>", "<|open|>"]
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in names])
    extra = ExtraTokens({start: ToolToken("<|search|>", "reads the file")}, (start + 1, start + 2))
    inputs = Inputs(tiny_model_folder, tokenizer, small_corpus_texts, extra)
    plain = rows_of(inputs.initialise(COMPOSED))[0]["head_rows"]
    fitted = rows_of(inputs.initialise(COMPOSED.model_copy(update={"head_fit": FIT})))[0]
    head = fitted["head_rows"]
    assert not torch.equal(head[:start], plain[:start])
    assert torch.equal(head[start], plain[start])
    mean = torch.cat((head[: start + 1], head[start + 3 :])).double().mean(dim=0)
    torch.testing.assert_close(head[start + 1].double(), mean, rtol=1e-4, atol=1e-6)
    assert torch.equal(head[start + 1], head[start + 2])


def test_a_head_that_is_the_input_is_not_fitted(inputs: Inputs):
    with pytest.raises(HeadNotOwnError, match="choose head: prefix_prior, first_piece or untied"):
        inputs.initialise(MEAN.model_copy(update={"head_fit": FIT}))
