"""Promises of a new tokenizer, checked before it is handed on."""

from collections.abc import Collection

from tasks.shared.text_tokenizer import TextTokenizer
from tasks.shared.vocabulary_record import Vocabulary
from tasks.tokenizer.errors import BrokenTokenizerError


def check_ids(tokenizer: TextTokenizer, vocabulary: Vocabulary) -> None:
    """Refuse a file that the tokenizers library numbers otherwise than it says.

    Raises:
        BrokenTokenizerError: some token has another id there.
    """
    wrong = [
        text
        for text, token_id in tokenizer.get_vocab(with_added_tokens=True).items()
        if token_id >= len(vocabulary) or vocabulary.token_text[token_id] != text
    ]
    if wrong or tokenizer.get_vocab_size(with_added_tokens=True) > len(vocabulary):
        raise BrokenTokenizerError(
            f"{len(wrong)} tokens change their id when the tokenizer is loaded (first: "
            f"{wrong[:3]}); the source's added tokens have ids that its file cannot express."
        )


def check_extension(old: Vocabulary, new: Vocabulary, n_new_tokens: int, n_extra: int = 0) -> None:
    """Refuse an extension that changed anything old, or is not of the size asked for.

    Args:
        old: the source's.
        new: the extended one.
        n_new_tokens: learnt tokens.
        n_extra: special tokens behind them.

    Raises:
        BrokenTokenizerError: it says which promise failed.
    """
    n_old, n_merges = len(old), len(old.merges)
    n_learnt = len(new) - n_extra
    kept_specials = {text: i for text, i in new.special_ids.items() if i < n_learnt}
    promises = {
        "bytes of old ids": new.token_bytes[:n_old] == old.token_bytes,
        "text of old ids": new.token_text[:n_old] == old.token_text,
        "special tokens": kept_specials == old.special_ids,
        "roles": new.roles == old.roles,
        "rank of old merges": new.merges[:n_merges] == old.merges,
        f"{n_new_tokens} new ids": n_learnt == n_old + n_new_tokens,
        "a use for every new id": None not in new.token_bytes[n_old:n_learnt],
    }
    _refuse(promises, f"Extending {n_old} tokens by {n_new_tokens}")


def check_same_size(
    old: Vocabulary,
    new: Vocabulary,
    n_new_tokens: int,
    dropped: Collection[int],
    n_extra: int = 0,
) -> None:
    """Refuse an extension of the source's size that changed more than the ids it was to free.

    Args:
        old: the source's.
        new: the extended one.
        n_new_tokens: learnt tokens.
        dropped: ids that were to be freed.
        n_extra: special tokens behind all others.

    Raises:
        BrokenTokenizerError: it says which promise failed.
    """
    if len(new) != len(old) + n_extra:
        _refuse({f"{len(old)} ids": False}, f"Exchanging {n_new_tokens} tokens for new ones")
    stays = [i for i in range(len(old)) if i not in dropped]
    merges = tuple(merge for merge in old.merges if merge[2] not in dropped)
    promises = {
        "bytes of ids that stay": all(new.token_bytes[i] == old.token_bytes[i] for i in stays),
        "text of ids that stay": all(new.token_text[i] == old.token_text[i] for i in stays),
        "special tokens": {t: i for t, i in new.special_ids.items() if i < len(old)}
        == old.special_ids,
        "roles": new.roles == old.roles,
        "rank of merges that stay": new.merges[: len(merges)] == merges,
        f"{n_new_tokens} new tokens": n_new_tokens == len(dropped),
        "a use for every freed id": None not in {new.token_bytes[i] for i in dropped},
    }
    _refuse(promises, f"Exchanging {n_new_tokens} tokens for new ones")


def _refuse(promises: dict[str, bool], deed: str) -> None:
    broken = [name for name, kept in promises.items() if not kept]
    if broken:
        raise BrokenTokenizerError(
            f"{deed} did not keep: {', '.join(broken)}; choose method: bpe for this source, and "
            "report its tokenizer.json."
        )
