"""What a tokenizer folder says, parsed but not yet interpreted.

Only ``tokenizer.json`` and the small files beside it are read, as JSON: no tokenizer class
takes part, so nothing is normalised, cleaned up or decoded on the way.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from tasks.shared.errors import InputError
from tasks.shared.scaffold_file import Scaffolds, is_exact, read_scaffolds

Json = dict[str, Any]

NamedRole = Literal["bos", "eos", "pad", "unk", "sep", "cls", "mask"]
"""Roles for which ``tokenizer_config.json`` has a field."""

_ROLE_FIELDS = get_args(NamedRole)


class TokenizerFileError(InputError):
    """A tokenizer folder lacks a file, or a file in it cannot be read."""


@dataclass(frozen=True)
class TokenizerFile:
    """The parsed files of one tokenizer folder.

    Attributes:
        folder: where they were read.
        tokenizer: ``tokenizer.json``.
        added: (id, content, special) of the tokens that stand beside the model's own.
        named: content of the token for each role that ``tokenizer_config.json`` names.
        scaffolds: tokens that no text is left with, where the folder encodes exactly.
    """

    folder: Path
    tokenizer: Json
    added: tuple[tuple[int, str, bool], ...]
    named: dict[str, str]
    scaffolds: Scaffolds | None = None

    @property
    def model(self) -> Json:
        """The model part: vocabulary, merges or scores."""
        return self.tokenizer["model"]

    @property
    def model_type(self) -> str:
        """``BPE``, ``Unigram``, ``WordPiece`` or ``WordLevel``."""
        declared = self.model.get("type")
        if declared is not None:
            return str(declared)
        # Files of tokenizers < 0.10 do not name the type; BPE was the only one with merges.
        return "BPE" if "merges" in self.model else "Unigram" if "unk_id" in self.model else "?"

    def vocabulary_items(self) -> Iterator[tuple[int, str]]:
        """Yield (id, text) of the model's own vocabulary."""
        vocabulary = self.model["vocab"]
        if isinstance(vocabulary, dict):
            for text, token_id in vocabulary.items():
                yield int(token_id), str(text)
        else:
            for token_id, (text, _score) in enumerate(vocabulary):
                yield token_id, str(text)

    def components(self) -> Iterator[Json]:
        """Yield every normaliser, pre-tokenizer and decoder, sequences unfolded."""
        for part in ("normalizer", "pre_tokenizer", "decoder"):
            yield from unfold(self.tokenizer.get(part))


def unfold(component: Json | None) -> Iterator[Json]:
    """Yield a component, or the members of a sequence of them, in order."""
    if component is None:
        return
    if component.get("type") != "Sequence":
        yield component
        return
    for name in ("normalizers", "pretokenizers", "decoders", "processors"):
        for member in component.get(name, []):
            yield from unfold(member)


def read_json(path: Path) -> Json:
    """Read one JSON object.

    Raises:
        TokenizerFileError: the file is absent, no JSON, or not an object.
    """
    try:
        parsed = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TokenizerFileError(
            f"{path.parent} holds no {path.name}; tokgraft reads tokenizers saved by "
            "save_pretrained() of transformers 4.0 or newer."
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise TokenizerFileError(f"{path} is no valid JSON ({error}); save it again.") from None
    if not isinstance(parsed, dict):
        raise TokenizerFileError(f"{path} holds a {type(parsed).__name__}, not a JSON object.")
    return parsed


def read_tokenizer_file(folder: Path) -> TokenizerFile:
    """Parse a tokenizer folder.

    Raises:
        TokenizerFileError: ``tokenizer.json`` is absent, broken or holds no vocabulary.
        ScaffoldFileError: it needs a ``scaffold.json``, which is absent or broken.
    """
    tokenizer = read_json(folder / "tokenizer.json")
    if "vocab" not in (tokenizer.get("model") or {}):
        raise TokenizerFileError(f"{folder / 'tokenizer.json'} has no model.vocab; save it again.")
    return tokenizer_file_of(folder, tokenizer)


def tokenizer_file_of(folder: Path, tokenizer: Json) -> TokenizerFile:
    """A tokenizer from whatever form, with what the small files in a folder say beside it.

    Args:
        folder: where ``tokenizer_config.json`` and ``special_tokens_map.json`` stand, if any.
        tokenizer: as ``tokenizer.json`` has it.
    """
    named: dict[str, str] = {}
    for roles in roles_by_file(folder).values():
        named |= roles
    config_path = folder / "tokenizer_config.json"
    config = read_json(config_path) if config_path.exists() else {}
    scaffolds = read_scaffolds(folder) if is_exact(tokenizer) else None
    return TokenizerFile(folder, tokenizer, _added(tokenizer, config), named, scaffolds)


def roles_by_file(folder: Path) -> dict[str, dict[str, str]]:
    """The token text for each role by the file that names it, the deciding file last."""
    names = ("special_tokens_map.json", "tokenizer_config.json")
    return {name: _named(read_json(folder / name)) for name in names if (folder / name).exists()}


def _added(tokenizer: Json, config: Json) -> tuple[tuple[int, str, bool], ...]:
    rows = {
        int(token_id): (str(token["content"]), bool(token.get("special", False)))
        for token_id, token in config.get("added_tokens_decoder", {}).items()
    }
    for token in tokenizer.get("added_tokens") or []:
        rows[int(token["id"])] = (str(token["content"]), bool(token.get("special", False)))
    return tuple((token_id, content, special) for token_id, (content, special) in rows.items())


def _named(fields: Json) -> dict[str, str]:
    named: dict[str, str] = {}
    for role in _ROLE_FIELDS:
        value = fields.get(f"{role}_token")
        if isinstance(value, dict):
            value = value.get("content")
        if isinstance(value, str):
            named[role] = value
    return named
