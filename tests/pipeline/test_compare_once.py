"""A grid of tokenizers and initialisers asks once for what its cells share."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from embedding_inputs import extended
from small_models import small_model

from flows.compare import compare
from flows.compare_config import CompareConfig
from infra.artifacts import open_artifact
from tasks.shared.run_options import Display, RunOptions, run_options

pytestmark = pytest.mark.slow

SHARED = ("model", "corpus")
EVALUATION = {
    "document_bytes": 128, "suite_bytes": 500, "n_resamples": 100, "generation": {"n_prompts": 0},
}  # fmt: skip
FALLBACK = ["mean_of_pieces", "mean"]
N_CELLS = 6
"""Two tokenizers, three initialisers."""


class Counted(Display):
    def __init__(self) -> None:
        self.asked, self.ran = Counter[str](), Counter[str]()

    def started(self, stage: str, key: str, *, cached: bool) -> None:
        self.asked[stage] += 1
        self.ran[stage] += not cached


@pytest.fixture
def counted() -> Iterator[Callable[..., Counted]]:
    """Compare with some options; says how often each stage was asked for, and how often it ran."""

    def run(grid: CompareConfig, **options: Any) -> Counted:
        display = Counted()
        run_options.set(RunOptions(display=display, **options))
        page = open_artifact(compare.fn(grid)) / "leaderboard.html"
        assert f"the best of {N_CELLS} is" in page.read_text(encoding="utf-8")
        return display

    token = run_options.set(RunOptions())
    yield run
    run_options.reset(token)


@pytest.fixture
def grid(
    tiny_run: dict[str, Any], tiny_model_folder: Path, small_corpus_texts: list[str], tmp_path: Path
) -> CompareConfig:
    """A donor in a folder and parallel text in files: what is looked at again in every run."""
    files = tmp_path / "tokenizer"
    files.mkdir()
    extended(tiny_model_folder, small_corpus_texts, 80).save(str(files / "tokenizer.json"))
    shutil.copy(tiny_model_folder / "tokenizer_config.json", files)
    donor = small_model(tmp_path / "donor", files, "tied")
    sides = {side: str(tmp_path / f"{side}.txt") for side in ("source", "target")}
    for path in sides.values():
        Path(path).write_text("\n".join(small_corpus_texts[:40]).replace("\n\n", "\n"))
    initialisers = {
        "omp": {"method": "omp", "k": 4},
        "interpolation": {"method": "interpolation", "k": 4},
        "words": {
            "method": "trans_tokenizer",
            "parallel_texts": [{"kind": "lines", **sides}],
            "min_count": 1,
        },
    }
    return CompareConfig.model_validate(
        {name: tiny_run[name] for name in SHARED}
        | {
            "tokenizers": {
                name: {"tokenizer": {"method": "extend", "n_new_tokens": n}}
                for name, n in (("small", 32), ("large", 64))
            },
            "initialisers": {
                name: {"initialiser": method, "fallback": FALLBACK}
                for name, method in initialisers.items()
            },
            "donor": {"source": {"kind": "directory", "path": str(donor)}},
            "pretraining": None,
            "evaluation": EVALUATION,
        }
    )


def test_what_cells_share_is_asked_for_and_made_once(
    grid: CompareConfig, counted: Callable[..., Counted]
):
    first = counted(grid)
    shared = {
        "model_lock": 2, "model": 2, "corpus_lock": 1, "corpus": 1, "embedding_lock": 1,
        "pretokens": 1,
    }  # fmt: skip
    of_tokenizers = {"tokenizer": 2, "tokens": 2}
    of_cells = {"embedding": N_CELLS, "assembled": N_CELLS, "measured": 1 + N_CELLS}
    expected = Counter(shared | of_tokenizers | of_cells | {"leaderboard": 1})
    assert first.asked == first.ran == expected

    again = counted(grid)
    looks = Counter({"model_lock": 2, "corpus_lock": 1, "embedding_lock": 1})
    assert (again.asked, +again.ran) == (expected, looks)

    forced = counted(grid, force=frozenset({"model", "pretokens"}))
    assert +forced.ran == looks + Counter({"model": 2, "pretokens": 1})
