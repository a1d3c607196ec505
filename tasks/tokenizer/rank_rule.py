"""The rule by which tiktoken and SentencePiece merge.

Neither has a list of merges. Of all neighbours that together are a token, the pair whose token has
the lowest rank is joined first, the leftmost of equals. A ``tokenizer.json`` lists its merges, and
an unlisted pair stays apart even if it spells a token.

When the two agree: as long as no merge reaches over a token's ends, what happens between them is
what happens to the token's text alone. So at most one pair ever makes a token, in whatever text:
the last two pieces when its own text is merged. A list that holds these pairs in rank order does
what the rule does, and further pairs in it never get their turn.
"""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from tasks.tokenizer.format_errors import NotExpressibleError

Text = TypeVar("Text", bytes, str)

_NEVER = 1 << 62


def last_merges(ranks: Mapping[Text, int]) -> dict[Text, tuple[Text, Text] | None]:
    """Find the pair that makes each token of two or more symbols.

    Args:
        ranks: rank by token. Symbols, which are bytes or characters, need not be among them.

    Returns:
        The pair by token, in rank order; ``None`` where the merges of a token's own text stop
        earlier, so that no text is ever merged to it.
    """
    return {
        token: _last_merge(token, ranks)
        for token in sorted(ranks, key=ranks.__getitem__)
        if len(token) > 1
    }


def check_listed(
    pairs: Mapping[Text, tuple[Text, Text] | None],
    listed: Sequence[tuple[Text, Text]],
    other: str,
) -> None:
    """Refuse a list of merges that does not do what the rule does.

    Args:
        pairs: what ``last_merges`` found.
        listed: the merges of the tokenizer, first to last.
        other: name of the library that merges by the rule.

    Raises:
        NotExpressibleError: a pair is not in the list, or the list has another order.
    """
    place = {pair: i for i, pair in reversed(list(enumerate(listed)))}
    made = {token: pair for token, pair in pairs.items() if pair is not None}
    unlisted = [(token, pair) for token, pair in made.items() if pair not in place]
    if unlisted:
        token, pair = unlisted[0]
        raise NotExpressibleError(
            f"{len(unlisted)} of {len(made)} tokens come from other pieces in {other}, which joins "
            f"any two that spell a token (first: {token!r} from {pair}, which the tokenizer does "
            "not merge); keep its tokenizer.json, or train one with method: bpe."
        )
    places = [place[pair] for pair in made.values()]
    late = [token for token, a, b in zip(made, places, places[1:], strict=False) if a > b]
    if late:
        raise NotExpressibleError(
            f"{len(late)} tokens are merged later than the token with the next id (first: "
            f"{late[0]!r}), and {other} merges in id order; keep the tokenizer's tokenizer.json, "
            "or train one with method: bpe."
        )


def _last_merge(token: Text, ranks: Mapping[Text, int]) -> tuple[Text, Text] | None:
    cuts = list(range(len(token) + 1))
    pair_ranks = [ranks.get(token[i : i + 2], _NEVER) for i in range(len(token) - 1)]
    while len(pair_ranks) > 1:
        lowest = min(pair_ranks)
        if lowest == _NEVER:
            return None
        i = pair_ranks.index(lowest)
        del cuts[i + 1], pair_ranks[i]
        if i < len(pair_ranks):
            pair_ranks[i] = ranks.get(token[cuts[i] : cuts[i + 2]], _NEVER)
        if i > 0:
            pair_ranks[i - 1] = ranks.get(token[cuts[i - 1] : cuts[i + 1]], _NEVER)
    return token[: cuts[1]], token[cuts[1] :]
