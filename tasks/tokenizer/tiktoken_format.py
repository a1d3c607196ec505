r"""Files that tiktoken loads: a table of ranks, and beside it what the table leaves out.

``NAME.tiktoken`` has one line a token, its bytes in base64 and its rank, which is its id.
``NAME.tiktoken.json`` has the regex that cuts text into words, the special tokens with their ids,
the number of ids, and the sha256 of the table. In use::

    record = json.loads(Path("tokenizer.tiktoken.json").read_text())
    ranks = tiktoken.load.load_tiktoken_bpe("tokenizer.tiktoken", record["sha256"])
    tiktoken.Encoding(
        "name",
        pat_str=record["pat_str"],
        mergeable_ranks=ranks,
        special_tokens=record["special_tokens"],
    )

Without the sha256 tiktoken keeps a copy by the file's path, and reads it though the file changed.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.shared.vocabulary_file import Json, read_json
from tasks.tokenizer.format_errors import FormatFileError


@dataclass(frozen=True)
class TiktokenEncoding:
    """What tiktoken knows of a tokenizer.

    Attributes:
        pattern: regex whose matches are the words.
        ranks: id by the bytes of a token; the lower, the earlier merged.
        special_tokens: id by text of the tokens that are found in text before all else.
    """

    pattern: str
    ranks: Mapping[bytes, int]
    special_tokens: Mapping[str, int]

    @property
    def n_ids(self) -> int:
        """The largest id plus one: rows that a model needs."""
        return 1 + max(*self.ranks.values(), *self.special_tokens.values())


def record_path(path: Path) -> Path:
    """Tell where the record of a ranks file stands."""
    return path.with_name(path.name + ".json")


def write_tiktoken(path: Path, encoding: TiktokenEncoding) -> None:
    """Write a ranks file and its record; equal encodings give equal bytes.

    Args:
        path: of the ranks file; the record's name follows from it.
        encoding: what to write.
    """
    by_rank = sorted(encoding.ranks.items(), key=lambda item: item[1])
    lines = [b"%s %d\n" % (base64.b64encode(token), rank) for token, rank in by_rank]
    table = b"".join(lines)
    path.write_bytes(table)
    record = {
        "pat_str": encoding.pattern,
        "special_tokens": dict(sorted(encoding.special_tokens.items(), key=lambda item: item[1])),
        "vocabulary_size": encoding.n_ids,
        "sha256": hashlib.sha256(table).hexdigest(),
    }
    text = json.dumps(record, indent=2, ensure_ascii=False)
    record_path(path).write_text(text + "\n", encoding="utf-8")


def read_tiktoken(
    path: Path, pattern: str | None = None, special_tokens: Mapping[str, int] | None = None
) -> TiktokenEncoding:
    """Read a ranks file and its record.

    Args:
        path: of the ranks file.
        pattern: the regex; the record's if not given.
        special_tokens: id by text; the record's if not given, none where there is no record.

    Raises:
        FormatFileError: a line is no rank, two tokens share one, the record is of another file,
            or no pattern is to be had.
    """
    table = path.read_bytes()
    ranks = _parse_ranks(path, table)
    record = read_json(record_path(path)) if record_path(path).exists() else {}
    if record.get("sha256") not in (None, hashlib.sha256(table).hexdigest()):
        raise FormatFileError(
            f"{path} is not the file of which {record_path(path).name} has the sha256; write both "
            "again."
        )
    if pattern is None:
        pattern = record.get("pat_str")
    if not isinstance(pattern, str):
        raise FormatFileError(
            f"{path} holds ranks and not the regex that cuts text into words, and beside it "
            f"pat_str of {record_path(path).name} is {pattern!r}; put it there, with "
            "special_tokens, or give the pattern."
        )
    specials: Json = record.get("special_tokens") or {}
    return TiktokenEncoding(pattern, ranks, specials if special_tokens is None else special_tokens)


def is_ranks_file(path: Path) -> bool:
    """Tell a ranks file by its first line, for some are named ``tokenizer.model``."""
    with path.open("rb") as file:
        return _parse_line(file.readline(1024)) is not None


def _parse_ranks(path: Path, table: bytes) -> dict[bytes, int]:
    lines = [line for line in table.splitlines() if line]
    parsed = [_parse_line(line) for line in lines]
    if None in parsed or not lines:
        wrong = lines[parsed.index(None)] if lines else b""
        raise FormatFileError(
            f"{path}: the line {wrong[:60]!r} is no token in base64 and its rank; the file is "
            "damaged or of another kind, fetch it again."
        )
    ranks = dict(pair for pair in parsed if pair is not None)
    if len(set(ranks.values())) < len(lines):
        raise FormatFileError(
            f"{path} has {len(lines)} lines and {len(set(ranks.values()))} different tokens and "
            "ranks; the file is damaged, fetch it again."
        )
    return ranks


def _parse_line(line: bytes) -> tuple[bytes, int] | None:
    parts = line.split()
    if len(parts) != 2 or not parts[1].isdigit():
        return None
    try:
        return base64.b64decode(parts[0], validate=True), int(parts[1])
    except binascii.Error:
        return None
