"""Rows by any initialiser: on the tiny model through the flow's doors, and on a few letters."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flows.adapt import new_rows, new_tokenizer
from flows.run_config import RunConfig
from infra.artifacts import Artifact
from infra.settings import get_settings
from tasks.corpus.task import lock_corpus, sample_corpus
from tasks.model.task import import_model, lock_model
from tasks.pretraining.task import tokenize_corpus
from tasks.shared.errors import InputError
from tasks.shared.run_options import Display, RunOptions, run_options

FALLBACK = {"fallback": ["mean_of_pieces", "mean"]}
Make = Callable[..., Artifact]
Refused = Callable[[Callable[[], Artifact], type[InputError], str], None]


@dataclass(frozen=True)
class Upstream:
    """A run, and what it has before rows are made."""

    folder: Path
    run: dict[str, Any]
    artifacts: list[Artifact]
    """Source model, corpus, tokenizer, tokens."""


@pytest.fixture(scope="module")
def upstream(
    tmp_path_factory: pytest.TempPathFactory, write_run: Callable[[Path], dict[str, Any]]
) -> Upstream:
    """A store that all tests of a file share, and what is in it before rows are made."""
    folder = tmp_path_factory.mktemp("upstream")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TOKGRAFT_STORE", str(folder / "store"))
        environment.setenv("TOKGRAFT_CACHE_DIR", str(folder / "cache"))
        environment.setenv("TOKGRAFT_N_PROCESSES", "1")
        get_settings.cache_clear()
        written = write_run(folder)
        run = RunConfig.model_validate(written)
        source = import_model(run.model, lock_model(run.model))
        corpus = sample_corpus(run.corpus, lock_corpus(run.corpus))
        tokenizer = new_tokenizer(run, source, corpus)
        tokens = tokenize_corpus(run.tokens, tokenizer, corpus)
    get_settings.cache_clear()
    return Upstream(folder, written, [source, corpus, tokenizer, tokens])


@pytest.fixture
def make(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Rows by an initialiser, on the tiny model and 240 documents."""
    monkeypatch.setenv("TOKGRAFT_STORE", str(upstream.folder / "store"))
    get_settings.cache_clear()

    def rows(initialiser: dict[str, object], **changed: Any) -> Artifact:
        embedding = {**FALLBACK, "initialiser": initialiser, **changed.pop("embedding", {})}
        chosen = RunConfig.model_validate({**upstream.run, "embedding": embedding, **changed})
        return new_rows(chosen, *upstream.artifacts)

    return rows


@pytest.fixture
def refused(upstream: Upstream, make: Make) -> Refused:
    """Assert that rows are refused in one line, and that nothing of them is in the store."""
    del make  # it names the store
    store = upstream.folder / "store"

    def left() -> set[Path]:
        return {
            path
            for stage in ("embedding", "word_vectors")
            for name in ("*/current-*", "*/*/manifest.json")
            for path in store.glob(f"{stage}/{name}")
        }

    def check(rows: Callable[[], Artifact], error: type[InputError], message: str) -> None:
        before = left()
        with pytest.raises(error, match=message) as caught:
            rows()
        assert "\n" not in str(caught.value)
        assert left() == before

    return check


class _Seen(Display):
    def __init__(self) -> None:
        self.ran: list[str] = []

    def started(self, stage: str, key: str, *, cached: bool) -> None:
        if not cached:
            self.ran.append(stage)


@pytest.fixture
def ran() -> Iterator[list[str]]:
    """Stages that ran and were not cached, in order."""
    display = _Seen()
    token = run_options.set(RunOptions(display=display))
    yield display.ran
    run_options.reset(token)


@pytest.fixture(scope="module")
def lexicon_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Word vectors, a dictionary and parallel lines of a few letters."""
    from letter_methods import write_lexicon  # it takes seconds to load, and few tests need it

    folder = tmp_path_factory.mktemp("lexicon")
    write_lexicon(folder)
    return folder


@pytest.fixture
def rows_for(lexicon_folder: Path, tiny_model_folder: Path) -> Callable[..., Any]:
    """Whole rows by a method, from tokenizers and texts of a few letters."""
    from letter_methods import rows_from

    return rows_from(lexicon_folder, tiny_model_folder)
