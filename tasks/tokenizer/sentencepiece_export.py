"""From ``tokenizer.json`` to SentencePiece."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from tasks.shared.vocabulary_file import Json, unfold
from tasks.tokenizer.format_errors import NotExpressibleError
from tasks.tokenizer.rank_rule import check_listed, last_merges
from tasks.tokenizer.sentencepiece_format import (
    BYTE_PIECE,
    METASPACE,
    ROLES,
    write_sentencepiece,
)

_KEEP = "keep its tokenizer.json, which every server for Hugging Face models loads"
_PREFIX: Json = {"type": "Prepend", "prepend": METASPACE}
_REPLACE: Json = {"type": "Replace", "pattern": {"String": " "}, "content": METASPACE}
_AT_SPACES: Json = {
    "type": "Split",
    "pattern": {"String": " "},
    "behavior": "MergedWithPrevious",
    "invert": False,
}
_WORDS_BEGIN: Json = {
    "type": "Split",
    "pattern": {"String": METASPACE},
    "behavior": "MergedWithNext",
    "invert": False,
}


def export_sentencepiece(
    path: Path,
    tokenizer: Json,
    roles: Mapping[str, str],
    unused: AbstractSet[int] = frozenset(),
) -> None:
    """Write a BPE tokenizer over whole characters as a ``.model``.

    SentencePiece then gives the same ids as tokenizers for any text in which no special token
    stands, for it finds none in text; they become control pieces, to be put in by id. Where the
    tokenizer has no unknown token, ``<unk>`` follows as one more id.

    Args:
        path: the file.
        tokenizer: ``tokenizer.json``.
        roles: text of the tokens that do something, by ``bos``, ``eos`` or ``pad``.
        unused: ids that are cut again where they are left at the end: the scaffolds of a
            Scaffold-BPE tokenizer whose file holds its expanded vocabulary.

    Raises:
        NotExpressibleError: it is byte-level, cuts words by a regex, or merges in an order that
            no scores have.
    """
    model = tokenizer["model"]
    metaspace, dummy_prefix, words_apart = _spaces(tokenizer)
    _check_model(tokenizer)
    merges = [_pair(merge) for merge in model["merges"]]
    ranks: dict[str, int] = {}
    for left, right in merges:
        ranks.setdefault(left + right, len(ranks))
    pairs = last_merges(ranks)
    check_listed(pairs, merges, "SentencePiece")
    reachable = [token for token, pair in pairs.items() if pair is not None]
    if words_apart and (inside := [t for t in reachable if METASPACE in t[1:]]):
        raise NotExpressibleError(
            f"SentencePiece cuts no words, and {len(inside)} tokens that reach over the start of "
            f"one (first: {inside[0]!r}) would come into use; {_KEEP}."
        )
    ids: dict[str, int] = dict(model["vocab"])
    added = tokenizer.get("added_tokens") or []
    ids |= {str(token["content"]): int(token["id"]) for token in added}
    unknown = str(model.get("unk_token") or "<unk>")
    ids.setdefault(unknown, max(ids.values()) + 1)
    user_defined = _user_defined(added, dummy_prefix)
    pieces = _by_id(ids)
    kept = {*reachable, *(t for t in pieces if len(t) == 1 or BYTE_PIECE.fullmatch(t))}
    special = {str(token["content"]) for token in added} - user_defined
    write_sentencepiece(
        path,
        pieces,
        [ids[token] for token in reachable],
        {"unk": ids[unknown], **{r: ids[t] for r, t in roles.items() if r in ROLES and t in ids}},
        control={ids[t] for t in pieces if t in special or t not in kept | user_defined},
        user_defined={ids[token] for token in user_defined},
        unused=unused,
        byte_fallback=bool(model.get("byte_fallback")),
        metaspace=metaspace,
        dummy_prefix=dummy_prefix,
    )


def _spaces(tokenizer: Json) -> tuple[bool, bool, bool]:
    """Tell whether a space becomes ``▁``, whether one is put first, and whether words are apart."""
    steps = [*unfold(tokenizer.get("normalizer")), *unfold(tokenizer.get("pre_tokenizer"))]
    if any(step.get("type") == "ByteLevel" for step in steps):
        raise NotExpressibleError(
            "SentencePiece has no pieces of half a character and no regex for words, and this "
            f"tokenizer is byte-level; {_KEEP}, or write it for tiktoken."
        )
    if _REPLACE in steps:
        # No space is left then to cut at.
        steps = [step for step in steps if step != _AT_SPACES]
    known = {"Prepend": _PREFIX, "Replace": _REPLACE, "Split": _WORDS_BEGIN}
    for step in steps:
        kind = step.get("type")
        never_first = kind == "Metaspace" and step.get("replacement") == METASPACE
        never_first = never_first and step.get("prepend_scheme") == "never"
        if step != known.get(str(kind)) and not never_first:
            raise NotExpressibleError(
                f"SentencePiece writes a space as {METASPACE}, puts one first or does neither, and "
                f"this tokenizer has {step}; {_KEEP}."
            )
    kinds = [step["type"] for step in steps]
    apart = "Split" in kinds or any(
        s["type"] == "Metaspace" and s.get("split", True) for s in steps
    )
    return "Replace" in kinds or "Metaspace" in kinds, "Prepend" in kinds, apart


def _check_model(tokenizer: Json) -> None:
    model = tokenizer["model"]
    if model.get("type", "BPE") != "BPE" or "merges" not in model:
        raise NotExpressibleError(
            f"Only BPE is written for SentencePiece, and this tokenizer is {model.get('type')}; "
            f"{_KEEP}."
        )
    options = ("continuing_subword_prefix", "end_of_word_suffix", "dropout", "ignore_merges")
    for option in options:
        if model.get(option):
            raise NotExpressibleError(
                f"SentencePiece has nothing like {option}, and this tokenizer has "
                f"{model[option]!r}; {_KEEP}."
            )
    if not model.get("byte_fallback") and not (model.get("unk_token") and model.get("fuse_unk")):
        raise NotExpressibleError(
            "SentencePiece writes a run of unknown characters as one unknown token, and this "
            f"tokenizer has unk_token {model.get('unk_token')!r} and fuse_unk "
            f"{model.get('fuse_unk')!r}; {_KEEP}, or set byte_fallback with its 256 pieces."
        )


def _pair(merge: str | Sequence[str]) -> tuple[str, str]:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def _user_defined(added: Sequence[Json], dummy_prefix: bool) -> set[str]:
    plain = [token for token in added if not token.get("special")]
    if plain and dummy_prefix:
        raise NotExpressibleError(
            "SentencePiece puts a space before all text, and this tokenizer one after "
            f"{plain[0]['content']!r} too; {_KEEP}."
        )
    for token in plain:
        if " " in token["content"] or any(map(token.get, ("lstrip", "rstrip", "single_word"))):
            raise NotExpressibleError(
                "SentencePiece finds user-defined pieces by their text alone, spaces written "
                f"{METASPACE}, and this tokenizer has {token}; {_KEEP}."
            )
    return {str(token["content"]) for token in plain}


def _by_id(ids: Mapping[str, int]) -> list[str]:
    text = {token_id: token for token, token_id in ids.items()}
    gaps = [i for i in range(len(text)) if i not in text]
    if gaps or len(text) < len(ids):
        raise NotExpressibleError(
            f"SentencePiece numbers its pieces from 0 without gaps, and ids of this tokenizer are "
            f"missing or taken twice (first gap: {gaps[:1]}); {_KEEP}."
        )
    return [text[i] for i in range(len(text))]
