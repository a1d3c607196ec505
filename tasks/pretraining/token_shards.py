"""Token shards: how documents are cut, and how the shards are read back for training."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from tasks.pretraining.errors import TokensMismatchError
from tasks.pretraining.packing import Documents
from tasks.pretraining.token_bytes import bytes_of_tokens
from tasks.shared.text_tokenizer import TextTokenizer
from tasks.shared.vocabulary import Vocabulary

SCHEMA = pa.schema(
    [("doc_id", pa.string()), ("ids", pa.list_(pa.uint32())), ("n_bytes", pa.int64())]
)


def encode_documents(tokenizer: TextTokenizer, documents: pa.RecordBatch) -> pa.RecordBatch:
    """Cut documents as they stand: no special token is added, none is read out of the text.

    Args:
        tokenizer: with special tokens encoded as text.
        documents: columns doc_id, text, n_bytes.
    """
    texts: list[str] = documents.column("text").to_pylist()
    encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    lengths = np.fromiter((len(e.ids) for e in encodings), np.int32, len(encodings))
    ids = [np.asarray(e.ids, np.uint32) for e in encodings]
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    values = np.concatenate(ids) if ids else np.zeros(0, np.uint32)
    column = pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))
    return pa.record_batch(
        [documents.column("doc_id"), column, documents.column("n_bytes")], schema=SCHEMA
    )


def count_ids(shards: pa.RecordBatch, n_ids: int) -> Int64[np.ndarray, " V"]:
    """How often each id occurs."""
    ids = shards.column("ids").flatten().to_numpy(zero_copy_only=False)
    return np.bincount(ids, minlength=n_ids).astype(np.int64)


def to_documents(shards: Sequence[pa.Table], vocabulary: Vocabulary) -> Documents:
    """All documents of the shards, in order.

    Args:
        shards: columns ids, n_bytes.
        vocabulary: of the tokenizer that cut them.

    Raises:
        TokensMismatchError: there is no document, or an id that the vocabulary does not have.
    """
    table = pa.concat_tables(shards).combine_chunks()
    if not table.num_rows:
        raise TokensMismatchError("The token shards hold no document; check the corpus stage.")
    column = table.column("ids").chunk(0)
    starts = column.offsets.to_numpy(zero_copy_only=False).astype(np.int64)
    ids = column.values.to_numpy(zero_copy_only=False)[starts[0] : starts[-1]]
    starts -= starts[0]
    if len(ids) and int(ids.max()) >= len(vocabulary):
        raise TokensMismatchError(
            f"The token shards hold id {ids.max()}, but the model's tokenizer ends at "
            f"{len(vocabulary) - 1}; cut the corpus with the tokenizer of this model."
        )
    n_bytes_V = np.array([len(b) if b else 0 for b in vocabulary.token_bytes], np.int64)
    n_bytes_N = table.column("n_bytes").to_numpy().astype(np.int64)
    return Documents(ids, starts, bytes_of_tokens(ids, starts, n_bytes_V, n_bytes_N))
