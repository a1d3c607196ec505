"""The bytes <-> id view of a tokenizer: what two vocabularies have in common.

Read a folder with ``read_vocabulary``, compare two with ``match_ids``, spell one's tokens in the
other's pieces with ``Segmenter``.
"""

from tasks.shared.segmentation import Segmenter, UncoverableTokenError
from tasks.shared.vocabulary_codec import UnsupportedTokenizerError
from tasks.shared.vocabulary_file import TokenizerFileError
from tasks.shared.vocabulary_matching import NO_MATCH, UnknownTokenError, match_ids
from tasks.shared.vocabulary_reading import read_vocabulary
from tasks.shared.vocabulary_record import Vocabulary

__all__ = [
    "NO_MATCH",
    "Segmenter",
    "TokenizerFileError",
    "UncoverableTokenError",
    "UnknownTokenError",
    "UnsupportedTokenizerError",
    "Vocabulary",
    "match_ids",
    "read_vocabulary",
]
