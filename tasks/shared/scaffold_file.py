"""``scaffold.json``: by which visible tokens each scaffold token of a Scaffold-BPE is spelled.

A tokenizer folder encodes plainly or exactly. Plain: scaffold tokens have ids and rows like all
others, and ``tokenizer.json`` alone says everything. Exact (Scaffold-BPE, 2024, arXiv 2404.17808,
algorithm 2): each scaffold token left over is replaced by visible tokens, so that only these have
rows. ``tokenizer.json`` cannot say that, and whoever read it alone would get ids without a row. So
its version is one that the tokenizers library refuses, with what to do instead.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.shared.errors import InputError

SCAFFOLD_FILE = "scaffold.json"
EXACT_VERSION = (
    "1.0 behind scaffold.json: AutoTokenizer.from_pretrained(.., trust_remote_code=True)"
)
"""``version`` of an exact folder's ``tokenizer.json``."""


class ScaffoldFileError(InputError):
    """A folder's ``scaffold.json`` is absent, broken, or that of another tokenizer."""


@dataclass(frozen=True)
class Scaffolds:
    """The scaffold tokens of a tokenizer.

    Attributes:
        n_visible: all other tokens, whose ids come first.
        splits: ids of the visible tokens that spell each scaffold token, by its id.
    """

    n_visible: int
    splits: Mapping[int, list[int]]

    @property
    def n_tokens(self) -> int:
        """All tokens, scaffolds included."""
        return self.n_visible + len(self.splits)


def is_exact(tokenizer: Mapping[str, Any]) -> bool:
    """Tell from ``tokenizer.json`` whether its folder encodes exactly."""
    return tokenizer.get("version") == EXACT_VERSION


def write_scaffolds(folder: Path, scaffolds: Scaffolds) -> None:
    """Write ``scaffold.json``."""
    record = {"n_visible": scaffolds.n_visible, "splits": dict(scaffolds.splits)}
    (folder / SCAFFOLD_FILE).write_text(json.dumps(record) + "\n", encoding="utf-8")


def read_scaffolds(folder: Path) -> Scaffolds:
    """Read ``scaffold.json``.

    Raises:
        ScaffoldFileError: it is absent or broken.
    """
    path = folder / SCAFFOLD_FILE
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        n_visible = int(record["n_visible"])
        splits = {int(i): [int(part) for part in parts] for i, parts in record["splits"].items()}
    except FileNotFoundError:
        raise ScaffoldFileError(
            f"{folder} has no {SCAFFOLD_FILE}, which its tokenizer needs; copy the whole folder."
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ScaffoldFileError(
            f"{path} is no list of scaffold tokens ({error!r}); copy the whole folder again."
        ) from None
    fits = set(splits) == set(range(n_visible, n_visible + len(splits)))
    if not fits or any(not 0 <= part < n_visible for parts in splits.values() for part in parts):
        raise ScaffoldFileError(
            f"{path} must spell every id from n_visible={n_visible} on by ids below it, and does "
            "not; copy the whole folder again."
        )
    return Scaffolds(n_visible, splits)
