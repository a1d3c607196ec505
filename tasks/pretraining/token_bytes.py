"""How many bytes of the original text each token of a document stands for.

Dimensions: N = documents, T = tokens of all documents, V = vocabulary.
"""

import numpy as np
from jaxtyping import Int64, Integer


def bytes_of_tokens(
    ids_T: Integer[np.ndarray, " T"],
    starts_N1: Int64[np.ndarray, " N1"],
    n_bytes_V: Int64[np.ndarray, " V"],
    n_bytes_N: Int64[np.ndarray, " N"],
) -> Int64[np.ndarray, " T"]:
    """Share every document's bytes out among its tokens.

    A byte-level tokenizer's own lengths come out unchanged. Where a normaliser added or dropped
    bytes, the lengths are stretched so that a document's sum is its length in the corpus.

    Args:
        ids_T: tokens of all documents, end to end.
        starts_N1: where each document starts, and a last entry T.
        n_bytes_V: length of each token's bytes; 0 where it has none.
        n_bytes_N: length of each document's text.
    """
    own_T = n_bytes_V[ids_T]
    before_T1 = np.concatenate(([0], np.cumsum(own_T)))
    own_N = np.diff(before_T1[starts_N1])
    if np.array_equal(own_N, n_bytes_N):
        return own_T
    # A document of nothing but unknown tokens has no lengths to stretch: count each as one.
    length_N = np.diff(starts_N1)
    document_T = np.repeat(np.arange(len(length_N)), length_N)
    own_T = np.where(own_N[document_T] > 0, own_T, 1)
    before_T1 = np.concatenate(([0], np.cumsum(own_T)))
    total_T = np.diff(before_T1[starts_N1])[document_T]
    first_T = before_T1[starts_N1[:-1]][document_T]
    end_T = (before_T1[1:] - first_T) * n_bytes_N[document_T] // total_T
    start_T = (before_T1[:-1] - first_T) * n_bytes_N[document_T] // total_T
    return end_T - start_T
