"""Reads what initialisers need beyond old rows and the plan, each when it is asked for.

Dimensions: W = new vocabulary.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from infra.artifacts import Artifact, open_artifact

if TYPE_CHECKING:
    import numpy as np
    import torch
    from jaxtyping import Int64
    from transformers import PreTrainedModel

    from tasks.embedding.config import Initialiser
    from tasks.embedding.config_base import PrefixPrior
    from tasks.embedding.config_vectors import Side
    from tasks.embedding.constant_direction import ConstantDirection
    from tasks.embedding.fasttext_model import FastTextModel
    from tasks.embedding.from_donor import Donor
    from tasks.embedding.from_lexicon import FromLexicon
    from tasks.embedding.head_rule import HeadPrior
    from tasks.embedding.known import Known
    from tasks.embedding.made_rows import MadeRows
    from tasks.embedding.rows import SourceRows
    from tasks.embedding.words_of_tokens import Encode
    from tasks.shared.model_rows import RowNames

LOCK_STAGE, VECTORS_STAGE = "embedding_lock", "word_vectors"
Progress = Callable[[int | float, int | float, str], None]


@dataclass(frozen=True)
class Readers:
    """The artifacts of the stage, and readers of what is in them."""

    say: Progress
    """Hears how far the work is: done, of how much, in words."""
    model_folder: Path
    tokenizer_folder: Path
    tokens: Artifact
    corpus: Artifact
    others: tuple[Artifact, ...] = ()
    """Those that some initialisers read, told apart by their stages: a donor (``model``), files
    from outside (``embedding_lock``), trained vectors (``word_vectors``)."""

    def make_rows(self, method: Initialiser, known: Known) -> MadeRows:
        """Make rows by the chosen initialiser, giving it what it asks for."""
        from tasks.embedding.config_learned import Hypernetwork
        from tasks.embedding.from_donor import FromDonor, make_from_donor
        from tasks.embedding.from_lexicon import FromLexicon
        from tasks.embedding.from_text import FromText, make_from_text
        from tasks.embedding.initialisers import make_from_source

        if isinstance(method, Hypernetwork):
            from tasks.embedding.from_network import make_from_network

            return make_from_network(method, known, self)
        if isinstance(method, FromText):
            return make_from_text(method, known, self)
        if isinstance(method, FromDonor):

            def show(done: int, total: int) -> None:
                self.progress(done, total, "tokens written in the donor's rows")

            return make_from_donor(method, known, self.read_donor(known), show)
        if isinstance(method, FromLexicon):
            return self._make_from_lexicon(method, known)
        return make_from_source(method, known)

    def read_donor(self, known: Known) -> Donor:
        """The donor's rows, its tokens matched by bytes to those of the new tokenizer."""
        from tasks.embedding.from_donor import Donor
        from tasks.shared.model_rows import find_row_names
        from tasks.shared.vocabulary import match_ids, read_vocabulary

        donor = self._other("model")
        folder = open_artifact(donor)
        theirs = read_vocabulary(folder)
        rows = read_rows(folder, find_row_names(folder), len(theirs))
        match_W = match_ids(theirs, known.target)
        return Donor(str(donor.summary.get("origin")), rows, match_W)

    def _other(self, stage: str, **summary: str) -> Artifact:
        for artifact in self.others:
            if artifact.stage == stage and summary.items() <= artifact.summary.items():
                return artifact
        raise ValueError(f"the flow passes an artifact of {stage} wherever one is needed")

    def _make_from_lexicon(self, method: FromLexicon, known: Known) -> MadeRows:
        """Lay out what lies outside; errors name it by where it lies."""
        from infra.located_files import lay_out
        from tasks.embedding.from_lexicon import make_from_lexicon
        from tasks.embedding.lexicon import Lexicon
        from tasks.shared.errors import named_as

        with tempfile.TemporaryDirectory(prefix="tokgraft-embedding-") as scratch:
            staged, places = Path(scratch), dict[str, str]()
            if method.outside_files is not None:
                rows = lay_out(open_artifact(self._other(LOCK_STAGE)), staged)
                places = {str(staged / row["source"]): row["uri"] for row in rows}
                if method.outside_files.encoder is not None:
                    places[str(staged)] = rows[0]["uri"].removesuffix(f"/{rows[0]['source']}")
            lexicon = Lexicon(
                staged, self.model_folder, self._trained, self._encode, self.device,
                self.model, self.compute_dtype, self.progress,
            )  # fmt: skip
            with named_as(places):
                return make_from_lexicon(method, known, lexicon)

    def _encode(self, side: Side) -> Encode:
        from tasks.shared.model_loading import load_tokenizer

        folder = self.model_folder if side == "source" else self.tokenizer_folder
        tokenizer = load_tokenizer(folder)

        def encode(texts: Sequence[str]) -> list[list[int]]:
            encodings = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
            return [encoding.ids for encoding in encodings]

        return encode

    def _trained(self, role: str) -> FastTextModel:
        """Vectors of words that were trained for a role."""
        from tasks.embedding.vectors_worker import read_vectors

        return read_vectors(self._other(VECTORS_STAGE, role=role))

    def new_ids(self, max_bytes: int, seed: int) -> Iterator[np.ndarray]:
        """Documents under the new tokenizer, up to a budget."""
        return (new for new, _ in self._documents(max_bytes, seed))

    def both_ids(self, max_bytes: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The same documents under the old and under the new tokenizer."""
        import numpy as np

        from tasks.shared.model_loading import load_tokenizer

        tokenizer = load_tokenizer(self.model_folder)
        for new, text in self._documents(max_bytes, seed):
            [old] = tokenizer.encode_batch_fast([text], add_special_tokens=False)
            yield np.array(old.ids, np.int64), new

    def model(self) -> PreTrainedModel:
        """The source model in float32."""
        import torch

        from tasks.shared.determinism import compute_deterministically
        from tasks.shared.model_loading import load_causal_lm

        device = self.device()
        compute_deterministically(device)
        return load_causal_lm(self.model_folder, torch.float32, device)

    def device(self) -> str:
        """Where models and networks run, with as many threads as the settings say."""
        import torch

        from infra.devices import torch_device
        from infra.settings import get_settings

        if n_threads := get_settings().n_threads:
            torch.set_num_threads(n_threads)
        return torch_device()

    def outside_file(self, role: str) -> Path:
        """The locked file that is this to the initialiser."""
        from infra.fetching import fetch
        from infra.located_files import locked_rows

        rows = locked_rows(open_artifact(self._other(LOCK_STAGE)))
        row = next(row for row in rows if Path(row["source"]).stem == role)
        return fetch(row["uri"], row["sha256"])

    def compute_dtype(self, asked: str) -> torch.dtype:
        """Dtype of matrix products on this machine."""
        import torch

        from infra.devices import multiplies, torch_device

        is_bfloat16 = asked == "bfloat16" or (
            asked == "auto" and multiplies(torch.bfloat16, torch_device())
        )
        return torch.bfloat16 if is_bfloat16 else torch.float32

    def progress(self, done: int, total: int, text: str) -> None:
        """Say how far the work is."""
        self.say(done, total, text)

    def prior(self, config: PrefixPrior, known: Known) -> HeadPrior:
        """Find the prior of the head rule ``prefix_prior`` from counts and hidden states."""
        from tasks.embedding.head_rule import head_prior

        # A bias takes the prior as it is: the model, which may be no causal one, need not run.
        has_bias = known.rows.head_bias is not None
        direction = None if has_bias else self._direction(config, known)
        return head_prior(config, known.plan, known.counts, direction)

    def _direction(self, config: PrefixPrior, known: Known) -> ConstantDirection:
        import numpy as np

        from tasks.embedding.constant_direction import constant_direction
        from tasks.embedding.hidden_states import read_hidden_states
        from tasks.embedding.sampling import cut_windows
        from tasks.shared.document_prefix import document_prefix_id
        from tasks.shared.model_loading import load_tokenizer

        rng = np.random.default_rng(config.seed)
        texts = self._sample_texts(config.direction_positions, rng)
        encodings = load_tokenizer(self.model_folder).encode_batch_fast(
            texts, add_special_tokens=False
        )
        windows = cut_windows(
            [encoding.ids for encoding in encodings],
            document_prefix_id(known.source.roles),
            config.direction_window_tokens,
            config.direction_positions,
            rng,
        )
        hidden = read_hidden_states(
            self.model(),
            windows,
            lambda done, total: self.progress(done, total, "windows read by the source model"),
        )
        return constant_direction(
            hidden.states, config.direction_ridge, config.max_direction_spread, hidden.logit_scale
        )

    def _sample_texts(self, n_tokens: int, rng: np.random.Generator) -> list[str]:
        from tasks.embedding.sampling import choose_documents

        paths = _files(self.corpus, "train-*")
        return list(_chosen_texts(paths, choose_documents(_sizes(paths), n_tokens, rng)))

    def _documents(self, max_bytes: int, seed: int) -> Iterator[tuple[np.ndarray, str]]:
        """New ids and text of documents drawn up to a budget, in the corpus's order."""
        import numpy as np

        from infra.parquet import iter_batches
        from tasks.embedding.sampling import choose_by_bytes

        texts, tokens = _files(self.corpus, "train-*"), _files(self.tokens, "tokens-*")
        chosen = choose_by_bytes(_sizes(texts), max_bytes, np.random.default_rng(seed))
        is_chosen = set(chosen)
        rows = zip(
            (row for batch in iter_batches(texts, ["text"]) for row in batch["text"]),
            (row for batch in iter_batches(tokens, ["ids"]) for row in batch["ids"]),
            strict=True,
        )
        for number, (text, ids) in enumerate(rows):
            if number in is_chosen:
                yield ids.values.to_numpy().astype(np.int64), text.as_py()


def documents_of(corpus: Artifact, max_bytes: int, seed: int) -> Iterator[str]:
    """Training documents of a corpus, drawn up to a budget."""
    import numpy as np

    from tasks.embedding.sampling import choose_by_bytes

    paths = _files(corpus, "train-*")
    chosen = choose_by_bytes(_sizes(paths), max_bytes, np.random.default_rng(seed))
    return _chosen_texts(paths, chosen)


def read_rows(folder: Path, names: RowNames, n_tokens: int) -> SourceRows:
    """Read a model's token rows in float32, without those behind them that no token has."""
    from infra.weights import TensorFolder
    from tasks.embedding.rows import SourceRows

    tensors = TensorFolder(folder)

    def read(name: str) -> np.ndarray:
        return tensors.get(name)[:n_tokens].float().numpy()

    input_VD = read(names.input)
    return SourceRows(
        input_VD,
        input_VD if names.tied else read(names.head),
        None if names.head_bias is None else read(names.head_bias),
        names.tied,
    )


def read_counts(tokens: Artifact, n_tokens: int) -> Int64[np.ndarray, " W"]:
    """Occurrences of each new token in the corpus."""
    import numpy as np

    from infra.parquet import read_table
    from tasks.embedding.prefix_prior import counts_by_id

    table = read_table(open_artifact(tokens, "counts.parquet") / "counts.parquet")
    ids, counts = (table[name].to_numpy().astype(np.int64) for name in ("id", "count"))
    return counts_by_id(ids, counts, n_tokens)


def term_types(tokenizer_folder: Path) -> dict[int, str]:
    """Semantic type of each required term that has one, by id."""
    from infra.parquet import read_table

    table = read_table(tokenizer_folder / "vocabulary.parquet", ["id", "term_type"])
    named = zip(table["id"].to_pylist(), table["term_type"].to_pylist(), strict=True)
    return {token: name for token, name in named if name}


def _files(artifact: Artifact, pattern: str) -> list[Path]:
    return sorted(open_artifact(artifact, f"{pattern}.parquet").glob(f"{pattern}.parquet"))


def _chosen_texts(paths: list[Path], chosen: Sequence[int]) -> Iterator[str]:
    from infra.parquet import iter_batches

    is_chosen = set(chosen)
    batches = iter_batches(paths, ["text"])
    texts = (text for batch in batches for text in batch["text"].to_pylist())
    return (text for i, text in enumerate(texts) if i in is_chosen)


def _sizes(paths: list[Path]) -> Int64[np.ndarray, " N"]:
    import numpy as np

    from infra.parquet import iter_batches

    sizes = [batch["n_bytes"].to_numpy() for batch in iter_batches(paths, ["n_bytes"])]
    return np.concatenate(sizes).astype(np.int64)
