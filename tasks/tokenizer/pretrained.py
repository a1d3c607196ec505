"""An existing tokenizer from any file that holds one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tasks.shared.vocabulary_file import (
    Json,
    NamedRole,
    TokenizerFile,
    read_json,
    read_tokenizer_file,
    roles_by_file,
    tokenizer_file_of,
)
from tasks.tokenizer.format_errors import FormatFileError
from tasks.tokenizer.named_roles import agreed_roles
from tasks.tokenizer.sentencepiece_import import read_sentencepiece
from tasks.tokenizer.tiktoken_format import is_ranks_file, read_tiktoken
from tasks.tokenizer.tiktoken_import import from_tiktoken

BESIDE = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)
"""What is read in a folder beside the file that holds the tokenizer."""
_SUFFIXES = (".model", ".tiktoken")
PRETRAINED_PATTERNS = ("tokenizer.json", *(f"*{s}" for s in _SUFFIXES), "*.tiktoken.json")
"""Globs of the files that may hold one."""
_SUPPORTED = (
    "a tokenizer.json, a .tiktoken file of ranks with its NAME.tiktoken.json or a pattern, or a "
    "SentencePiece .model, or from a folder with one of them"
)


def pretrained_files(names: Sequence[str], place: str) -> list[str]:
    """The files of a folder that make up its tokenizer.

    Args:
        names: bare file names.
        place: the folder, for messages.

    Raises:
        FormatFileError: none of them holds a tokenizer, or several do.
    """
    name = _choose(names, place)
    beside = {f"{name}.json"} if name != "tokenizer.json" else set[str]()
    return sorted({name, *(beside | {*BESIDE}) & {*names}})


def read_pretrained(
    path: Path,
    pattern: str | None = None,
    special_tokens: Mapping[str, int] | None = None,
    roles: Mapping[NamedRole, str | None] | None = None,
) -> TokenizerFile:
    """Read a tokenizer from a folder or file on this machine.

    Args:
        path: a folder, or a file in it.
        pattern: the regex for words of a ranks file, where its record does not say.
        special_tokens: its special tokens' ids by text, likewise.
        roles: token text by role, before what files say; ``None`` for none.

    Returns:
        The tokenizer as ``tokenizer.json``. Roles are named by ``roles``, the files beside it, and
        a SentencePiece model itself. A text of ``roles`` may be no token of it.

    Raises:
        FormatFileError: nothing there is read, it is not clear what, it is damaged, or the files
            beside it add tokens that it lacks.
        NotExpressibleError: a ``tokenizer.json`` would cut text otherwise than the file does.
        TokenizerFileError: a ``tokenizer.json`` is broken.
        RolesConflictError: files name different tokens for a role, or one that is none.
    """
    folder = path if path.is_dir() else path.parent
    names = [file.name for file in path.glob("*")] if path.is_dir() else [path.name]
    file = folder / _choose(names, str(path)) if path.exists() else path
    if not file.exists():
        raise FormatFileError(f"{path} does not exist; a tokenizer is read from {_SUPPORTED}.")
    read: TokenizerFile
    own_roles: Mapping[str, str] = {}
    is_ranks = file.name != "tokenizer.json" and is_ranks_file(file)
    if not is_ranks and (pattern is not None or special_tokens is not None):
        raise FormatFileError(
            f"{file} is no file of ranks, but pattern or special_tokens is given, which only such "
            "a file needs; leave them out."
        )
    if file.name == "tokenizer.json":
        read = read_tokenizer_file(folder)
    elif is_ranks:
        encoding = read_tiktoken(file, pattern, special_tokens)
        read = tokenizer_file_of(folder, from_tiktoken(encoding))
    else:
        tokenizer, own_roles = read_sentencepiece(file)
        read = tokenizer_file_of(folder, tokenizer)
    ids = _ids(read.tokenizer)
    _check_complete(read, ids)
    named = agreed_roles({file.name: own_roles, **roles_by_file(folder)}, roles or {}, ids)
    return replace(read, named=named)


def _choose(names: Sequence[str], place: str) -> str:
    if "tokenizer.json" in names:
        return "tokenizer.json"
    found = sorted(name for name in names if name.endswith(_SUFFIXES))
    if len(found) != 1:
        held = ", ".join(found) or "nothing of the kind"
        raise FormatFileError(f"{place} holds {held}; a tokenizer is read from {_SUPPORTED}.")
    return found[0]


def _ids(tokenizer: Json) -> dict[str, int]:
    vocab = tokenizer["model"]["vocab"]
    texts = vocab if isinstance(vocab, dict) else {text: i for i, (text, _) in enumerate(vocab)}
    added = tokenizer.get("added_tokens") or []
    return {**texts, **{str(token["content"]): int(token["id"]) for token in added}}


def _check_complete(file: TokenizerFile, ids: Mapping[str, int]) -> None:
    """Refuse a file to which the files beside it add tokens, and one whose ids lie far apart."""
    said = {content: token_id for token_id, content, _ in file.added}
    added_path = file.folder / "added_tokens.json"
    if added_path.exists():
        said |= read_json(added_path)
    missing = [content for content, token_id in said.items() if ids.get(content) != token_id]
    if missing:
        raise FormatFileError(
            f"{file.folder} has a tokenizer_config.json or added_tokens.json that adds "
            f"{len(missing)} tokens that the tokenizer beside it lacks (first: {missing[0]!r}); "
            "load the folder with AutoTokenizer of transformers and save_pretrained() it, which "
            "writes a tokenizer.json with them."
        )
    largest = max(ids, key=ids.__getitem__)
    if ids[largest] >= 2 * len(ids):
        raise FormatFileError(
            f"{file.folder} has {len(ids)} tokens and ids up to {ids[largest]} (of {largest!r}), "
            "so that most rows of the model would be of no token; give special tokens the ids "
            "behind the others."
        )
