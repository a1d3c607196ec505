"""SentencePiece tokenizers in a GGUF file.

Unlike byte-level ones they depend on no pre-tokenizer name, and transformers rebuilds them from
the pieces and scores, the spelling of Gemma's runs of spaces included.
"""

from tokenizers import Tokenizer
from transformers.integrations.gguf.gguf_tokenizer_mapping import (
    convert_gguf_tokenizer,
    get_gguf_tokenizer,
)

from tasks.shared.gguf_file import GgufFile


def build_sentencepiece(gguf: GgufFile) -> Tokenizer:
    """Rebuild the tokenizer; merges that the file does not list follow from its vocabulary."""
    architecture, tables, _ = get_gguf_tokenizer(str(gguf.path))
    tokenizer, _ = convert_gguf_tokenizer(architecture, tables)
    return tokenizer
