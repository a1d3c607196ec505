"""An existing tokenizer from any file that holds one."""

from collections.abc import Mapping
from pathlib import Path

from tasks.shared.vocabulary_file import Json, TokenizerFile, read_json, read_tokenizer_file
from tasks.tokenizer.format_errors import FormatFileError
from tasks.tokenizer.sentencepiece_import import read_sentencepiece
from tasks.tokenizer.tiktoken_format import is_ranks_file, read_tiktoken
from tasks.tokenizer.tiktoken_import import from_tiktoken

_SUFFIXES = (".model", ".tiktoken")
_SUPPORTED = (
    "a tokenizer.json, a .tiktoken file of ranks with its NAME.tiktoken.json or a pattern, or a "
    "SentencePiece .model, or from a folder with one of them"
)


def read_pretrained(
    path: Path, pattern: str | None = None, special_tokens: Mapping[str, int] | None = None
) -> TokenizerFile:
    """Read a tokenizer from a folder or file on this machine.

    Args:
        path: a folder, or a file in it.
        pattern: the regex for words of a ranks file, where its record does not say.
        special_tokens: its special tokens' ids by text, likewise.

    Returns:
        The tokenizer as ``tokenizer.json``. Roles are named by the ``tokenizer_config.json`` beside
        a ``tokenizer.json`` or by the SentencePiece model itself; a ranks file names none.

    Raises:
        FormatFileError: nothing there is read, it is not clear what, or it is damaged or lacks
            tokens that the config beside it adds.
        NotExpressibleError: a ``tokenizer.json`` would cut text otherwise than the file does.
        TokenizerFileError: a ``tokenizer.json`` is broken.
    """
    file = _find(path)
    if file.name == "tokenizer.json":
        return read_tokenizer_file(file.parent)
    if is_ranks_file(file):
        tokenizer = from_tiktoken(read_tiktoken(file, pattern, special_tokens))
        return _described(file.parent, tokenizer, {})
    return _described(file.parent, *read_sentencepiece(file))


def _find(path: Path) -> Path:
    if (path / "tokenizer.json").is_file():
        return path / "tokenizer.json"
    files = [path] if path.is_file() else sorted(path.glob("*"))
    found = [f for f in files if f.suffix in _SUFFIXES or f.name == "tokenizer.json"]
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "nothing of the kind"
        here = f"{path} holds {names}" if path.exists() else f"{path} does not exist"
        raise FormatFileError(f"{here}; a tokenizer is read from {_SUPPORTED}.")
    return found[0]


def _described(folder: Path, tokenizer: Json, roles: Mapping[str, str]) -> TokenizerFile:
    added = tuple(
        (int(token["id"]), str(token["content"]), bool(token["special"]))
        for token in tokenizer["added_tokens"]
    )
    file = TokenizerFile(folder, tokenizer, added, dict(roles))
    config_path = folder / "tokenizer_config.json"
    if config_path.exists():
        _check_complete(file, read_json(config_path))
    return file


def _check_complete(file: TokenizerFile, config: Json) -> None:
    """Refuse a file to which the config beside it adds tokens."""
    texts = dict(file.vocabulary_items())
    missing = [
        str(token["content"])
        for token_id, token in (config.get("added_tokens_decoder") or {}).items()
        if texts.get(int(token_id)) != token["content"]
    ]
    if missing:
        raise FormatFileError(
            f"{file.folder / 'tokenizer_config.json'} adds {len(missing)} tokens that the file "
            f"beside it lacks (first: {missing[0]!r}); load the folder with AutoTokenizer of "
            "transformers and save_pretrained() it, which writes a tokenizer.json with them."
        )
