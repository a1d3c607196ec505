"""What goes into a tokenizer's training and what comes out of it."""

from dataclasses import dataclass, field
from pathlib import Path

from tasks.shared.extra_tokens import ExtraTokens
from tasks.shared.scaffold_file import Scaffolds
from tasks.shared.vocabulary_file import Json
from tasks.tokenizer.config import (
    Bpe,
    Bytes,
    CharacterBpe,
    Extend,
    Pretrained,
    ScaffoldBpe,
    SupertokenBpe,
    SuperwordBpe,
)
from tasks.tokenizer.pretoken_counts import PretokenCounts
from tasks.tokenizer.term_choice import Terms
from tasks.tokenizer.word_rule import WordRule

New = Bpe | ScaffoldBpe | SuperwordBpe | SupertokenBpe | CharacterBpe | Bytes
Learned = Extend | New
Config = Learned | Pretrained


@dataclass(frozen=True)
class Counted:
    """Words of the training text, and how it was cut into them."""

    rule: WordRule
    counts: PretokenCounts


@dataclass(frozen=True)
class Trained:
    """What a method made.

    Attributes:
        tokenizer: ``tokenizer.json``.
        n_unwritten: words of the text that an extended source cannot write.
        scaffolds: of Scaffold-BPE, by which visible tokens its scaffold tokens are spelled.
        terms: what had to be one token.
        extra: special tokens on top of what was learnt.
        dropped: of each old token that made room for a new one, by id, how often the training
            text has it.
        other_sizes: what the same run made beside it, by size of the vocabulary.
        carried: the source's special tokens that a pretrained tokenizer was given; ``None`` for
            other methods.
    """

    tokenizer: Json
    n_unwritten: int = 0
    scaffolds: Scaffolds | None = None
    terms: Terms = field(default_factory=Terms)
    extra: ExtraTokens = field(default_factory=ExtraTokens)
    dropped: dict[int, int] = field(default_factory=dict[int, int])
    other_sizes: "dict[int, Trained]" = field(default_factory=dict[int, "Trained"])
    carried: tuple[str, ...] | None = None

    def by_folder(self, folder: Path) -> "dict[Path, Trained]":
        """All that the run made, by the folder where each belongs."""
        others = {folder / "sizes" / str(size): one for size, one in self.other_sizes.items()}
        return {folder: self, **others}
