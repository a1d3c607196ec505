"""Which folders are imported, and which are refused with what advice."""

import json
import shutil
from pathlib import Path

import pytest

from tasks.model.folder_weights import model_class_of
from tasks.model.model_folder import (
    UnsupportedModelFolderError,
    card_licence,
    copy_records,
    imported_files,
)

WHOLE = ["config.json", "model.safetensors", "tokenizer.json"]


def test_only_what_a_model_needs_is_imported() -> None:
    others = ["modeling_mine.py", "consolidated.safetensors", "training_args.bin", "vocab.json"]
    assert imported_files([*WHOLE, *others, "chat_template.jinja"], "m") == sorted(
        [*WHOLE, "chat_template.jinja"]
    )


def test_pickled_weights_are_refused_with_a_remedy() -> None:
    with pytest.raises(UnsupportedModelFolderError, match=r"pytorch_model\.bin.*save_pretrained"):
        imported_files(["config.json", "tokenizer.json", "pytorch_model.bin"], "m")


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_missing_part_is_named(missing: str) -> None:
    named = "model\\*" if missing.startswith("model") else missing
    with pytest.raises(UnsupportedModelFolderError, match=named):
        imported_files([name for name in WHOLE if name != missing], "m")


def test_quantised_weights_are_refused(tiny_model_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model_folder, tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedModelFolderError, match=r"quantised \(gptq\)"):
        copy_records(folder, tmp_path)


def test_chat_template_inside_the_config_moves_to_its_file(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_model_folder, tmp_path / "m")
    (folder / "chat_template.jinja").unlink()
    record = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(record | {"chat_template": "{{ 1 }}"}))
    target = tmp_path / "out"
    target.mkdir()
    copy_records(folder, target)
    assert (target / "chat_template.jinja").read_text() == "{{ 1 }}"
    assert json.loads((target / "tokenizer_config.json").read_text()) == record


def test_unknown_architecture_never_runs_its_own_code(tmp_path: Path) -> None:
    config = {"model_type": "mine", "auto_map": {"AutoConfig": "mine.MineConfig"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "mine.py").write_text("raise SystemExit('ran')")
    with pytest.raises(UnsupportedModelFolderError, match="never run here"):
        model_class_of(tmp_path)


def test_a_class_without_head_names_what_is_needed(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(UnsupportedModelFolderError, match="LlamaForCausalLM"):
        model_class_of(tmp_path)


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlanguage: de\nlicense: apache-2.0\n---\n# M", "apache-2.0"),
        ("---\nlanguage: de\n---\nlicense: mit", None),
        ("license: mit", None),
    ],
)
def test_licence_is_read_from_the_front_matter_alone(
    tmp_path: Path, card: str, licence: str | None
) -> None:
    (tmp_path / "README.md").write_text(card)
    assert card_licence(tmp_path) == licence
