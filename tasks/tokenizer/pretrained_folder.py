"""The files of a pretrained tokenizer in a model's place."""

from collections.abc import Sequence
from pathlib import Path

from tasks.shared.vocabulary_file import Json, TokenizerFile
from tasks.tokenizer.adoption import adopt
from tasks.tokenizer.carry_over import carry_config
from tasks.tokenizer.config import Pretrained
from tasks.tokenizer.folder import (
    TEMPLATE,
    read_config,
    read_template,
    write_beside,
    write_files,
)
from tasks.tokenizer.trained import Trained
from tasks.tokenizer.training import with_extra_tokens


def adopt_in_folder(
    folder: Path, source: TokenizerFile, config: Pretrained, donor: TokenizerFile
) -> Trained:
    """Write the files of a pretrained tokenizer, with what the model needs.

    Args:
        folder: where to write.
        source: the model's own tokenizer.
        config: forms and roles.
        donor: the pretrained tokenizer, whose folder holds its config and chat template.
    """
    own_template = read_template(donor.folder)
    template = "" if own_template else read_template(source.folder)
    dropped = [role for role, text in config.roles.items() if text is None]
    adopted = adopt(donor, source, template, dropped)
    file = adopted.file
    kept = {content for _, content, _ in file.added} | {*file.named.values()}
    record = carry_config(_own_config(donor.folder, dropped), file, kept)
    origin = donor.folder if own_template else source.folder
    for name, folder_of in (("model_max_length", source.folder), ("chat_template", origin)):
        record |= {key: value for key, value in read_config(folder_of).items() if key == name}
    made = with_extra_tokens(Trained(file.tokenizer, carried=adopted.carried), config)
    write_files(folder, made.tokenizer, record, origin / TEMPLATE)
    write_beside(folder, made, file, config.exports)
    return made


def _own_config(folder: Path, dropped: Sequence[str]) -> Json:
    """A pretrained tokenizer's config without what code outside or another model's size says."""
    no_longer = {
        *("model_max_length", "auto_map", "add_bos_token", "add_eos_token"),
        *(f"{role}_token" for role in dropped),
    }
    return {key: value for key, value in read_config(folder).items() if key not in no_longer}
