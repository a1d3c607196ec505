"""Freeze translation probabilities of systran-align 3.5.0 (fast_align's code) as alignment.npz.

Run in an environment with systran-align==3.5.0 and numpy: python make_alignment.py WORK_FOLDER
"""

import struct
import sys
from pathlib import Path

import numpy as np
import systran_align

WORK, HERE = Path(sys.argv[1]), Path(__file__).parent
rng = np.random.default_rng(0)


def sentence_pair() -> tuple[list[int], list[int]]:
    source = rng.integers(0, 12, rng.integers(2, 8)).tolist()
    target = [x for x in source if rng.random() < 0.9] or [12]
    if rng.random() < 0.4:
        target.insert(int(rng.integers(0, len(target) + 1)), 13)
    return source, target


def probabilities(data: bytes) -> np.ndarray:
    """Rows (source, target, probability) of its table; -1 is the null word."""
    _, n_words = struct.unpack_from("<2i", data)
    at, words = 8, ["?"]
    for _ in range(n_words):
        end = data.index(b"\0", at)
        words.append(data[at:end].decode())
        at = end + 1
    at, rows = at + 4, []
    while at < len(data):
        source, n = struct.unpack_from("<2i", data, at)
        at += 8
        for _ in range(n):
            target, probability = struct.unpack_from("<if", data, at)
            at += 8
            names = words[source], words[target]
            ids = [-1 if name == "<eps>" else int(name[1:]) for name in names]
            rows.append((*ids, probability))
    return np.array(rows)


pairs = [sentence_pair() for _ in range(80)]
text = WORK / "parallel.txt"
text.write_text(
    "".join(
        " ".join(f"s{x}" for x in s) + " ||| " + " ".join(f"t{x}" for x in t) + "\n"
        for s, t in pairs
    )
)
forward = WORK / "forward.bin"
systran_align.generate_alignment_probabilities(
    str(text),
    str(forward),
    str(WORK / "backward.bin"),
    iterations=5,
    favor_diagonal=True,
    diagonal_tension=4.0,
    prob_align_null=0.08,
    beam_threshold=-1000,
)
flat = [[x for pair in pairs for x in pair[side]] for side in (0, 1)]
np.savez_compressed(
    HERE / "alignment.npz",
    source=np.array(flat[0], np.int32),
    target=np.array(flat[1], np.int32),
    source_lengths=np.array([len(s) for s, _ in pairs], np.int64),
    target_lengths=np.array([len(t) for _, t in pairs], np.int64),
    probabilities=probabilities(forward.read_bytes()),
)
