"""Promises of a new tokenizer, checked before it is handed on."""

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


def check_extension(old: Vocabulary, new: Vocabulary, n_new_tokens: int) -> None:
    """Refuse an extension that changed anything old, or is not of the size asked for.

    Raises:
        BrokenTokenizerError: it says which promise failed.
    """
    n_old, n_merges = len(old), len(old.merges)
    promises = {
        "bytes of old ids": new.token_bytes[:n_old] == old.token_bytes,
        "text of old ids": new.token_text[:n_old] == old.token_text,
        "special tokens": new.special_ids == old.special_ids,
        "roles": new.roles == old.roles,
        "rank of old merges": new.merges[:n_merges] == old.merges,
        f"{n_new_tokens} new ids": len(new) == n_old + n_new_tokens,
        "a use for every new id": None not in new.token_bytes[n_old:],
    }
    broken = [name for name, kept in promises.items() if not kept]
    if broken:
        raise BrokenTokenizerError(
            f"Extending {n_old} tokens by {n_new_tokens} did not keep: {', '.join(broken)}; "
            "choose method: bpe for this source, and report its tokenizer.json."
        )
