"""How near the plain encoding of a Scaffold-BPE comes to the exact one.

They differ where a text is left with a scaffold token: exactly encoded, it is the visible tokens
that spell it. So the plain ids' counts tell both.
"""

from collections.abc import Sequence

import numpy as np

from tasks.shared.scaffold_file import Scaffolds
from tasks.shared.text_tokenizer import ExactTokenizer, TextTokenizer
from tasks.tokenizer.id_counts import count_ids
from tasks.tokenizer.metric_table import Metric

EQUAL, AGAINST_EXACT = "plain_tokens_equal", "plain_tokens_against_exact"


def agreement_metrics(
    suite: str, name: str, tokenizer: TextTokenizer, scaffolds: Scaffolds, texts: Sequence[str]
) -> list[Metric]:
    """Compare the two encodings of texts.

    Args:
        suite: name of the texts.
        name: name of the tokenizer.
        tokenizer: of either encoding.
        scaffolds: of this tokenizer.
        texts: documents.

    Returns:
        The share of plain tokens that stand in the exact encoding too, and plain tokens over exact
        ones; nothing where the texts have no token.
    """
    plain = tokenizer.plain if isinstance(tokenizer, ExactTokenizer) else tokenizer
    counts_E = count_ids(plain, texts, scaffolds.n_tokens)
    n_plain, n_left = int(np.sum(counts_E)), counts_E[scaffolds.n_visible :]
    if not n_plain:
        return []
    lengths = np.array([len(parts) for _, parts in sorted(scaffolds.splits.items())], np.int64)
    n_equal = n_plain - int(np.sum(n_left))
    n_exact = n_equal + int(np.sum(n_left * lengths))
    return [
        Metric(suite, name, EQUAL, n_equal / n_plain, "share", n_plain,
               "tokens of the plain encoding that are no scaffold tokens / its tokens"),
        Metric(suite, name, AGAINST_EXACT, n_plain / n_exact, "share", n_exact,
               "tokens of the plain encoding / tokens of the exact one"),
    ]  # fmt: skip
