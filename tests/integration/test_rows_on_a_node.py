"""Rows that are trained on a Ray cluster: the same as those that are trained here."""

from pathlib import Path

import numpy as np
import pytest
from embedding_inputs import Inputs, extended

from infra.settings import get_settings
from tasks.embedding.config import EmbeddingConfig
from tasks.embedding.config_head_fit import HeadFit
from tasks.embedding.config_learned import HiddenStates, Hypernetwork, TrainedNetwork
from tasks.embedding.config_source import Composed
from tasks.embedding.config_text import TokenDistillation
from tasks.embedding.rows_worker import RowsJob, compute_on_node, compute_rows, is_trained
from tasks.shared.errors import InputError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture
def inputs(tiny_model_folder: Path, small_corpus_texts: list[str]) -> Inputs:
    tokenizer = extended(tiny_model_folder, small_corpus_texts)
    return Inputs(tiny_model_folder, tokenizer, small_corpus_texts)


def job_of(inputs: Inputs, method) -> RowsJob:
    fit = HeadFit(n_positions=500, n_negatives=50, compute_dtype="float32")
    config = EmbeddingConfig(initialiser=method, head_fit=fit)
    return RowsJob(
        config=config, model=inputs.model, tokenizer=inputs.tokenizer, tokens=inputs.tokens,
        corpus=inputs.corpus, others=(),
    )  # fmt: skip


def test_a_network_trained_on_a_node_makes_the_rows_of_one_trained_here(inputs: Inputs):
    network = TrainedNetwork(
        hidden=16, n_steps=3, windows_per_step=2, window_tokens=32, compute_dtype="float32",
        loss=HiddenStates(n_body_layers=1),
    )  # fmt: skip
    method = Hypernetwork(head="first_piece", network=network)
    job = job_of(inputs, method)
    heard = list[str]()
    there = compute_on_node(job, lambda done, total, text: heard.append(text))
    here = compute_rows(job, job.known(), lambda *_: None)
    np.testing.assert_array_equal(there.rows.input, here.rows.input)
    np.testing.assert_array_equal(there.rows.head, here.rows.head)
    np.testing.assert_array_equal(there.made.losses, here.made.losses)
    np.testing.assert_array_equal(there.head_losses, here.head_losses)
    assert heard


def test_an_error_on_a_node_is_the_one_of_here(inputs: Inputs):
    method = TokenDistillation(n_steps=1, n_layers=99)
    with pytest.raises(InputError, match="99"):
        compute_on_node(job_of(inputs, method), lambda *_: None)


def test_what_is_trained_goes_to_a_cluster_and_nothing_else():
    assert is_trained(EmbeddingConfig(initialiser=TokenDistillation()))
    assert is_trained(EmbeddingConfig(initialiser=Composed(), head_fit=HeadFit()))
    assert not is_trained(EmbeddingConfig(initialiser=Composed()))
    assert get_settings().ray_address is None
