"""Fit the head of a whole vocabulary to text of the corpus, and say so in its origins.

Dimensions: W = new vocabulary, K = tokens whose own rows may move.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tasks.embedding.config import EmbeddingConfig
from tasks.embedding.config_head_fit import HeadFit
from tasks.embedding.head_fit import FitSettings, FittedHead, fit_head
from tasks.embedding.known import Known
from tasks.embedding.moving_head import FixedHead, Movable, centred
from tasks.embedding.rows import NewRows, Origins
from tasks.embedding.sampling import BYTES_PER_TOKEN, cut_windows
from tasks.embedding.texts import Texts
from tasks.shared.document_prefix import document_prefix_id
from tasks.shared.errors import InputError
from tasks.shared.row_origins import with_fit

_PROBE_TOKENS = 8


class HeadNotOwnError(InputError):
    """The head is to be fitted and is the input."""


def check_own_head(config: EmbeddingConfig, known: Known) -> None:
    """Refuse to fit head rows that are input rows.

    Raises:
        HeadNotOwnError: the model is tied and stays so.
    """
    if config.head_fit is not None and known.rows.tied and config.initialiser.head == "same":
        raise HeadNotOwnError(
            "head_fit moves head rows alone, and in this model they are the input rows, which "
            "initialiser.head: same leaves so; choose head: prefix_prior, first_piece or untied, "
            "or leave head_fit out."
        )


def with_fitted_head(
    rows: NewRows, config: HeadFit, known: Known, texts: Texts
) -> tuple[NewRows, FittedHead | None]:
    """Fit the head rows of tokens that are not the source's, and of those they begin with.

    Returns None beside the rows where there are no such tokens.

    Raises:
        NonlinearHeadError: the model bends its logits.
    """
    movable = _movable(rows, config, known)
    if rows.head is None or not len(movable.own):
        return rows, None
    fitted = _fit(rows, rows.head, movable, config, known, texts)
    origins = _fitted_origins(rows.head_origins or rows.input_origins, fitted)
    return replace(rows, head=fitted.rows, head_origins=origins), fitted


def _fitted_origins(origins: Origins, fitted: FittedHead) -> Origins:
    """Say of each row that moved that it did, and by how much text."""
    methods, notes = list(origins.methods), list(origins.notes)
    for token in np.flatnonzero(fitted.is_moved).tolist():
        if methods[token] != "fallback":
            methods[token] += ", fitted"
        count = fitted.counts[token]
        how = f"it comes next {count} times" if count else "by the map of all new tokens"
        notes[token] = with_fit(notes[token], how)
    return replace(origins, methods=tuple(methods), notes=tuple(notes))


def _movable(rows: NewRows, config: HeadFit, known: Known) -> Movable:
    # Tools keep their prior, which training may hold; reserved ids and those of no token stay too.
    step_W, plan = np.array(rows.steps), known.plan
    new = plan.needed
    own_K = new
    if config.first_pieces:
        pieces = np.unique(plan.pieces.first()[plan.are("new")])
        own_K = np.union1d(new, np.flatnonzero((step_W == "kept") & np.isin(plan.match, pieces)))
    return Movable(own_K, new, centred(rows.input[new]))


def _fit(
    rows: NewRows,
    head_WD: np.ndarray,
    movable: Movable,
    config: HeadFit,
    known: Known,
    texts: Texts,
) -> FittedHead:
    import torch

    from tasks.embedding.frozen_body import frozen_body
    from tasks.embedding.hidden_states import read_hidden_states
    from tasks.embedding.states_of_text import read_states

    windows = _windows(config, known, texts)
    model = texts.model()
    prefix = document_prefix_id(known.source.roles)
    probe = [prefix, *range(min(_PROBE_TOKENS, len(known.source)))]
    head = FixedHead(head_WD, rows.head_bias, read_hidden_states(model, [probe]).logit_scale)
    settings = FitSettings(
        config.n_passes, config.positions_per_step, config.n_negatives, config.lr, config.lr_map,
        config.seed,
    )  # fmt: skip

    def show(done: int, total: int, loss: float) -> None:
        texts.progress(done, total, f"head fitted to next tokens, {loss:.3f} nats")

    def show_reading(n_read: int, n_all: int) -> None:
        texts.progress(n_read, n_all, "positions of text read by the model")

    dtype = texts.compute_dtype(config.compute_dtype)
    with frozen_body(model, None) as body:
        device = body.table.weight.device
        rows_WD = torch.from_numpy(rows.input).to(device)
        with read_states(body, rows_WD, windows, dtype, show_reading) as states:
            return fit_head(head, movable, states, device, settings, show)


def _windows(config: HeadFit, known: Known, texts: Texts) -> Sequence[Sequence[int]]:
    budget_bytes = BYTES_PER_TOKEN * config.n_positions
    documents = [ids.tolist() for ids in texts.new_ids(budget_bytes, config.seed)]
    return cut_windows(
        documents,
        document_prefix_id(known.target.roles),
        config.window_tokens,
        config.n_positions,
        np.random.default_rng(config.seed),
    )
