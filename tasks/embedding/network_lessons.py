"""What a row network is taught for one pair of tokenizers, from the config to numbers."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32

from tasks.embedding.config_learned import HiddenStates, Hypernetwork, NextToken, TrainedNetwork
from tasks.embedding.frozen_body import frozen_body
from tasks.embedding.hidden_states import read_hidden_states
from tasks.embedding.known import Known
from tasks.embedding.linear_lesson import Regression, fit_linear
from tasks.embedding.network_text import TextLoss, TextTeacher
from tasks.embedding.network_training import Steps, train_on_text
from tasks.embedding.old_rows import OldRows
from tasks.embedding.old_tokens import OldTokens
from tasks.embedding.regression_share import N_BATCHES, losses_by_share
from tasks.embedding.row_network import RowNetwork
from tasks.embedding.sampled_batches import SampledBatch, Sampler
from tasks.embedding.sampled_cuts import SampledCuts
from tasks.embedding.sampling import BYTES_PER_TOKEN
from tasks.embedding.texts import Texts
from tasks.embedding.two_cuts import PairedWindow, Spelling, cut_paired_windows
from tasks.shared.document_prefix import document_prefix_id


@dataclass(frozen=True)
class Lessons:
    """Rows first, then text."""

    method: Hypernetwork
    choice: TrainedNetwork
    known: Known
    texts: Texts
    network: RowNetwork
    sources: Sequence[Float32[np.ndarray, "V D"]]
    old: OldRows = field(init=False)
    passed_over: list[int] = field(init=False, default_factory=list[int])
    """Documents that the two tokenizers spell differently, of each reading of the text."""

    def __post_init__(self) -> None:
        """Choose the old tokens that are examples."""
        known = self.known
        tokens = OldTokens.of(
            len(known.source),
            known.source_merges,
            known.plan.needed_pieces,
            np.random.default_rng([self.method.seed, 0]),
        )
        object.__setattr__(self, "old", OldRows(tokens, self.sources))

    def teach(self) -> tuple[Float32[np.ndarray, " T"], dict[str, int | float]]:
        """Train the network; losses of the steps on text, and what was measured."""
        choice, seed = self.choice, self.method.seed
        measured = dict[str, int | float]()
        regression = fit_linear(self.network, self.old, choice.ridge, seed)
        if (share := choice.linear_share) is None:
            tried = self._losses_by_share(regression)
            share = min(tried, key=tried.__getitem__)
            measured |= {f"text_loss_at_share_{one}": loss for one, loss in tried.items()}
        measured["linear_share"] = share
        regression.put_into(self.network, share)
        measured["held_out_distance_of_start"], of_means = self._held_out()
        measured["held_out_distance_of_means"] = of_means
        losses = np.zeros(0, np.float32)
        if choice.n_steps:
            losses = self._on_text()
            measured["first_loss"], measured["last_loss"] = float(losses[0]), float(losses[-1])
            measured["held_out_distance"], _ = self._held_out()
        # A longer reading has all documents of a shorter one.
        measured["n_documents_passed_over"] = max(self.passed_over, default=0)
        return losses, measured

    def _held_out(self) -> tuple[float, float]:
        return self.old.held_out_errors(self.network, self.method.seed)

    def _losses_by_share(self, regression: Regression) -> dict[float, float]:
        dtype = self.texts.compute_dtype(self.choice.compute_dtype)
        # Not by hidden states, whatever training is by: their distance prefers the mean of pieces,
        # with which the model predicts worse.
        with self._text(N_BATCHES, NextToken()) as (teacher, batches):
            return losses_by_share(
                self.network, regression, teacher, [*batches], dtype, self.method.seed
            )

    def _on_text(self) -> Float32[np.ndarray, " T"]:
        choice, kind = self.choice, self._loss_kind(self.choice.loss)
        dtype = self.texts.compute_dtype(choice.compute_dtype)

        def show(done: int, value: float) -> None:
            said = "distance of hidden states" if kind == "hidden_states" else "nats of next token"
            self.texts.progress(done, choice.n_steps, f"{said} {value:.3f}")

        with self._text(choice.n_steps, choice.loss) as (teacher, batches):
            return train_on_text(
                self.network, self.old, teacher, batches, choice.auxiliary_weight,
                Steps(choice.n_steps, choice.lr, choice.rows_per_step, dtype), self.method.seed,
                show,
            )  # fmt: skip

    @contextmanager
    def _text(
        self, n_batches: int, loss: NextToken | HiddenStates
    ) -> Generator[tuple[TextTeacher, Iterator[SampledBatch]]]:
        """Batches of text, and what they teach."""
        choice, seed, kind = self.choice, self.method.seed, self._loss_kind(loss)
        n_layers, n_negatives, scale = None, 0, 1.0
        if isinstance(loss, HiddenStates):
            n_layers = loss.n_body_layers
        else:
            n_negatives = loss.n_negatives
        windows = self._windows(n_batches)
        sampler = self._sampler(n_negatives if kind == "tokens" else 0)
        batches = sampler.batches(windows, choice.windows_per_step, n_batches, seed)
        model = self.texts.model()
        if kind != "hidden_states":
            scale = read_hidden_states(model, [windows[0].old.tolist()]).logit_scale
        rows = self.known.rows
        bias_V = np.zeros(len(rows.head), np.float32) if rows.head_bias is None else rows.head_bias
        with frozen_body(model, n_layers) as body:
            pieces = self.known.plan.pieces
            teacher = TextTeacher(
                kind, body, self.sources, rows.head, bias_V, scale, pieces, n_negatives
            )
            yield teacher, batches

    def _loss_kind(self, loss: NextToken | HiddenStates) -> TextLoss:
        """A head that takes first pieces is taught on these; any other has the network's rows."""
        if isinstance(loss, HiddenStates):
            return "hidden_states"
        return "tokens" if self.method.head in ("same", "untied") else "first_pieces"

    def _sampler(self, n_negatives: int) -> Sampler:
        known = self.known
        cuts = SampledCuts.of(
            known.target_merges,
            known.plan.match,
            Spelling.of(known.source.token_bytes).lengths,
            Spelling.of(known.target.token_bytes).lengths,
            self.choice.min_merge_share,
        )
        return Sampler(
            cuts, self.old.tokens, known.plan.match, known.plan.pieces,
            self.choice.hidden_share, n_negatives,
        )  # fmt: skip

    def _windows(self, n_batches: int) -> list[PairedWindow]:
        source, target, choice = self.known.source, self.known.target, self.choice
        n_tokens = n_batches * choice.windows_per_step * choice.window_tokens
        documents: Iterator[tuple[np.ndarray, np.ndarray]] = self.texts.both_ids(
            BYTES_PER_TOKEN * n_tokens, self.method.seed
        )
        windows, n_passed_over = cut_paired_windows(
            documents,
            Spelling.of(source.token_bytes),
            Spelling.of(target.token_bytes),
            (document_prefix_id(source.roles), document_prefix_id(target.roles)),
            choice.window_tokens,
        )
        self.passed_over.append(n_passed_over)
        return windows
