"""From what mixture of texts a tokenizer was trained, in a terminal."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tasks.shared.byte_alphabet import from_alphabet
from tasks.shared.errors import InputError
from tasks.shared.vocabulary import UnsupportedTokenizerError
from tasks.shared.vocabulary_file import TokenizerFile, read_tokenizer_file, unfold
from tasks.shared.vocabulary_reading import whole_vocabulary_of
from tasks.tokenizer.cut_words import BYTES_IN_ORDER, words_of_bytes
from tasks.tokenizer.merge_loop import Words
from tasks.tokenizer.mixture import Mixture, infer_mixture
from tasks.tokenizer.mixture_merges import Merge, training_merges
from tasks.tokenizer.pretokens import PretokenCounter

_MAX_PRETOKEN_BYTES = 256


class SampleError(InputError):
    """A sample of text is named wrongly or cannot be read."""


def infer(console: Console, tokenizer_path: Path, samples: Sequence[str], n_merges: int) -> None:
    """Print the shares of kinds of text in what a tokenizer was trained on.

    Args:
        console: where to.
        tokenizer_path: of a byte-level BPE tokenizer: a folder with ``tokenizer.json``, or that
            file.
        samples: ``name=path`` of a text file each, two at least.
        n_merges: how many of the first merges to use.

    Raises:
        TokenizerFileError: a file is absent or broken.
        UnsupportedTokenizerError: it is no byte-level BPE tokenizer.
        SampleError: a sample is named wrongly or cannot be read.
        MixtureError: there are fewer than two samples, or no merge occurs in them.
    """
    is_file = tokenizer_path.name == "tokenizer.json"
    file = read_tokenizer_file(tokenizer_path.parent if is_file else tokenizer_path)
    merges = training_merges(_listed_merges(file), n_merges)
    texts = {name: _read_text(name, path) for name, path in _named_paths(samples).items()}
    words = {name: _count_words(file, text) for name, text in texts.items()}
    mixture = infer_mixture(words, BYTES_IN_ORDER, merges, n_merges)
    sizes = {name: len(text.encode()) for name, text in texts.items()}
    console.print(_table(mixture, sizes))
    absent = f"; {mixture.n_absent:,} more occur in no sample" if mixture.n_absent else ""
    console.print(
        f"{mixture.n_steps:,} merges used{absent}. {mixture.misfit:.1%} of their frequency is at "
        "odds with these shares; more than a tenth means that a kind of text is missing or "
        "that the samples are too small for so many merges.",
        soft_wrap=True,
        highlight=False,
    )


def _listed_merges(file: TokenizerFile) -> list[Merge]:
    words = file.tokenizer.get("pre_tokenizer")
    byte_level = any(part.get("type") == "ByteLevel" for part in unfold(words))
    if file.model_type != "BPE" or not byte_level:
        kind = file.model_type if byte_level else f"{file.model_type} without byte-level words"
        raise UnsupportedTokenizerError(
            f"{file.folder} has a tokenizer of type {kind}, and the order of byte-level BPE merges "
            "is what tells the mixture; give a tokenizer of that type."
        )
    vocabulary = whole_vocabulary_of(file)
    read = [from_alphabet(text) for text in vocabulary.token_text]
    merges: list[Merge] = []
    for left, right, _ in vocabulary.merges:
        first, second = read[left], read[right]
        if first is None or second is None:
            raise UnsupportedTokenizerError(
                f"{file.folder} merges {vocabulary.token_text[left]!r} and "
                f"{vocabulary.token_text[right]!r}, of which one is not written in the byte-level "
                "alphabet; give a tokenizer whose tokens all are."
            )
        merges.append((first, second))
    return merges


def _named_paths(samples: Sequence[str]) -> dict[str, Path]:
    paths: dict[str, Path] = {}
    for sample in samples:
        name, equals, path = sample.partition("=")
        if not (name and equals and path):
            raise SampleError(
                f"--sample {sample} is not of the form name=path; write it as in de=german.txt."
            )
        if name in paths:
            raise SampleError(
                f"--sample {name} is given twice, {paths[name]} and {path}; join the files, or "
                "choose another name."
            )
        paths[name] = Path(path)
    return paths


def _read_text(name: str, path: Path) -> str:
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise SampleError(
            f"--sample {name}={path} is no UTF-8 text (byte {error.start}); convert or unpack it "
            "first."
        ) from None
    except OSError as error:
        raise SampleError(
            f"--sample {name}={path} cannot be read ({error.strerror}); name a text file."
        ) from None
    if not text.strip():
        raise SampleError(f"--sample {name}={path} holds no text; give some of that kind.")
    return text


def _count_words(file: TokenizerFile, text: str) -> Words:
    counter = PretokenCounter(
        file.tokenizer.get("normalizer"), file.tokenizer["pre_tokenizer"], _MAX_PRETOKEN_BYTES
    )
    counter.add(pa.array([text], pa.large_string()))
    return words_of_bytes(counter.result())


def _table(mixture: Mixture, sizes: dict[str, int]) -> Table:
    table = Table("category", box=None, pad_edge=False)
    table.add_column("share of bytes", justify="right")
    table.add_column("sample, MB", justify="right")
    for name, share in sorted(mixture.shares.items(), key=lambda item: -item[1]):
        table.add_row(Text(name), f"{share:.1%}", f"{sizes[name] / 1e6:,.2f}")
    return table
