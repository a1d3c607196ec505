"""A tokenizer in the forms that servers without Hugging Face tokenizers load."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tasks.shared.vocabulary_file import Json, TokenizerFile
from tasks.tokenizer.sentencepiece_export import export_sentencepiece
from tasks.tokenizer.tiktoken_export import to_tiktoken
from tasks.tokenizer.tiktoken_format import write_tiktoken

Form = Literal["tiktoken", "sentencepiece"]


def write_exports(
    folder: Path, tokenizer: Json, source: TokenizerFile, forms: Sequence[Form]
) -> None:
    """Write ``tokenizer.tiktoken`` with its record, and ``tokenizer.model``, as asked.

    Args:
        folder: where to.
        tokenizer: ``tokenizer.json``.
        source: names the tokens that begin, end and pad a text.
        forms: which ones.

    Raises:
        NotExpressibleError: a form cannot say what the tokenizer does; it tells why.
    """
    if "tiktoken" in forms:
        write_tiktoken(folder / "tokenizer.tiktoken", to_tiktoken(tokenizer))
    if "sentencepiece" in forms:
        roles = {role: text for role, text in source.named.items() if role in ("bos", "eos", "pad")}
        export_sentencepiece(folder / "tokenizer.model", tokenizer, roles)
