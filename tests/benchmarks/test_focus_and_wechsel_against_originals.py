"""FOCUS and WECHSEL against their authors' code, on the same vectors, in processor seconds.

One thread each, from vectors of tokens to rows of a model; fastText and tokenizers are left out.
The originals run in an environment of their own, named by ``TOKGRAFT_PEERS_PYTHON``:
pip install torch==2.13.0 transformers==5.23.0 numba regex fasttext-wheel datasets nltk gensim
scikit-learn fastdist entmax print-on-steroids && pip install --no-deps wechsel==0.0.4
deepfocus==1.0.1
Vectors lie in clusters and have a common direction, a falling spectrum and differing lengths. They
are float32 for both, though WECHSEL's own are float64, which take it longer.

Dimensions: V = old vocabulary, W = new vocabulary, K = tokens that need rows, D = model width,
S = width of the vectors, N = tokens of both vocabularies.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PEER = os.environ.get("TOKGRAFT_PEERS_PYTHON", "")

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not PEER, reason="TOKGRAFT_PEERS_PYTHON names no environment"),
]

WIDTH, VECTOR_WIDTH = 576, 300
N_OLD, N_NEW = 50_000, 16_000
N_NEEDED, N_SHARED = 12_000, 20_000

# ru_maxrss starts at what the parent process had; the kernel's own mark of this process does not.
TIMED = """
import re, time, numpy as np, torch
from pathlib import Path
torch.set_num_threads(1)
def memory(mark):
    status = Path("/proc/self/status").read_text()
    return int(re.search(mark + r":\\s+(\\d+) kB", status)[1]) / 1000
{code}
given = dict(np.load({given!r}))
work(prepare(**{{name: values[:400] for name, values in given.items()}}))  # compiles and warms up
prepared = prepare(**given)
Path("/proc/self/clear_refs").write_text("5")  # the highest mark falls to what is in use
before, started = memory("VmRSS"), time.process_time()
rows = work(prepared)
seconds = time.process_time() - started
np.savez({out!r}, rows=rows, seconds=seconds, megabytes=memory("VmHWM") - before)
"""

OUR_WECHSEL = """
from tasks.embedding.wechsel import wechsel
def prepare(**given):
    return given
def work(given):
    weights = wechsel(given["new_WS"], given["old_VS"], None, 10, 0.1)
    return weights.rows(given["rows_VD"])
"""
THEIR_WECHSEL = """
from wechsel import create_target_embeddings
class Tokenizer:
    special_tokens_map = {}
    def __init__(self, n_tokens):
        self.tokens = [f"token{i}" for i in range(n_tokens)]
        self.vocab = {token: i for i, token in enumerate(self.tokens)}
    def __len__(self):
        return len(self.tokens)
    def convert_ids_to_tokens(self, ids):
        return self.tokens[ids] if isinstance(ids, int) else [self.tokens[i] for i in ids]
def prepare(old_VS, new_WS, rows_VD):
    return old_VS, new_WS, Tokenizer(len(old_VS)), Tokenizer(len(new_WS)), rows_VD
def work(prepared):
    return create_target_embeddings(*prepared, neighbors=10, temperature=0.1, verbose=False)[0]
"""
OUR_FOCUS = """
from tasks.embedding.focus import focus_weights
def prepare(shared_NS, needed_KS, rows_ND):
    n_shared, n_needed = len(shared_NS), len(needed_KS)
    match_W = np.append(np.arange(n_shared), np.full(n_needed, -1)).astype(np.int32)
    vectors_WS = np.concatenate([shared_NS, needed_KS])
    return vectors_WS, match_W, np.arange(n_shared, n_shared + n_needed), rows_ND
def work(prepared):
    vectors_WS, match_W, tokens_K, rows_ND = prepared
    return focus_weights(vectors_WS, match_W, tokens_K).rows(rows_ND)
"""
THEIR_FOCUS = """
from deepfocus.focus import focus_additional_token_initialization
from deepfocus.vocab_helper import NewToken, OverlappingToken, TokenClass
def token(i):
    return TokenClass(f"t{i}", i, f"t{i}", f"t{i}", f"t{i}", f"t{i}", False)
def prepare(shared_NS, needed_KS, rows_ND):
    rows = torch.from_numpy(rows_ND)
    shared = {
        f"t{i}": OverlappingToken([token(i)], token(i), rows[i], shared_NS[i])
        for i in range(len(shared_NS))
    }
    needed = {f"n{i}": NewToken(token(i), needed_KS[i]) for i in range(len(needed_KS))}
    return shared, needed, torch.zeros(len(needed_KS), rows_ND.shape[1])
def work(prepared):
    with torch.no_grad():
        return focus_additional_token_initialization(*prepared, device="cpu").numpy()
"""


def compare(name: str, code: tuple[str, str], given: dict[str, np.ndarray], folder: Path) -> None:
    """Run both on the same arrays, print what they took and assert what holds for both methods."""
    np.savez(folder / "given.npz", **given)
    single = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "NUMBA")}
    environment = os.environ | single | {"TQDM_DISABLE": "1"}
    made: list[dict[str, np.ndarray]] = []
    for python, body in zip((sys.executable, PEER), code, strict=True):
        out = folder / f"{len(made)}.npz"
        timed = TIMED.format(code=body, given=str(folder / "given.npz"), out=str(out))
        subprocess.run([python, "-c", timed], check=True, env=environment)
        made.append(dict(np.load(out)))
    ours, theirs = made
    ratio = float(theirs["seconds"] / ours["seconds"])
    differ = np.abs(ours["rows"] - theirs["rows"]).max()
    print(  # noqa: T201
        f"\n{name}: ours {float(ours['seconds']):.2f} s, {float(ours['megabytes']):.0f} MB more; "
        f"original {float(theirs['seconds']):.2f} s, {float(theirs['megabytes']):.0f} MB more; "
        f"ratio {ratio:.1f}; rows differ by {differ:.1e} at most"
    )
    assert differ < 1e-4
    assert ratio >= 1.0
    assert ours["megabytes"] < 1000


def vectors(draw: np.random.Generator, *sizes: int) -> list[np.ndarray]:
    """Draw several arrays of token vectors that lie in one space."""
    spectrum_S = np.arange(1, VECTOR_WIDTH + 1) ** -0.3
    centres_CS = draw.standard_normal((4000, VECTOR_WIDTH))
    parts: list[np.ndarray] = []
    for size in sizes:
        made = centres_CS[draw.integers(len(centres_CS), size=size)]
        made = made + 0.8 * draw.standard_normal((size, VECTOR_WIDTH)) + 0.5
        lengths = draw.lognormal(0, 0.25, (size, 1))
        parts.append((made * spectrum_S * lengths).astype(np.float32))
    return parts


def old_rows(draw: np.random.Generator, size: int) -> np.ndarray:
    spectrum_D = np.arange(1, WIDTH + 1) ** -0.3
    return ((draw.standard_normal((size, WIDTH)) + 0.3) * spectrum_D).astype(np.float32)


def test_wechsel_is_no_slower_than_the_original_and_makes_the_same_rows(tmp_path: Path):
    draw = np.random.default_rng(0)
    old_VS, new_WS = vectors(draw, N_OLD, N_NEW)
    given = {"old_VS": old_VS, "new_WS": new_WS, "rows_VD": old_rows(draw, N_OLD)}
    compare("wechsel", (OUR_WECHSEL, THEIR_WECHSEL), given, tmp_path)


def test_focus_is_no_slower_than_the_original_and_makes_the_same_rows(tmp_path: Path):
    draw = np.random.default_rng(0)
    shared_NS, needed_KS = vectors(draw, N_SHARED, N_NEEDED)
    rows_ND = old_rows(draw, N_SHARED)
    given = {"shared_NS": shared_NS, "needed_KS": needed_KS, "rows_ND": rows_ND}
    compare("focus", (OUR_FOCUS, THEIR_FOCUS), given, tmp_path)
