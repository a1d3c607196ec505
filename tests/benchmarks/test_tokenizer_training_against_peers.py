"""Learning a vocabulary against stock trainers, in one run on the same real text.

The text is what Python installations hold: about 80 MB of distinct source files and documents.
Times are wall clock on all cores, counting included; each trainer gets text in the form it takes
(ours Arrow arrays, as the corpus stage leaves them; the others Python strings).
"""

import hashlib
import json
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

from infra.parallel import map_shards
from infra.settings import Settings
from tasks.shared.byte_alphabet import BYTE_CHARACTERS
from tasks.tokenizer.bpe import learn_vocabulary
from tasks.tokenizer.merge_loop import Learnt, Limits
from tasks.tokenizer.patterns import word_pattern
from tasks.tokenizer.pretoken_counts import PretokenCounts, merge_counts
from tasks.tokenizer.pretokenizer import choose_pretokenizer
from tasks.tokenizer.pretokens import PretokenCounter

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]

SIZE = 32_768
TEXT_BYTES = 80_000_000
CUSTOM = r"\p{Lu}?\p{Ll}+|\p{Lu}+| ?\p{N}+|[^\p{L}\p{N}]"
LONGEST = 1 << 20


def real_files() -> Iterator[Path]:
    places = {sysconfig.get_path(name) for name in ("stdlib", "purelib")} | {"/usr/share/doc"}
    for place in sorted(places):
        for suffix in (".py", ".txt", ".rst", ".md"):
            yield from sorted(Path(place).rglob(f"*{suffix}"))


@pytest.fixture(scope="module")
def texts() -> list[str]:
    seen: set[bytes] = set()
    found: list[str] = []
    n_bytes = 0
    for path in real_files():
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        digest = hashlib.sha256(text.encode()).digest()
        if digest not in seen:
            seen.add(digest)
            found.append(text)
            n_bytes += len(text.encode())
        if n_bytes >= TEXT_BYTES:
            break
    print(f"\n{n_bytes / 1e6:.1f} MB in {len(found):,} files")  # noqa: T201
    return found


@pytest.fixture(scope="module")
def arrays(texts: list[str]) -> list[pa.Array]:
    shards: list[list[str]] = [[] for _ in range(16)]
    sizes = [0] * 16
    for text in texts:  # of even size in bytes, as the corpus stage's are
        smallest = sizes.index(min(sizes))
        shards[smallest].append(text)
        sizes[smallest] += len(text)
    return [pa.array(shard, pa.string()) for shard in shards]


def pre_tokenizer_of(name: str) -> dict:
    if name == "custom":
        return choose_pretokenizer({}, "custom", "source", CUSTOM)
    return choose_pretokenizer({}, name, "none" if name == "gpt2" else "groups_of_3")


def count(arrays: list[pa.Array], name: str) -> PretokenCounts:
    shards = [(array, name) for array in arrays]
    return merge_counts(map_shards(count_one, shards, Settings(), in_threads=True), None)


def count_one(shard: tuple[pa.Array, str]) -> PretokenCounts:
    array, name = shard
    counter = PretokenCounter(None, pre_tokenizer_of(name), LONGEST)
    counter.add(array)
    return counter.result()


def learn(counts: PretokenCounts, size: int = SIZE, *, scaffold: bool = False) -> Learnt:
    return learn_vocabulary(counts, Limits(size), 0, scaffold=scaffold)


@pytest.fixture(scope="module")
def warm(arrays: list[pa.Array]) -> None:
    """Compile everything, or load it from the cache."""
    for name in ("gpt2", "gpt4", "llama3"):
        learn(count([arrays[0].slice(0, 20)], name), 300)


def train_library(texts: list[str], name: str) -> list[list[str]]:
    tokenizer = Tokenizer(models.BPE())
    pattern = (
        CUSTOM
        if name == "custom"
        else word_pattern(name, "none" if name == "gpt2" else "groups_of_3")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE, min_frequency=2, initial_alphabet=list(BYTE_CHARACTERS),
        show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    return json.loads(tokenizer.to_str())["model"]["merges"]


def report(what: str, seconds: dict[str, float]) -> None:
    print(f"\n{what}: " + ", ".join(f"{k} {v:.2f} s" for k, v in seconds.items()))  # noqa: T201


def test_half_the_time_of_hugging_face_with_the_same_merges(
    texts: list[str], arrays: list[pa.Array], warm: None
):
    started = time.perf_counter()
    counts = count(arrays, "gpt2")
    counted = time.perf_counter()
    plain = learn(counts)
    ours = time.perf_counter()
    scaffold = learn(counts, scaffold=True)
    scaffolded = time.perf_counter()
    second = learn(counts, SIZE // 2)
    again = time.perf_counter()
    expected = train_library(texts, "gpt2")
    library = time.perf_counter() - again
    seconds = {
        "count": counted - started, "plain": ours - counted, "scaffold": scaffolded - ours,
        "a second size": again - scaffolded, "Hugging Face": library,
    }  # fmt: skip
    report(f"{len(counts.counts):,} words", seconds)
    written = ["".join(BYTE_CHARACTERS[b] for b in data) for data in plain.token_bytes]
    assert [[written[left], written[right]] for left, right, _ in plain.merges] == expected
    assert len(second.merges) == SIZE // 2 - 256
    assert scaffold.n_visible() == SIZE
    assert (ours - started) / library < 0.5
    assert (counted - started + scaffolded - ours) / library < 0.5
    assert (scaffolded - ours) / (ours - counted) < 1.2


@pytest.mark.parametrize(
    ("name", "most"), [("gpt2", 0.8), ("gpt4", 0.8), ("llama3", 0.8), ("custom", 1.0)]
)
def test_less_time_than_rustbpe(
    name: str, most: float, texts: list[str], arrays: list[pa.Array], warm: None
):
    rustbpe = pytest.importorskip("rustbpe")
    pattern = (
        CUSTOM
        if name == "custom"
        else word_pattern(name, "none" if name == "gpt2" else "groups_of_3")
    )
    started = time.perf_counter()
    learn(count(arrays, name))
    ours = time.perf_counter() - started
    started = time.perf_counter()
    rustbpe.Tokenizer().train_from_iterator(iter(texts), SIZE, pattern=pattern)
    peer = time.perf_counter() - started
    report(name, {"ours": ours, "rustbpe": peer, "ratio": ours / peer})
    assert ours / peer < most


MEMORY = """
import pathlib, sys
import pyarrow.parquet as pq
sys.path.insert(0, {tests!r})
import test_tokenizer_training_against_peers as t
table = pq.ParquetFile({path!r})
if {ours}:
    counter = t.PretokenCounter(None, t.pre_tokenizer_of("gpt2"), t.LONGEST)
    for _ in range({times}):
        for batch in table.iter_batches(256):
            counter.add(batch["text"])
    t.learn(counter.result())
else:
    t.train_library((x for b in table.iter_batches(256) for x in b["text"].to_pylist()), "gpt2")
# The peak of this program alone: getrusage counts what it was forked from.
status = pathlib.Path("/proc/self/status").read_text()
print(status.split("VmHWM:")[1].split()[0])
"""


def peak_mb(path: Path, *, ours: bool, times: int = 1) -> float:
    code = MEMORY.format(tests=str(Path(__file__).parent), path=str(path), ours=ours, times=times)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1]) / 1000


def test_no_more_memory_than_hugging_face(texts: list[str], warm: None, tmp_path: Path):
    import pyarrow.parquet as pq

    path = tmp_path / "texts.parquet"
    pq.write_table(pa.table({"text": texts}), path, row_group_size=512)
    ours, library = peak_mb(path, ours=True), peak_mb(path, ours=False)
    print(f"\npeak memory: ours {ours:.0f} MB, Hugging Face {library:.0f} MB")  # noqa: T201
    assert ours <= library


def test_a_gigabyte_of_text_needs_two_of_memory(tmp_path: Path, warm: None):
    """As much different text as the machine has, read again until it is a gigabyte."""
    import pyarrow.parquet as pq

    path, n_bytes = tmp_path / "texts.parquet", 0
    with pq.ParquetWriter(path, pa.schema([("text", pa.string())])) as writer:
        for file in real_files():
            try:
                text = file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                continue
            n_bytes += len(text.encode())
            writer.write_table(pa.table({"text": [text]}))
            if n_bytes >= 1_000_000_000:
                break
    times = -(-1_000_000_000 // n_bytes)
    peak = peak_mb(path, ours=True, times=times)
    print(f"\n{n_bytes * times / 1e9:.2f} GB, {times} x {n_bytes / 1e6:.0f} MB: {peak:.0f} MB")  # noqa: T201
    assert peak < 2000
