"""The exact encoding's class against transformers' own on the plain form of the same tokenizer."""

import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from tasks.shared.vocabulary_file import read_tokenizer_file
from tasks.tokenizer.config import ScaffoldBpe

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]

SIZE = 16_384
LEARNT_BYTES, ENCODED_BYTES = 12_000_000, 4_000_000
DOCUMENT_CHARACTERS = 4_000
REPEATS = 7


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Real files in pieces of the length of an ordinary document."""
    found: list[str] = []
    n_bytes = 0
    for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        starts = range(0, len(text), DOCUMENT_CHARACTERS)
        found += [text[start : start + DOCUMENT_CHARACTERS] for start in starts]
        n_bytes += len(text.encode())
        if n_bytes >= LEARNT_BYTES:
            break
    return found


def best_seconds(calls: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """The least of several times each, taken in turns."""
    seconds = dict.fromkeys(calls, float("inf"))
    for _ in range(REPEATS):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    return seconds


def test_exact_ids_cost_less_than_a_tenth(
    texts: list[str],
    tmp_path: Path,
    tiny_model_folder: Path,
    train_tokenizer_in: Callable,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "m"))
    source = read_tokenizer_file(tiny_model_folder)
    loaded: dict[str, Any] = {}
    for encoding in ("plain", "exact"):
        folder = tmp_path / encoding
        folder.mkdir()
        config = ScaffoldBpe(vocabulary_size=SIZE, encoding=encoding)
        train_tokenizer_in(folder, source, config, texts)
        loaded[encoding] = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=encoding == "exact", model_max_length=10**9
        )
    batch, n_bytes = list[str](), 0
    for text in texts[:: max(1, LEARNT_BYTES // ENCODED_BYTES)]:
        batch.append(text)
        n_bytes += len(text.encode())
    ids = [i for row in loaded["plain"](batch)["input_ids"] for i in row]
    n_scaffolds = sum(i >= SIZE for i in ids)
    print(  # noqa: T201
        f"\n{n_bytes / 1e6:.1f} MB in {len(batch):,} documents, {len(ids):,} plain tokens, "
        f"{n_scaffolds / len(ids):.3%} of them scaffolds"
    )
    ratios: dict[str, float] = {}
    for kind, options in {
        "ids": {},
        "ids with offsets": {"return_offsets_mapping": True},
        "ids padded": {"padding": True},
        "ids cut to 512": {"truncation": True, "max_length": 512},
    }.items():
        seconds = best_seconds(
            {name: lambda t=one, o=options: t(batch, **o) for name, one in loaded.items()}
        )
        speeds = {name: n_bytes / 1e6 / took for name, took in seconds.items()}
        ratios[kind] = speeds["exact"] / speeds["plain"]
        print(  # noqa: T201
            f"{kind}: exact {speeds['exact']:.2f} MB/s, plain {speeds['plain']:.2f} MB/s, "
            f"ratio {ratios[kind]:.2f}"
        )
    assert n_scaffolds > 0
    assert ratios["ids"] >= 0.9
