"""GGUF files that are damaged, or hold what cannot be read rightly: one clear error each."""

from pathlib import Path

import numpy as np
import pytest
import torch
from gguf_files import TOKENS, close, imported, write_header, write_tiny

from infra.errors import CorruptFileError
from tasks.model.config import ModelConfig
from tasks.model.gguf_import import open_gguf_model
from tasks.model.task import import_model, lock_model
from tasks.shared.gguf_file import GgufFileError, UnsupportedGgufError, read_gguf


def test_unknown_architecture_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    writer = write_header(path, "mamba", {}, TOKENS)
    writer.add_tensor("x", np.zeros((1, 32), dtype=np.float32))
    close(writer)
    with pytest.raises(UnsupportedGgufError, match=r"'mamba'.*llama, phi3, qwen2"):
        open_gguf_model(path, torch.float32)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.05, 0.3, 0.99])
def test_truncated_file_is_one_clear_error(tmp_path: Path, share: float) -> None:
    path = write_tiny(tmp_path / "m.gguf")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(GgufFileError, match=r"m\.gguf .*cut short.*fetch it again"):
        read_gguf(path)


def test_other_file_is_no_gguf(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_text("This is not the file you are looking for. " * 10)
    with pytest.raises(GgufFileError, match="no GGUF file"):
        read_gguf(tmp_path / "a.gguf")


def test_missing_weight_is_named(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "m.gguf", without="blk.1.ffn_up.weight")
    with pytest.raises(GgufFileError, match=r"lacks 1 weights.*layers\.1\.mlp\.up_proj"):
        imported(path)


def test_weight_without_a_place_is_refused(tmp_path: Path) -> None:
    stray = {"blk.0.attn_sinks.weight": np.zeros((2, 32), dtype=np.float32)}
    path = write_tiny(tmp_path / "m.gguf", extra=stray)
    with pytest.raises(UnsupportedGgufError, match=r"attn_sinks.*safetensors"):
        imported(path)


def test_file_changed_after_the_lock_is_refused(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "m.gguf")
    config = ModelConfig.model_validate({"source": {"kind": "gguf", "path": str(path)}})
    lock = lock_model(config)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(CorruptFileError, match="no longer has the content"):
        import_model(config, lock)


def test_one_of_llama_cpps_own_parts_is_refused(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "m.gguf", changes={"split.no": 1, "split.count": 4})
    with pytest.raises(UnsupportedGgufError, match=r"file 2 of 4 .*llama-gguf-split --merge"):
        read_gguf(path)


def test_unknown_position_scaling_is_refused(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "m.gguf", changes={"llama.rope.scaling.type": "yarn"})
    with pytest.raises(UnsupportedGgufError, match="yarn"):
        open_gguf_model(path, torch.float32)
    divisors = np.linspace(1, 8, 32, dtype=np.float32)
    path = write_tiny(tmp_path / "n.gguf", extra={"rope_freqs.weight": divisors})
    with pytest.raises(UnsupportedGgufError, match="rope_freqs"):
        open_gguf_model(path, torch.float32)
