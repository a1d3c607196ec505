"""From ``tokenizer.json`` to tiktoken."""

from collections.abc import Sequence

from tasks.shared.byte_alphabet import from_alphabet
from tasks.shared.vocabulary_file import Json, unfold
from tasks.tokenizer.format_errors import NotExpressibleError
from tasks.tokenizer.rank_rule import check_listed, last_merges
from tasks.tokenizer.single_pattern import single_pattern
from tasks.tokenizer.tiktoken_format import TiktokenEncoding

_KEEP = "keep its tokenizer.json, which every server for Hugging Face models loads"


def to_tiktoken(tokenizer: Json) -> TiktokenEncoding:
    """Write a byte-level BPE tokenizer in tiktoken's terms.

    tiktoken then gives the same ids as tokenizers for any text, all added tokens allowed on one
    side and no post-processor run on the other. Tokens that no text is cut to have no rank.
    A word that is a token is one whether merges lead to it or not, as ``ignore_merges`` has it, so
    that vocabularies with and without are expressible.

    Args:
        tokenizer: ``tokenizer.json``.

    Raises:
        NotExpressibleError: it is not byte-level BPE, changes text before it cuts it, cuts it by
            no single regex, has tokens in another order than its merges, or added tokens that
            tiktoken would find elsewhere.
    """
    model = tokenizer["model"]
    _check_model(tokenizer)
    pattern = single_pattern(tokenizer.get("pre_tokenizer"))
    special_tokens = _special_tokens(tokenizer.get("added_tokens") or [])
    merges = [_bytes_of_pair(merge) for merge in model["merges"]]
    whole_words = bool(model.get("ignore_merges"))
    made = {left + right for left, right in merges}
    ranks: dict[bytes, int] = {}
    for text, token_id in model["vocab"].items():
        data = from_alphabet(text)
        if data and (
            len(data) == 1 or data in made or (whole_words and text not in special_tokens)
        ):
            ranks[data] = token_id
    _check_all_bytes(ranks)
    pairs = last_merges(ranks)
    check_listed(pairs, merges, "tiktoken")
    if not whole_words:
        ranks = {token: rank for token, rank in ranks.items() if pairs.get(token, token)}
    return TiktokenEncoding(pattern, ranks, special_tokens)


def _check_model(tokenizer: Json) -> None:
    model = tokenizer["model"]
    kind = model.get("type", "BPE")
    if kind != "BPE" or "merges" not in model:
        raise NotExpressibleError(
            f"tiktoken knows byte-level BPE, and this tokenizer is {kind}; {_KEEP}, or train one "
            "with method: bpe."
        )
    normalizers = [str(part.get("type")) for part in unfold(tokenizer.get("normalizer"))]
    if normalizers:
        raise NotExpressibleError(
            "tiktoken takes text as it is, and this tokenizer first changes it "
            f"({', '.join(normalizers)}); {_KEEP}, or train one with method: bpe and a "
            "pretokenizer by name, which brings no normalizer."
        )
    for option in ("continuing_subword_prefix", "end_of_word_suffix", "dropout"):
        if model.get(option):
            raise NotExpressibleError(
                f"tiktoken has nothing like {option}, and this tokenizer has {model[option]!r}; "
                f"{_KEEP}."
            )


def _special_tokens(added: Sequence[Json]) -> dict[str, int]:
    """Id by text of the added tokens, special or not: tiktoken finds none of them but these."""
    texts = [str(token["content"]) for token in added]
    for token in added:
        for flag in ("lstrip", "rstrip", "single_word"):
            if token.get(flag):
                raise NotExpressibleError(
                    f"tiktoken finds special tokens by their text alone, and {token['content']!r} "
                    f"has {flag}; {_KEEP}."
                )
    beginnings = {text[:n] for text in texts for n in range(1, len(text))}
    ambiguous = [text for text in texts if text in beginnings]
    if ambiguous:
        raise NotExpressibleError(
            f"{len(ambiguous)} added tokens are the beginning of others (first: {ambiguous[0]!r}), "
            f"and tiktoken does not say which it finds; {_KEEP}."
        )
    if len({bool(token.get("normalized")) for token in added}) > 1:
        raise NotExpressibleError(
            "tiktoken looks for all special tokens at once, and this tokenizer first for those "
            "with normalized: false; set the flag alike for all added tokens."
        )
    return {str(token["content"]): int(token["id"]) for token in added}


def _bytes_of_pair(merge: str | Sequence[str]) -> tuple[bytes, bytes]:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    pair = from_alphabet(left), from_alphabet(right)
    if pair[0] is None or pair[1] is None:
        raise NotExpressibleError(
            f"tiktoken knows byte-level BPE, and the merge {merge!r} is not of the byte alphabet; "
            f"{_KEEP}."
        )
    return pair[0], pair[1]


def _check_all_bytes(ranks: dict[bytes, int]) -> None:
    missing = [byte for byte in range(256) if bytes([byte]) not in ranks]
    if missing:
        raise NotExpressibleError(
            f"tiktoken needs a token for every byte, and this vocabulary has none for "
            f"{len(missing)} (first: {missing[0]:#04x}), which its tokenizer drops from text; "
            "train one with method: bpe, or extend with add_missing_bytes: true."
        )
