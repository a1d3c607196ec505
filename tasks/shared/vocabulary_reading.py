"""From a tokenizer folder to a ``Vocabulary``."""

from dataclasses import replace
from pathlib import Path

from tasks.shared.vocabulary_codec import codec_of
from tasks.shared.vocabulary_file import TokenizerFile, TokenizerFileError, read_tokenizer_file
from tasks.shared.vocabulary_record import Vocabulary
from tasks.shared.vocabulary_roles import find_roles


def read_vocabulary(folder: Path) -> Vocabulary:
    """Read what each id stands for from ``tokenizer.json`` and ``tokenizer_config.json``.

    Raises:
        TokenizerFileError: a file is absent or broken.
        UnsupportedTokenizerError: no byte can be told for this kind of tokenizer.
    """
    return vocabulary_of(read_tokenizer_file(folder))


def vocabulary_of(file: TokenizerFile) -> Vocabulary:
    """Interpret a parsed tokenizer folder; see ``read_vocabulary``."""
    whole = whole_vocabulary_of(file)
    if file.scaffolds is None:
        return whole
    n_visible = file.scaffolds.n_visible
    return replace(
        whole, token_bytes=whole.token_bytes[:n_visible], token_text=whole.token_text[:n_visible]
    )


def whole_vocabulary_of(file: TokenizerFile) -> Vocabulary:
    """The same with the tokens that merge and have no row: exact Scaffold-BPE's scaffolds."""
    codec = codec_of(file)
    model_text = dict(file.vocabulary_items())
    text = {**model_text, **{token_id: content for token_id, content, _ in file.added}}
    id_of = {content: token_id for token_id, content in text.items()}
    special_ids = _special_ids(file, id_of)
    specials = set(special_ids.values())
    # An added token is found in the raw text, before the model, so its content is its bytes.
    added_bytes = {token_id: content.encode() for token_id, content, _ in file.added}
    n_rows = max(text, default=-1) + 1

    def bytes_of(token_id: int) -> bytes | None:
        if token_id in specials or token_id not in text:
            return None
        if token_id in added_bytes:
            return added_bytes[token_id]
        return codec.to_bytes(text[token_id])

    return Vocabulary(
        token_bytes=tuple(bytes_of(token_id) for token_id in range(n_rows)),
        token_text=tuple(text.get(token_id, "") for token_id in range(n_rows)),
        special_ids=special_ids,
        roles=find_roles(
            {role: id_of[name] for role, name in file.named.items() if name in id_of}, special_ids
        ),
        merges=_merges(file),
    )


def _special_ids(file: TokenizerFile, id_of: dict[str, int]) -> dict[str, int]:
    texts = [content for _, content, special in file.added if special]
    texts += [name for name in file.named.values() if name in id_of]
    unknown = file.model.get("unk_token")
    if isinstance(file.model.get("unk_id"), int):
        unknown = file.model["vocab"][file.model["unk_id"]][0]
    if unknown in id_of:
        texts.append(str(unknown))
    return dict(sorted({text: id_of[text] for text in texts}.items(), key=lambda item: item[1]))


def _merges(file: TokenizerFile) -> tuple[tuple[int, int, int], ...]:
    if file.model_type != "BPE":
        return ()
    ids = file.model["vocab"]
    merges: list[tuple[int, int, int]] = []
    for merge in file.model.get("merges", []):
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        try:
            merges.append((ids[left], ids[right], ids[left + right]))
        except KeyError as error:
            raise TokenizerFileError(
                f"{file.folder / 'tokenizer.json'}: merge {merge!r} needs {error}, which is not "
                "in the vocabulary; the file is damaged, fetch it again."
            ) from None
    return tuple(merges)
