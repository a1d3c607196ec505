"""Reads what initialisers need beyond old rows and the plan, each when it is asked for.

Dimensions: W = new vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from infra.artifacts import Artifact, Attempt, open_artifact

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Int64

    from tasks.embedding.config import Initialiser
    from tasks.embedding.config_base import PrefixPrior
    from tasks.embedding.constant_direction import ConstantDirection
    from tasks.embedding.head_rule import HeadPrior
    from tasks.embedding.known import Known
    from tasks.embedding.made_rows import MadeRows


@dataclass(frozen=True)
class Readers:
    """The artifacts of the stage, and readers of what is in them."""

    attempt: Attempt
    model: Path
    tokens: Artifact
    corpus: Artifact

    def make_rows(self, method: Initialiser, known: Known) -> MadeRows:
        """Make rows by the chosen initialiser, giving it what it asks for."""
        from tasks.embedding.initialisers import make_from_source

        return make_from_source(method, known)

    def prior(self, config: PrefixPrior, known: Known) -> HeadPrior:
        """Find the prior of the head rule ``prefix_prior`` from counts and hidden states."""
        from tasks.embedding.head_rule import head_prior

        counts_W = self.counts(len(known.target))
        return head_prior(config, known.plan, counts_W, self._direction(config, known))

    def counts(self, n_tokens: int) -> Int64[np.ndarray, " W"]:
        """Occurrences of each new token in the corpus."""
        import numpy as np

        from infra.parquet import read_table
        from tasks.embedding.prefix_prior import counts_by_id

        table = read_table(open_artifact(self.tokens, "counts.parquet") / "counts.parquet")
        ids, counts = (table[name].to_numpy().astype(np.int64) for name in ("id", "count"))
        return counts_by_id(ids, counts, n_tokens)

    def _direction(self, config: PrefixPrior, known: Known) -> ConstantDirection:
        import numpy as np
        import torch

        from infra.devices import torch_device
        from infra.settings import get_settings
        from tasks.embedding.constant_direction import constant_direction
        from tasks.embedding.hidden_states import read_hidden_states
        from tasks.embedding.sampling import cut_windows
        from tasks.shared.document_prefix import document_prefix_id
        from tasks.shared.model_loading import load_causal_lm, load_tokenizer

        rng = np.random.default_rng(config.seed)
        texts = self._sample_texts(config.direction_positions, rng)
        encodings = load_tokenizer(self.model).encode_batch_fast(texts, add_special_tokens=False)
        windows = cut_windows(
            [encoding.ids for encoding in encodings],
            document_prefix_id(known.source.roles),
            config.direction_window_tokens,
            config.direction_positions,
            rng,
        )
        settings = get_settings()
        if settings.n_threads:
            torch.set_num_threads(settings.n_threads)
        hidden = read_hidden_states(
            load_causal_lm(self.model, torch.float32, torch_device()),
            windows,
            lambda done, total: self.attempt.progress(
                float(done), float(total), "windows read by the source model"
            ),
        )
        return constant_direction(
            hidden.states, config.direction_ridge, config.max_direction_spread, hidden.logit_scale
        )

    def _sample_texts(self, n_tokens: int, rng: np.random.Generator) -> list[str]:
        import numpy as np

        from infra.parquet import iter_batches
        from tasks.embedding.sampling import choose_documents

        paths = sorted(open_artifact(self.corpus, "train-*.parquet").glob("train-*.parquet"))
        sizes = [batch["n_bytes"].to_numpy() for batch in iter_batches(paths, ["n_bytes"])]
        chosen = set(choose_documents(np.concatenate(sizes).astype(np.int64), n_tokens, rng))
        batches = iter_batches(paths, ["text"])
        texts = (text for batch in batches for text in batch["text"].to_pylist())
        return [text for i, text in enumerate(texts) if i in chosen]
