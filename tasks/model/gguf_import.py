"""A GGUF file as a model folder: config, generation config, tokenizer, and a stream of weights."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import PretrainedConfig

from tasks.model.gguf_weights import read_config, unpacked_tensors
from tasks.model.tokenizer_files import write_json, write_tokenizer
from tasks.shared.gguf_file import GgufFile, read_gguf
from tasks.shared.gguf_tokenizer import ImportedTokenizer, build_tokenizer

_UNQUANTISED = ("F64", "F32", "F16", "BF16")


@dataclass(frozen=True)
class GgufModelFile:
    """A GGUF file that was read and found to be importable."""

    gguf: GgufFile
    config: PretrainedConfig
    tokenizer: ImportedTokenizer
    dtype: torch.dtype

    @property
    def is_quantised(self) -> bool:
        """Whether most weights are stored in blocks of few bits."""
        return self.gguf.quantisation not in _UNQUANTISED

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Every weight by its name in transformers."""
        return unpacked_tensors(self.gguf, self.config, self.dtype)

    def write_records(self, folder: Path) -> None:
        """Write config.json, generation_config.json and the tokenizer files."""
        ids = {
            f"{role}_token_id": self.tokenizer.tokenizer.token_to_id(text)
            for role, text in self.tokenizer.roles.items()
            if role in ("bos", "eos", "pad")
        }
        dtype = str(self.dtype).removeprefix("torch.")
        write_json(folder / "config.json", self.config.to_dict() | ids | {"dtype": dtype})
        write_json(folder / "generation_config.json", ids)
        length = int(self.gguf.require(f"{self.gguf.architecture}.context_length"))
        template = self.tokenizer.chat_template
        write_tokenizer(folder, self.tokenizer.tokenizer, self.tokenizer.roles, template, length)


def open_gguf_model(path: Path, dtype: torch.dtype) -> GgufModelFile:
    """Read everything but the weights, so that whatever is unsupported fails before any work.

    Raises:
        GgufFileError: the file is damaged.
        UnsupportedGgufError: its architecture or tokenizer is not known.
        UnknownPreTokenizerError: its pre-tokenizer is not.
    """
    gguf = read_gguf(path)
    return GgufModelFile(gguf, read_config(gguf, dtype), build_tokenizer(gguf), dtype)
