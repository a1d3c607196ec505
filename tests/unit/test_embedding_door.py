"""The embedding stage on a real tiny model, from artifacts to artifacts."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from embedding_inputs import COMPOSED, MEAN, Inputs, artifact_of, extended, rows_of
from safetensors.torch import load_file, save_file
from small_models import stored
from tokenizers import AddedToken, Tokenizer

from infra.artifacts import Artifact, open_artifact
from infra.parquet import read_table, write_table
from tasks.embedding.config import EmbeddingConfig
from tasks.embedding.config_base import PrefixPrior
from tasks.embedding.config_source import Composed, Mean, MergeRegression
from tasks.embedding.constant_direction import NoConstantDirectionError
from tasks.embedding.prefix_prior import CountsError
from tasks.shared.extra_tokens import ExtraTokens, ToolToken
from tasks.shared.vocabulary import UncoverableTokenError


@pytest.mark.parametrize("config", [MEAN, COMPOSED], ids=["mean", "composed"])
def test_same_tokenizer_changes_no_bit(
    config: EmbeddingConfig, tiny_untied_model_folder: Path, small_corpus_texts: list[str]
):
    tokenizer = Tokenizer.from_file(str(tiny_untied_model_folder / "tokenizer.json"))
    artifact = Inputs(tiny_untied_model_folder, tokenizer, small_corpus_texts).initialise(config)
    rows, record = rows_of(artifact)
    old = stored(tiny_untied_model_folder)
    assert torch.equal(rows["input_rows"], old["model.embed_tokens.weight"])
    assert torch.equal(rows["head_rows"], old["lm_head.weight"])
    assert record["tie_word_embeddings"] is record["untied_by_method"] is False
    assert artifact.summary["n_initialised"] == 0


def test_mean_keeps_a_tied_model_tied(tiny_model_folder: Path, small_corpus_texts: list[str]):
    tokenizer = extended(tiny_model_folder, small_corpus_texts)
    artifact = Inputs(tiny_model_folder, tokenizer, small_corpus_texts).initialise(MEAN)
    rows, record = rows_of(artifact)
    old = stored(tiny_model_folder)["model.embed_tokens.weight"]
    assert set(rows) == {"input_rows"}
    assert record["tie_word_embeddings"] is True
    assert torch.equal(rows["input_rows"][: len(old)], old)
    assert (artifact.summary["n_copied"], artifact.summary["n_initialised"]) == (len(old), 60)
    lineage = read_table(open_artifact(artifact) / "lineage.parquet").to_pylist()
    for row in lineage:
        assert sum(row["weights"]) == pytest.approx(1.0, abs=1e-6)
        rebuilt = torch.tensor(row["weights"]) @ old[row["source_ids"]]
        torch.testing.assert_close(rows["input_rows"][row["id"]], rebuilt, atol=1e-6, rtol=0)


def test_composed_unties_a_tied_model_and_repeats_itself(
    tiny_model_folder: Path, small_corpus_texts: list[str]
):
    tokenizer = extended(tiny_model_folder, small_corpus_texts)
    inputs = Inputs(tiny_model_folder, tokenizer, small_corpus_texts)
    artifact = inputs.initialise(COMPOSED)
    rows, record = rows_of(artifact)
    old = stored(tiny_model_folder)["model.embed_tokens.weight"]
    assert record["untied_by_method"] is artifact.summary["untied"] is True
    assert record["tie_word_embeddings"] is False
    assert rows["input_rows"].shape == rows["head_rows"].shape == (inputs.n_tokens, 32)
    assert torch.equal(rows["input_rows"][: len(old)], old)
    assert rows["input_rows"].dtype == torch.float32
    lineage = read_table(open_artifact(artifact) / "lineage.parquet")
    assert lineage["part"].to_pylist() == ["input"] * inputs.n_tokens + ["head"] * inputs.n_tokens
    assert set(lineage["method"].to_pylist()) >= {"copied", "composed", "prefix_prior"}

    again = artifact_of_second_run(inputs)
    assert again.uri != artifact.uri
    assert again.digest == artifact.digest


def test_views_show_new_rows_and_repeat_themselves(
    tiny_model_folder: Path, small_corpus_texts: list[str]
):
    inputs = Inputs(
        tiny_model_folder, extended(tiny_model_folder, small_corpus_texts), small_corpus_texts
    )
    artifact = inputs.initialise(MEAN)
    again = inputs.initialise(
        MEAN.model_copy(update={"special_tokens": {"<|im_end|>": "<|im_end|>"}})
    )
    tables = {
        name: read_table(open_artifact(artifact) / f"{name}.parquet")
        for name in ("neighbours", "map", "norms")
    }
    for name, found in tables.items():
        assert found.equals(read_table(open_artifact(again) / f"{name}.parquet"))
    n_old = inputs.n_tokens - 60
    assert sum(tables["map"]["is_new"].to_pylist()) == 60
    assert tables["map"].num_rows == inputs.n_tokens
    old = stored(tiny_model_folder)["model.embed_tokens.weight"]
    new = rows_of(artifact)[0]["input_rows"]
    listed = tables["neighbours"].to_pylist()
    assert len({row["id"] for row in listed}) == 24
    assert min(row["id"] for row in listed) >= n_old
    for row in listed:
        cosine = torch.nn.functional.cosine_similarity(new[row["id"]], old[row["neighbour_ids"]])
        torch.testing.assert_close(torch.tensor(row["cosines"]), cosine, atol=1e-5, rtol=0)
    norms = tables["norms"].filter(tables["norms"]["is_new"]).to_pylist()
    assert norms[50]["norm"] == pytest.approx(artifact.summary["median_norm_new"], rel=1e-5)


def artifact_of_second_run(inputs: Inputs) -> Artifact:
    """Another key, the same rows: an override that changes nothing."""
    config = COMPOSED.model_copy(update={"special_tokens": {"<|im_end|>": "<|im_end|>"}})
    return inputs.initialise(config)


def test_random_model_has_no_constant_direction(
    tiny_model_folder: Path, small_corpus_texts: list[str]
):
    tokenizer = extended(tiny_model_folder, small_corpus_texts)
    config = EmbeddingConfig(
        initialiser=Composed(), prefix_prior=PrefixPrior(max_direction_spread=1e-6)
    )
    with pytest.raises(NoConstantDirectionError, match="mean_of_pieces"):
        Inputs(tiny_model_folder, tokenizer, small_corpus_texts).initialise(config)


def test_new_special_token_needs_a_word_from_the_config(
    tiny_model_folder: Path, small_corpus_texts: list[str]
):
    tokenizer = Tokenizer.from_file(str(tiny_model_folder / "tokenizer.json"))
    tokenizer.add_special_tokens([AddedToken("<|tool|>", special=True)])
    inputs = Inputs(tiny_model_folder, tokenizer, small_corpus_texts)
    with pytest.raises(UncoverableTokenError, match=r"<\|tool\|>"):
        inputs.initialise(MEAN)

    filled = inputs.initialise(MEAN.model_copy(update={"fallback": ("mean",)}))
    assert filled.summary["n_fallback"] == 1
    last = read_table(open_artifact(filled) / "lineage.parquet").to_pylist()[-1]
    assert last["method"] == "fallback"

    mapped = inputs.initialise(
        MEAN.model_copy(update={"special_tokens": {"<|tool|>": "<|im_end|>"}})
    )
    rows, _ = rows_of(mapped)
    assert torch.equal(rows["input_rows"][-1], rows["input_rows"][2])


@pytest.mark.parametrize("config", [MEAN, COMPOSED], ids=["mean", "composed"])
def test_tools_and_reserved_tokens_need_no_fallback(
    config: EmbeddingConfig, tiny_model_folder: Path, small_corpus_texts: list[str]
):
    tokenizer = extended(tiny_model_folder, small_corpus_texts)
    start = tokenizer.get_vocab_size()
    names = ("<|search|>", "<|reserved_0|>", "<|reserved_1|>")
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in names])
    extra = ExtraTokens({start: ToolToken("<|search|>", "reads the file")}, (start + 1, start + 2))
    inputs = Inputs(tiny_model_folder, tokenizer, small_corpus_texts, extra)
    described = inputs.initialise(config)
    named = inputs.initialise(config.model_copy(update={"tool_tokens": "name"}))
    assert (described.summary["n_tool_text"], described.summary["n_reserved"]) == (1, 2)
    old = stored(tiny_model_folder)["model.embed_tokens.weight"]
    source = Tokenizer.from_file(str(tiny_model_folder / "tokenizer.json"))
    for artifact, text in ((described, "reads the file"), (named, "search")):
        rows, _ = rows_of(artifact)
        wanted = old[source.encode(text).ids].mean(dim=0)
        for part in rows.values():  # the source is tied, so both sides start from the same rows
            torch.testing.assert_close(part[start], wanted)
            others = part[: start + 1].mean(dim=0)
            torch.testing.assert_close(part[start + 1 :], others.expand(2, -1))


def test_terms_of_one_type_share_a_part_of_their_rows(
    tiny_model_folder: Path, small_corpus_texts: list[str]
):
    inputs = Inputs(
        tiny_model_folder, extended(tiny_model_folder, small_corpus_texts), small_corpus_texts
    )
    terms = [inputs.n_tokens - 3, inputs.n_tokens - 1]
    types = ["law" if i in terms else None for i in range(inputs.n_tokens)]
    columns = {"id": range(inputs.n_tokens), "term_type": pa.array(types, pa.string())}
    files = open_artifact(inputs.tokenizer)

    def write(place: Path) -> None:
        of_its_own = shutil.ignore_patterns("manifest.json")
        shutil.copytree(files, place, dirs_exist_ok=True, ignore=of_its_own)
        write_table(place / "vocabulary.parquet", pa.table(columns))

    inputs.tokenizer = artifact_of("tokenizer", write)
    alone, shared = (
        rows_of(inputs.initialise(MEAN.model_copy(update={"type_share": share})))[0]["input_rows"]
        for share in (0.0, 0.5)
    )
    wanted = (alone[terms] + alone[terms].mean(dim=0)) / 2
    torch.testing.assert_close(shared[terms], wanted)
    others = [i for i in range(inputs.n_tokens) if i not in terms]
    assert torch.equal(shared[others], alone[others])


def test_counts_of_another_tokenizer_are_refused(
    tiny_model_folder: Path, small_corpus_texts: list[str]
):
    small = Tokenizer.from_file(str(tiny_model_folder / "tokenizer.json"))
    wrong = Inputs(tiny_model_folder, small, small_corpus_texts[:20])
    tokenizer = extended(tiny_model_folder, small_corpus_texts)
    inputs = Inputs(tiny_model_folder, tokenizer, small_corpus_texts[20:])
    inputs.tokens = wrong.tokens
    with pytest.raises(CountsError, match="make the token shards with this tokenizer"):
        inputs.initialise(COMPOSED)


@pytest.mark.parametrize("method", [Mean(), MergeRegression()], ids=lambda m: m.method)
def test_rows_that_no_token_has_take_no_part(
    method: Mean, tiny_model_folder: Path, small_corpus_texts: list[str], tmp_path: Path
):
    longer = shutil.copytree(tiny_model_folder, tmp_path / "longer")
    tensors = load_file(longer / "model.safetensors")
    name = "model.embed_tokens.weight"
    tensors[name] = torch.cat([tensors[name], torch.full((5, 32), 7.0)])
    save_file(tensors, longer / "model.safetensors", {"format": "pt"})
    record = json.loads((longer / "config.json").read_text())
    record["vocab_size"] += 5
    (longer / "config.json").write_text(json.dumps(record))
    tokenizer = extended(tiny_model_folder, small_corpus_texts)
    config = EmbeddingConfig(initialiser=method)
    plain, padded = (
        rows_of(Inputs(folder, tokenizer, small_corpus_texts[:40]).initialise(config))[0]
        for folder in (tiny_model_folder, longer)
    )
    assert torch.equal(padded["input_rows"], plain["input_rows"])
