"""Translations from catalogues, lines and dictionaries, through the doors the flow calls."""

import tracemalloc
from pathlib import Path

import pytest
from lexical_files import (
    PAIRS,
    Make,
    catalogue,
    check_rows,
    parallel_files,
    wechsel_of,
)

from tasks.embedding.task import (
    OutsideFileError,
)
from tasks.embedding.word_alignment import ParallelTextError


def test_catalogues_translate_as_lines_do(make: Make, tmp_path: Path, tiny_model_folder: Path):
    lines = parallel_files(tmp_path)
    sides = [Path(lines[side]).read_text().splitlines() for side in ("source", "target")]
    for number, start in enumerate((0, 100)):
        part = slice(start, start + 100)
        # A catalogue holds a message once; the context before it is no part of the message.
        messages = {
            f"{n:03d}\x04{a}": b
            for n, (a, b) in enumerate(zip(sides[0][part], sides[1][part], strict=True))
        }
        folder = tmp_path / "locale" / str(number)
        folder.mkdir(parents=True)
        (folder / "program.mo").write_bytes(catalogue(messages))
    gettext = {"kind": "gettext", "paths": [str(tmp_path / "locale/**/*.mo")]}
    rows = make({"method": "trans_tokenizer", "parallel_texts": [gettext]})
    from_lines = make({"method": "trans_tokenizer", "parallel_texts": [lines]})
    assert rows.digest == from_lines.digest
    assert rows.summary["n_sentence_pairs"] == 200
    both = make({"method": "trans_tokenizer", "parallel_texts": [lines, gettext], "unit": "tokens"})
    assert both.summary["n_sentence_pairs"] == 400
    check_rows(both, tiny_model_folder, "trans_tokenizer")


def test_a_sentence_too_long_to_align_is_passed_over_and_counted(make: Make, tmp_path: Path):
    lines = parallel_files(tmp_path)
    plain = make({"method": "trans_tokenizer", "parallel_texts": [lines]})
    assert plain.summary["n_too_long_sentence_pairs"] == 0
    long = {side: tmp_path / f"{side}.long" for side in ("source", "target")}
    for side, path in long.items():
        first, *rest = Path(lines[side]).read_text().splitlines()
        word = first.split()[0]
        path.write_text("\n".join([" ".join([word] * 8_000), first, *rest]) + "\n")
    texts = lines | {side: str(path) for side, path in long.items()}
    method = {"method": "trans_tokenizer", "parallel_texts": [texts]}
    tracemalloc.start()
    rows = make(method)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows.summary["n_too_long_sentence_pairs"] == 1
    assert rows.summary["n_sentence_pairs"] == plain.summary["n_sentence_pairs"] == 200
    assert rows.digest == plain.digest
    assert peak < 100_000_000, "8,000 words paired with each other take 512 MB"
    for path in long.values():
        path.write_text(path.read_text().partition("\n")[0] + "\n")
    with pytest.raises(ParallelTextError, match="each of the 1 sentence pairs has more than 1000"):
        make(method)


def test_dictd_dictionary_is_locked_with_its_definitions(make: Make, tmp_path: Path):
    definitions = "".join(f"{a}\n{b}\n" for a, b in PAIRS.items())
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    at, index = 0, ""
    for a, b in PAIRS.items():
        n = len(f"{a}\n{b}\n")
        index += f"{a}\t{digits[at // 64]}{digits[at % 64]}\t{digits[n]}\n"
        at += n
    (tmp_path / "d.index").write_text(index)
    method = wechsel_of(tmp_path, dictionary={"path": str(tmp_path / "d.index")})
    with pytest.raises(OutsideFileError, match=r"d\.index has no definitions: neither"):
        make(method)
    (tmp_path / "d.dict").write_text(definitions)
    from_table = make(wechsel_of(tmp_path))
    assert make(method).digest == from_table.digest
