"""What the other sizes of a vocabulary, written by the same run, are worth on held-out text."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from tasks.shared.text_tokenizer import open_tokenizer
from tasks.shared.vocabulary_file import read_tokenizer_file
from tasks.shared.vocabulary_reading import vocabulary_of
from tasks.tokenizer.checks import check_ids
from tasks.tokenizer.id_counts import count_ids
from tasks.tokenizer.trained import Trained

OTHER_SIZES_SCHEMA = pa.schema(
    [
        ("vocabulary_size", pa.int64()),
        ("n_scaffolds", pa.int64()),
        ("n_tokens", pa.int64()),
        ("bytes_per_token", pa.float64()),
        ("folder", pa.string()),
    ]
)


def other_sizes_table(
    folder: Path, other_sizes: Mapping[int, Trained], sample: Sequence[str]
) -> pa.Table:
    """Load each size as it was written and count the tokens of held-out text.

    Args:
        folder: of the tokenizer that the model gets.
        other_sizes: what was made beside it.
        sample: held-out texts.

    Returns:
        One row a size, ascending: scaffolds beside its tokens, tokens of the sample, bytes a
        token (null where there is no text), and its folder.

    Raises:
        BrokenTokenizerError: the library numbers a file's tokens otherwise than it says.
    """
    n_bytes = sum(len(text.encode()) for text in sample)
    rows = list[dict[str, int | float | str | None]]()
    for size, one in sorted(other_sizes.items()):
        place = folder / "sizes" / str(size)
        tokenizer = open_tokenizer(place)
        vocabulary = vocabulary_of(read_tokenizer_file(place))
        check_ids(tokenizer, vocabulary)
        n_tokens = int(np.sum(count_ids(tokenizer, sample, len(vocabulary))))
        rows.append(
            {
                "vocabulary_size": size,
                "n_scaffolds": len(one.scaffolds.splits) if one.scaffolds else 0,
                "n_tokens": n_tokens,
                "bytes_per_token": n_bytes / n_tokens if n_tokens else None,
                "folder": place.relative_to(folder).as_posix(),
            }
        )
    return pa.Table.from_pylist(rows, schema=OTHER_SIZES_SCHEMA)
