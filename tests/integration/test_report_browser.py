"""The report in a real browser: it draws, complains about nothing, and loads nothing."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tasks.embedding.row_map import map_table
from tasks.embedding.row_norms import norms_table
from tasks.evaluation.compare import Arm, compare
from tasks.evaluation.config import ReportConfig
from tasks.evaluation.intervals import Resampling
from tasks.evaluation.measure import documents_table, metrics_table
from tasks.evaluation.page import render
from tasks.evaluation.pieces import Document, choose_pieces
from tasks.evaluation.provenance import Made
from tasks.evaluation.report import Story, make_page
from tasks.evaluation.tokenizer_section import SizesShown
from tasks.shared.model_loading import load_tokenizer
from tasks.shared.vocabulary import read_vocabulary
from tasks.tokenizer.intrinsic import count_tokens_of, intrinsic_metrics

BROWSER = next(
    (p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None
)
NASTY = "<script>document.title='taken'</script><img src=http://example.invalid/x.png>"
DRAWS = Resampling(n_resamples=100, confidence=0.95, seed=0)


def _arm(name: str, texts: list[str], bits: float) -> Arm:
    documents = [Document(f"d{i}", NASTY, "heldout", text) for i, text in enumerate(texts)]
    pieces = choose_pieces(documents, 128, 10**6)
    nats = np.array([piece.n_bytes * bits * 0.69 for piece in pieces])
    table = documents_table(pieces, nats, [40] * len(pieces), np.ones(len(pieces), bool))
    return Arm(
        name,
        metrics_table(table, DRAWS),
        table,
        pa.table({"prompt": ["Der"], "continuation": [f"Text {NASTY}"], "n_tokens": [9]}),
        pa.table({"metric": ["generation_speed"], "value": [81.5], "unit": ["characters/s"]}),
    )


@pytest.fixture(scope="module")
def page_text(tiny_model_folder: Path, small_corpus_texts: list[str]) -> str:
    """A page about the tiny model; every text that it takes from others is hostile."""
    vocabulary, tokenizer = read_vocabulary(tiny_model_folder), load_tokenizer(tiny_model_folder)
    texts = [NASTY * 4, *small_corpus_texts[:20]]
    arms = [_arm(n, texts, b) for n, b in (("source", 1.8), ("initial", 2.1), ("adapted", 1.7))]
    n_tokens = len(vocabulary)
    steps = np.arange(1, 60)
    rows = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    story = Story(
        origin={"origin": NASTY, "licence": None, "dequantised": True, "quantisation": "Q4_1"},
        heldout=[Document("d", "s", "heldout", NASTY * 8)],
        corpus=pa.table({"source": [NASTY], "rule": ["read"], "n_documents": [3], "n_bytes": [9]}),
        source=(vocabulary, tokenizer),
        target=(vocabulary, tokenizer),
        tokens=pa.table(
            {
                "id": range(n_tokens),
                "is_new": [i > 300 for i in range(n_tokens)],
                "formation": ["merge"] * n_tokens,
                "reachable": [i % 7 > 0 for i in range(n_tokens)],
                "count": range(n_tokens),
                "made": range(n_tokens),
                "final_ratio": [i / n_tokens for i in range(n_tokens)],
            }
        ),
        tokenizer_metrics=intrinsic_metrics(
            NASTY,
            texts,
            {name: count_tokens_of(tokenizer, vocabulary, texts) for name in ("source", "new")},
        ),
        source_counts=pa.table({"id": range(n_tokens), "count": range(n_tokens)}),
        sizes=SizesShown(
            pa.table(
                {
                    "vocabulary_size": [300, 400],
                    "n_tokens": [90, 70],
                    "flops_per_byte": [2.0, 1.5],
                    "memory_bytes": [10.0, 11.0],
                }
            ),
            400,
            NASTY,
        ),
        counts=pa.table({"id": range(n_tokens), "count": range(n_tokens)}),
        lineage=pa.table(
            {
                "id": [n_tokens - 1],
                "part": ["input"],
                "method": ["mean_of_pieces"],
                "source_ids": [[5, 6]],
                "weights": [[0.5, 0.5]],
                "note": [NASTY],
            }
        ),
        norms=norms_table({("input", False): rows, ("input", True): rows[:9] * 2}),
        neighbours=pa.table(
            {"id": [9], "token": [NASTY], "neighbours": [[NASTY] * 5], "cosines": [[0.5] * 5]}
        ),
        map=map_table(rows, rows[:9] + 1),
        training={
            "adapted": pa.table({"bytes": steps * 1000, "bits_per_byte": 2 - steps / 100}),
        },
        arms=arms,
        metrics=compare(arms, DRAWS),
        made=[
            Made("model", "ab" * 32, "file:///store/x", ("source",), {"config": {"a": NASTY}}),
            Made("tokens", "cd" * 32, f"file:///store/{NASTY}", ("adapted",), None),
        ],
    )
    return render(make_page(ReportConfig(), story))


def test_other_peoples_text_stays_text(page_text: str):
    assert "<script" not in page_text
    assert "<img" not in page_text
    assert "&lt;script&gt;" in page_text
    assert "Q4_1 weights" in page_text


def test_the_page_refers_to_nothing_outside(page_text: str):
    tags = " ".join(re.findall(r"<[^>]*>", page_text))  # other people's text is escaped: no tag
    for address in re.findall(r"""(?:\bsrc|href|url)\s*[=(]\s*["']?([^"')\s>]+)""", tags):
        assert address.startswith(("#", "data:")), address


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [1280, 400])
def test_a_browser_draws_it_without_complaint(page_text: str, tmp_path: Path, width: int):
    # The browser tells what it sees through the page's title, set by a script of ours.
    probe = (
        "<script>addEventListener('load', () => { document.title = JSON.stringify({"
        "plots: [...document.querySelectorAll('svg')].map(s => s.getBoundingClientRect().width),"
        "overflow: document.documentElement.scrollWidth - innerWidth,"
        "loaded: performance.getEntriesByType('resource').length }) })</script>"
    )
    allowed = page_text.replace(
        "default-src 'none';", "default-src 'none'; script-src 'unsafe-inline';"
    )
    page = tmp_path / "report.html"
    page.write_text(allowed.replace("</head>", f"{probe}</head>"), encoding="utf-8")
    done = subprocess.run(
        [
            str(BROWSER),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--window-size={width},900",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=900,
        check=True,
    )
    assert "CONSOLE" not in done.stderr
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title is not None
    seen = json.loads(title[1])
    assert len(seen["plots"]) == 8
    assert min(seen["plots"]) > 300
    assert seen["overflow"] <= 0
    assert seen["loaded"] == 0
