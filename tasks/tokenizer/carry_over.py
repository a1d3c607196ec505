"""What a new vocabulary takes over from the source tokenizer beside its pieces.

A special token is kept if it does something: it has a role, the chat template writes it, or the
post-processor adds it. Reserved and unused ones stay behind.
"""

from collections.abc import Mapping
from typing import Any

from tasks.shared.vocabulary_file import Json, TokenizerFile, unfold
from tasks.shared.vocabulary_reading import vocabulary_of

_ONLY_OF_THE_SOURCE_FOLDER = (
    "added_tokens_decoder",
    "is_local",
    "local_files_only",
    "name_or_path",
    "special_tokens_map_file",
    "tokenizer_file",
    "vocab_file",
    "merges_file",
)
_TOKEN_LISTS = ("additional_special_tokens", "extra_special_tokens")


def tokens_to_carry(source: TokenizerFile, chat_template: str) -> list[Json]:
    """List the added tokens that the new tokenizer needs, by their id in the source.

    Args:
        source: the source tokenizer.
        chat_template: its template, empty if it has none.

    Returns:
        Entries as in ``added_tokens`` of ``tokenizer.json``, with their flags.
    """
    vocabulary = vocabulary_of(source)
    with_role = {vocabulary.token_text[token_id] for token_id in vocabulary.roles.values()}
    written = tokens_put_around(source.tokenizer.get("post_processor"))
    return [
        added_entry(source, content, token_id)
        for content, token_id in added_ids(source).items()
        if content in with_role or content in written or content in chat_template
    ]


def added_ids(file: TokenizerFile) -> dict[str, int]:
    """Ids of the special and added tokens by text, in the order of ids."""
    ids = {content: i for i, content, _ in file.added} | dict(vocabulary_of(file).special_ids)
    return dict(sorted(ids.items(), key=lambda item: item[1]))


def added_entry(file: TokenizerFile, content: str, token_id: int) -> Json:
    """The entry of a token in ``added_tokens``, with its flags, under an id."""
    flags = {token["content"]: token for token in file.tokenizer.get("added_tokens") or []}
    return {**(flags.get(content) or _entry(content, token_id)), "id": token_id}


def tokens_put_around(processor: Json | None) -> set[str]:
    """Texts of the tokens that a post-processor adds."""
    found: set[str] = set()
    for part in unfold(processor):
        for token in part.get("special_tokens", {}).values():
            found.update(token["tokens"])
        found.update(part[name][0] for name in ("sep", "cls") if name in part)
    return found


def carry_post_processor(
    processor: Json | None, vocabulary: Mapping[str, int], texts: Mapping[str, str] | None = None
) -> Json | None:
    """Give a post-processor the new ids of the tokens that it adds.

    Args:
        processor: the source's.
        vocabulary: new ids by text.
        texts: new text by the source's text, for tokens that are written otherwise.
    """
    if processor is None:
        return None
    named = texts or {}

    def new(text: str) -> str:
        return named.get(text, text)

    kind = processor.get("type")
    if kind == "Sequence":
        members = [carry_post_processor(p, vocabulary, texts) for p in processor["processors"]]
        return {**processor, "processors": members}
    if kind in ("BertProcessing", "RobertaProcessing"):
        own = {name: new(processor[name][0]) for name in ("sep", "cls")}
        return {**processor, **{name: [text, vocabulary[text]] for name, text in own.items()}}
    if kind == "TemplateProcessing":
        tokens = {
            name: {
                **token,
                "ids": [vocabulary[new(text)] for text in token["tokens"]],
                "tokens": [new(text) for text in token["tokens"]],
            }
            for name, token in processor["special_tokens"].items()
        }
        return {**processor, "special_tokens": tokens}
    return processor


def carry_config(config: Json, source: TokenizerFile, kept: set[str]) -> Json:
    """Take over ``tokenizer_config.json`` without what holds for the source's ids alone.

    Args:
        config: the source's file.
        source: the source tokenizer, whose named tokens are added where the config lacks them.
        kept: texts of all tokens that exist in the new tokenizer.
    """
    carried: dict[str, Any] = {
        name: value for name, value in config.items() if name not in _ONLY_OF_THE_SOURCE_FOLDER
    }
    if source.scaffolds is not None:
        # Names the class that encodes the source exactly.
        carried.pop("auto_map", None)
    carried |= {f"{role}_token": text for role, text in source.named.items() if text in kept}
    for name in _TOKEN_LISTS:
        if name in carried:
            carried[name] = _only(carried[name], kept)
    # Some versions of transformers would otherwise take spaces out of decoded text.
    carried.setdefault("clean_up_tokenization_spaces", False)
    # Classes named after a model rebuild its own normaliser; this one takes the file's word.
    carried["tokenizer_class"] = "PreTrainedTokenizerFast"
    return carried


def _only(tokens: Any, kept: set[str]) -> Any:
    if isinstance(tokens, dict):
        return {name: token for name, token in tokens.items() if _content(token) in kept}
    return [token for token in tokens if _content(token) in kept]


def _content(token: Any) -> str:
    return str(token["content"] if isinstance(token, dict) else token)


def _entry(content: str, token_id: int) -> Json:
    return {
        "id": token_id,
        "content": content,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
    }
