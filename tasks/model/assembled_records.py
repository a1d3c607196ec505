"""Everything beside the weights of a model that got a new tokenizer."""

import shutil
from pathlib import Path

from tasks.model.model_folder import read_record
from tasks.model.new_rows import RowsMismatchError
from tasks.model.token_ids import updated_config, with_new_ids
from tasks.model.tokenizer_files import SHIPPED_TOKENIZER_FILES, write_json
from tasks.shared.model_rows import find_row_names
from tasks.shared.vocabulary import Vocabulary, match_ids, read_vocabulary

GENERATION_FILE = "generation_config.json"


def write_assembled_records(
    model: Path, tokenizer: Path, target: Path, n_rows: int, *, tied: bool, was_tied: bool
) -> None:
    """Write config, generation config and tokenizer files of the assembled model.

    Args:
        model: folder of the source model.
        tokenizer: folder of the new tokenizer.
        target: where to.
        n_rows: rows of the new embedding, padding included.
        tied: whether the head is the input embedding.
        was_tied: whether it is in the source.

    Raises:
        RowsMismatchError: the head is untied, and the architecture cannot part it from the input.
    """
    new: Vocabulary = read_vocabulary(tokenizer)
    # Turned round: here each OLD id asks for its counterpart among the new ones.
    new_ids: list[int] = match_ids(new, read_vocabulary(model)).tolist()

    def new_id(old: int) -> int:
        return new_ids[old] if 0 <= old < len(new_ids) else -1

    config = read_record(model / "config.json")
    config = updated_config(config, new.roles, new_id, n_rows, tied=tied, was_tied=was_tied)
    write_json(target / "config.json", config)
    if was_tied and not tied and find_row_names(target).tied:
        raise RowsMismatchError(
            f"{config['architectures'][0]} ties its head to the input rows whatever config.json "
            "says, so that head rows of their own have no place; give the initialiser head: same."
        )
    if (model / GENERATION_FILE).is_file():
        generation = read_record(model / GENERATION_FILE)
        generation = with_new_ids(generation, new.roles, new_id, GENERATION_FILE)
        write_json(target / GENERATION_FILE, generation)
    copy_files(tokenizer, target, SHIPPED_TOKENIZER_FILES)


def write_exported_records(base: Path, target: Path, dtype: str | None) -> None:
    """Copy config, generation config and tokenizer files; note a new dtype in the config."""
    config = read_record(base / "config.json")
    if dtype is not None:
        config = {key: value for key, value in config.items() if key != "torch_dtype"}
        config["dtype"] = dtype
    write_json(target / "config.json", config)
    copy_files(base, target, (GENERATION_FILE, *SHIPPED_TOKENIZER_FILES))


def copy_files(source: Path, target: Path, names: tuple[str, ...]) -> None:
    """Copy those of the named files that are there."""
    for name in names:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
