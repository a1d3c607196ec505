import shutil
from pathlib import Path

import pytest
import torch

from tasks.shared.document_prefix import NoDocumentPrefixError, document_prefix_id
from tasks.shared.model_loading import ModelFolderError, load_causal_lm, load_tokenizer


def test_a_model_loads_in_its_stored_dtype_and_without_a_word(
    tiny_model_folder: Path, capfd: pytest.CaptureFixture[str]
):
    model = load_causal_lm(tiny_model_folder)
    assert not model.training
    assert model.dtype == torch.float32
    assert load_causal_lm(tiny_model_folder, torch.bfloat16).dtype == torch.bfloat16
    assert capfd.readouterr() == ("", "")


def test_a_special_token_quoted_in_a_text_is_text(tiny_model_folder: Path):
    tokenizer = load_tokenizer(tiny_model_folder)
    special = next(t for t in tokenizer.get_added_tokens_decoder().values() if t.special)
    ids = tokenizer.encode(f"a{special.content}b", add_special_tokens=False).ids
    assert tokenizer.token_to_id(special.content) not in ids
    assert tokenizer.decode(ids) == f"a{special.content}b"


def test_truncated_weights_are_named(tiny_model_folder: Path, tmp_path: Path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_model_folder, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelFolderError, match=r"model\.safetensors is truncated or damaged"):
        load_causal_lm(folder)


def test_a_missing_parameter_is_an_error_and_not_random(tiny_model_folder: Path, tmp_path: Path):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "model"
    shutil.copytree(tiny_model_folder, folder)
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelFolderError, match=r"lacks 1 parameters .*model\.norm\.weight"):
        load_causal_lm(folder)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_an_incomplete_folder_is_refused(tiny_model_folder: Path, tmp_path: Path, missing: str):
    folder = tmp_path / "model"
    shutil.copytree(tiny_model_folder, folder)
    (folder / missing).unlink()
    with pytest.raises(ModelFolderError, match="has no"):
        load_causal_lm(folder)


def test_a_broken_tokenizer_is_refused(tmp_path: Path):
    with pytest.raises(ModelFolderError, match=r"no tokenizer\.json"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"model":')
    with pytest.raises(ModelFolderError, match="no readable tokenizer"):
        load_tokenizer(tmp_path)


def test_the_separator_goes_before_a_document_and_eos_stands_in_for_it():
    assert document_prefix_id({"bos": 1, "eos": 2, "document_separator": 0}) == 0
    assert document_prefix_id({"bos": 1, "eos": 2}) == 2
    assert document_prefix_id({"bos": 1}) == 1


def test_a_tokenizer_without_any_such_token_is_refused():
    with pytest.raises(NoDocumentPrefixError, match="'unk'"):
        document_prefix_id({"unk": 3})
