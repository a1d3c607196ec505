"""What a new tokenizer turned out to be, and whether it keeps its promises."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

from tasks.shared.byte_alphabet import BYTE_CHARACTERS
from tasks.shared.segmentation import Segmenter
from tasks.shared.vocabulary_codec import ByteLevel, codec_of
from tasks.shared.vocabulary_file import TokenizerFile, read_tokenizer_file, unfold
from tasks.shared.vocabulary_matching import NO_MATCH, match_ids
from tasks.shared.vocabulary_reading import vocabulary_of
from tasks.shared.vocabulary_record import Vocabulary
from tasks.tokenizer.checks import check_extension, check_ids
from tasks.tokenizer.config import Bpe, Extend
from tasks.tokenizer.reachability import find_reachable
from tasks.tokenizer.tables import merges_table, vocabulary_table


@dataclass(frozen=True)
class Description:
    """Tables for later stages and numbers for people."""

    vocabulary: pa.Table
    merges: pa.Table
    counts: dict[str, int]


def describe_tokenizer(folder: Path, source: TokenizerFile, config: Extend | Bpe) -> Description:
    """Check a new tokenizer and describe its tokens.

    Args:
        folder: where it was written.
        source: the tokenizer it was made from.
        config: how it was made.

    Raises:
        BrokenTokenizerError: it is not what its method promises.
    """
    file = read_tokenizer_file(folder)
    old, new = vocabulary_of(source), vocabulary_of(file)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    check_ids(tokenizer, new)
    if isinstance(config, Extend):
        check_extension(old, new, config.n_new_tokens)
    source_ids_W = match_ids(old, new)
    reachable_W = find_reachable(tokenizer, Segmenter(folder), new, _sees_text_as_it_is(file))
    is_new_W = source_ids_W == NO_MATCH
    return Description(
        vocabulary=vocabulary_table(new, source_ids_W, reachable_W),
        merges=merges_table(new),
        counts={
            "vocabulary_size": len(new),
            "source_vocabulary_size": len(old),
            "n_new_tokens": int(np.sum(is_new_W)),
            "n_unreachable": int(np.sum(~reachable_W)),
            "n_unreachable_new": int(np.sum(~reachable_W & is_new_W)),
            "n_missing_bytes": _count_missing_bytes(new),
        },
    )


def _sees_text_as_it_is(file: TokenizerFile) -> bool:
    adds_space = any(
        part.get("add_prefix_space") for part in unfold(file.tokenizer.get("pre_tokenizer"))
    )
    return isinstance(codec_of(file), ByteLevel) and not adds_space


def _count_missing_bytes(vocabulary: Vocabulary) -> int:
    single = {data for data in vocabulary.token_bytes if data is not None and len(data) == 1}
    return len(BYTE_CHARACTERS) - len(single)
