"""Scaffold-BPE after learning: how text is written without scaffold tokens.

Scaffold-BPE, 2024 (arXiv 2404.17808), algorithm 2: encode with all tokens, then replace each
scaffold left over by visible tokens that spell it.
"""

from tasks.shared.scaffold_file import Scaffolds
from tasks.tokenizer.byte_level_file import number_tokens
from tasks.tokenizer.merge_loop import Learnt


def split_scaffolds(learnt: Learnt, n_special: int) -> Scaffolds:
    """Ids of the visible tokens that spell each scaffold token, by its id.

    Of several merges that make a token the one that leads to the fewest visible tokens counts,
    the earliest of equal ones.
    """
    ids = number_tokens(learnt, n_special).tolist()
    spelled: list[list[int]] = [[token_id] for token_id in ids]
    scaffolds = set(learnt.is_scaffold.nonzero()[0].tolist())
    found: dict[int, list[int]] = {}
    # A merge's parts were made before it, so that they are spelled already.
    for left, right, result in learnt.merges.tolist():
        parts = spelled[left] + spelled[right]
        if result in scaffolds and (result not in found or len(parts) < len(found[result])):
            found[result] = spelled[result] = parts
    splits = {ids[token]: parts for token, parts in found.items()}
    return Scaffolds(n_special + learnt.n_visible(), dict(sorted(splits.items())))
