"""Initialisers that read text of the corpus, cut by the old and by the new tokenizer.

Dimensions: W = new vocabulary, K = tokens that need rows.
"""

from dataclasses import replace

import numpy as np

from tasks.embedding.align import align_weights
from tasks.embedding.config_learned import Hypernetwork
from tasks.embedding.config_source import Composed, MeanOfPieces
from tasks.embedding.config_text import Align, Focus, TokAlign, TokenDistillation
from tasks.embedding.focus import focus_weights
from tasks.embedding.from_network import make_from_network
from tasks.embedding.initialisers import make_from_source
from tasks.embedding.known import Known
from tasks.embedding.made_rows import MadeRows
from tasks.embedding.sampling import BYTES_PER_TOKEN
from tasks.embedding.texts import Outside
from tasks.embedding.tokalign import tokalign_weights
from tasks.embedding.token_vectors import train_token_vectors
from tasks.embedding.two_cuts import Spelling, cut_paired_windows
from tasks.shared.document_prefix import document_prefix_id

FromText = Focus | Align | TokAlign | TokenDistillation


def make_from_text(method: FromText, known: Known, texts: Outside) -> MadeRows:
    """Make rows for every token that needs them.

    Raises:
        InputError: the text is too small, or not the same under both tokenizers.
    """
    plan, source, target = known.plan, known.source, known.target
    tokens_K = plan.needed.astype(np.int64)
    if not len(tokens_K):
        return MadeRows.nothing(known.rows)
    match method:
        case Focus():
            documents = texts.new_ids(method.max_bytes, method.seed)
            choices = method.vectors.model_dump()
            vectors_WA = train_token_vectors(documents, target.token_bytes, **choices)
            return MadeRows.from_weights(
                known.rows, focus_weights(vectors_WA, plan.match, tokens_K)
            )
        case Align():
            weights, n_passed_over = align_weights(
                texts.both_ids(method.max_bytes, method.seed),
                Spelling.of(source.token_bytes),
                Spelling.of(target.token_bytes),
                tokens_K,
                plan.needed_pieces if method.add_pieces else None,
            )
            counted = {"n_documents_passed_over": n_passed_over}
            return MadeRows.from_weights(known.rows, weights, measured=counted)
        case TokAlign():
            choices = method.vectors.model_dump()
            new_WA = train_token_vectors(
                texts.new_ids(method.max_bytes, method.seed), target.token_bytes, **choices
            )
            old_ids = (old for old, _ in texts.both_ids(method.max_bytes, method.seed))
            old_VA = train_token_vectors(old_ids, source.token_bytes, **choices)
            weights = tokalign_weights(
                new_WA, old_VA, plan.match, tokens_K,
                n_pivots=method.n_pivots, assignment=method.assignment, seed=method.seed,
            )  # fmt: skip
            return MadeRows.from_weights(known.rows, weights)
        case TokenDistillation():
            return _distilled(method, known, texts)


def _start(method: TokenDistillation, known: Known, outside: Outside) -> MadeRows:
    """Rows that distillation starts from."""
    match method.start:
        case "mean_of_pieces":
            return make_from_source(MeanOfPieces(), known)
        case "composed":
            return make_from_source(Composed(head=method.head), known)
        case Hypernetwork():
            network = method.start.model_copy(update={"head": method.head})
            made = make_from_network(network, known, outside)
            of_start = {f"start_{name}": value for name, value in made.measured.items()}
            return replace(made, measured=of_start)


def _distilled(method: TokenDistillation, known: Known, outside: Outside) -> MadeRows:
    """Input rows trained on hidden states; what the text never has keeps its first row."""
    from tasks.embedding.token_distillation import DistillationSettings, distil_rows

    plan, source, target = known.plan, known.source, known.target
    start = _start(method, known, outside)
    n_tokens = method.n_steps * method.windows_per_step * method.window_tokens
    windows, n_passed_over = cut_paired_windows(
        outside.both_ids(BYTES_PER_TOKEN * max(n_tokens, 1), method.seed),
        Spelling.of(source.token_bytes),
        Spelling.of(target.token_bytes),
        (document_prefix_id(source.roles), document_prefix_id(target.roles)),
        method.window_tokens,
    )
    settings = DistillationSettings(
        method.n_steps, method.windows_per_step, method.lr, method.n_layers,
        outside.compute_dtype(method.compute_dtype), method.seed,
    )  # fmt: skip

    def show(done: int, loss: float) -> None:
        outside.progress(done, method.n_steps, f"distance of hidden states {loss:.3f}")

    tokens_K = plan.needed.astype(np.int64)
    made = distil_rows(outside.model(), windows, start.input, tokens_K, plan.match, settings, show)
    first = method.start if isinstance(method.start, str) else method.start.method
    note = f"trained to read as its pieces do, from {first}"
    measured = {**start.measured, "n_documents_passed_over": n_passed_over}
    return start.with_trained(made.input, made.seen, note, made.loss, measured)
