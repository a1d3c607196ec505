"""Rows for models of all architectures and dtypes: what is not a new row stays as it was."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from embedding_inputs import COMPOSED, MEAN, Inputs, assembled, extended, rows_of
from safetensors.torch import load_file, save_file
from small_models import ARCHITECTURES, imported, small_model, stored
from tokenizers import Tokenizer

from infra.artifacts import open_artifact
from infra.parquet import read_table
from tasks.embedding.config import EmbeddingConfig
from tasks.embedding.config_donor import Interpolation, LeastSquares, Omp
from tasks.embedding.config_learned import Hypernetwork
from tasks.embedding.config_lexical import DictionaryFile
from tasks.embedding.config_prealign import PreAlign
from tasks.embedding.config_source import Composed, MeanOfPieces, MergeTree, Normal
from tasks.embedding.config_text import Align, Focus, TokAlign, TokenDistillation
from tasks.embedding.task import initialise_embeddings
from tasks.model.config import ExportConfig
from tasks.model.new_rows import RowsMismatchError
from tasks.model.task import assemble_model
from tasks.shared.causality import NotCausalError


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("head", ["same", "untied", "prefix_prior", "first_piece"])
def test_whole_model_loads_and_only_its_rows_changed(
    architecture: str,
    head: str,
    tiny_model_folder: Path,
    small_corpus_texts: list[str],
    tmp_path: Path,
):
    folder = small_model(tmp_path / "model", tiny_model_folder, architecture)
    inputs = Inputs(folder, extended(folder, small_corpus_texts), small_corpus_texts)
    inputs.model = imported(folder)
    method = MergeTree(head=head) if head == "same" else Normal(head=head)
    embedding = inputs.initialise(
        EmbeddingConfig(initialiser=method, prefix_prior=COMPOSED.prefix_prior)
    )
    export = ExportConfig(pad_rows_to_multiple_of=64)
    assembled = assemble_model(export, inputs.model, inputs.tokenizer, embedding)

    was_tied = architecture.startswith("tied")
    assert assembled.summary["tied"] is (was_tied and head == "same")
    assert assembled.summary["n_rows_equal_by_rounding"] == 0
    assert assembled.summary.get("n_head_rows_equal_by_rounding", 0) == 0
    model_class = getattr(transformers, ARCHITECTURES[architecture][0])
    old = model_class.from_pretrained(folder).eval()
    new = model_class.from_pretrained(open_artifact(assembled)).eval()
    n_old, n_rows = old.config.vocab_size, new.config.vocab_size
    assert n_rows % 64 == 0
    assert n_rows >= inputs.n_tokens
    new_state = new.state_dict()
    for name, values in old.state_dict().items():
        if len(values) != n_old:
            assert torch.equal(new_state[name], values), name
    ids = torch.tensor([Tokenizer.from_file(str(folder / "tokenizer.json")).encode("the file").ids])
    with torch.inference_mode():
        before, after = old(ids).logits, new(ids).logits
    assert after.shape[-1] == n_rows
    if head != "prefix_prior":
        torch.testing.assert_close(after[..., :n_old], before, atol=1e-5, rtol=1e-5)
    assert int(after.argmax(dim=-1).max()) < inputs.n_tokens


SAME_HEAD = [
    MeanOfPieces(), MergeTree(), Composed(head="same"), Align(), Focus(), TokAlign(),
    TokenDistillation(head="same"), Omp(), Interpolation(), LeastSquares(),
    Hypernetwork(head="same"),
]  # fmt: skip


@pytest.mark.parametrize("tied", [True, False])
def test_the_same_tokenizer_gives_the_same_model(
    tied: bool, tiny_model_folder: Path, tiny_untied_model_folder: Path, tmp_path: Path
):
    """Methods with text or a donor need neither: their defaults ask for more than there is."""
    (tmp_path / "words.tsv").write_text("file\tDatei\n")
    prealign = PreAlign(head="same", dictionary=DictionaryFile(path=str(tmp_path / "words.tsv")))
    folder = tiny_model_folder if tied else tiny_untied_model_folder
    inputs = Inputs(folder, Tokenizer.from_file(str(folder / "tokenizer.json")), ["the file"])
    inputs.model = imported(folder)
    made = [
        inputs.initialise(
            EmbeddingConfig(initialiser=method), *([inputs.model] if method.needs_donor else [])
        )
        for method in ([*SAME_HEAD, prealign] if tied else [SAME_HEAD[0], *SAME_HEAD[-2:]])
    ]
    assert len({rows.digest for rows in made}) == 1
    found, old = stored(assembled(inputs, made[0])), stored(folder)
    assert found.keys() == old.keys()
    assert ("lm_head.weight" in found) is not tied
    for name, values in old.items():
        assert torch.equal(found[name], values), name


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_same_tokens_under_other_ids_give_the_same_logits_under_these_ids(
    architecture: str, tiny_model_folder: Path, tmp_path: Path
):
    folder = small_model(tmp_path / "model", tiny_model_folder, architecture)
    old_tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    record = json.loads(old_tokenizer.to_str())
    new_id_V = np.random.default_rng(0).permutation(old_tokenizer.get_vocab_size())
    vocabulary = record["model"]["vocab"]
    record["model"]["vocab"] = {text: int(new_id_V[i]) for text, i in vocabulary.items()}
    record["added_tokens"] = [t | {"id": int(new_id_V[t["id"]])} for t in record["added_tokens"]]
    new_tokenizer = Tokenizer.from_str(json.dumps(record))
    inputs = Inputs(folder, new_tokenizer, ["the file"])
    inputs.model = imported(folder)
    model_class = getattr(transformers, ARCHITECTURES[architecture][0])
    old = model_class.from_pretrained(folder).eval()
    new = model_class.from_pretrained(assembled(inputs, inputs.initialise(MEAN))).eval()

    text = "<|im_start|>the program reads a Größe<|im_end|>"
    old_ids, new_ids = (torch.tensor([t.encode(text).ids]) for t in (old_tokenizer, new_tokenizer))
    assert new_ids.tolist() == [new_id_V[old_ids[0]].tolist()] != old_ids.tolist()
    with torch.inference_mode():
        before, after = old(old_ids).logits, new(new_ids).logits
    assert torch.equal(after[..., new_id_V], before)
    ids = (old.config.bos_token_id, old.config.eos_token_id)
    assert (new.config.bos_token_id, new.config.eos_token_id) == tuple(new_id_V[list(ids)])


@pytest.mark.parametrize(
    ("method", "architecture", "dtype"),
    [
        (MeanOfPieces(), "untied with bias", "bfloat16"),
        (MeanOfPieces(), "tied with bias", "float16"),
        (Omp(k=8), "untied", "bfloat16"),
        (Align(), "tied", "float16"),
        (TokenDistillation(n_steps=1, head="first_piece"), "tied", "bfloat16"),
    ],
    ids=lambda value: getattr(value, "method", value),
)
def test_all_old_tensors_keep_their_dtype_and_bits(
    dtype: str, method: Omp, architecture: str, tiny_model_folder: Path,
    small_corpus_texts: list[str], tmp_path: Path,
):  # fmt: skip
    """A model in half precision with rows of no token before and after."""
    folder = small_model(tmp_path / "m", tiny_model_folder, architecture, dtype=dtype, more_rows=9)
    inputs = Inputs(folder, extended(folder, small_corpus_texts), small_corpus_texts)
    inputs.model = imported(folder)
    n_old = inputs.n_tokens - 60
    donor = []
    if method.needs_donor:
        files = open_artifact(inputs.tokenizer)
        donor = [imported(small_model(tmp_path / "donor", files, "tied", dtype=dtype))]
    embedding = initialise_embeddings(
        EmbeddingConfig(initialiser=method, fallback=("mean_of_pieces", "error")),
        *(inputs.model, inputs.tokenizer, inputs.tokens, inputs.corpus, *donor),
    )
    found, old = stored(assembled(inputs, embedding, multiple=64)), stored(folder)
    n_rows = inputs.n_tokens + -inputs.n_tokens % 64
    untied_here = {"lm_head.weight"} if method.head == "first_piece" else set()
    assert found.keys() - old.keys() == untied_here
    for name, values in found.items():
        assert values.dtype == getattr(torch, dtype), name
        before = old.get(name, old["model.embed_tokens.weight"] if name in untied_here else None)
        assert before is not None
        if len(before) == n_old + 9:
            assert len(values) == n_rows
            assert values.isfinite().all()
            assert torch.equal(values[:n_old], before[:n_old]), name
        else:
            assert torch.equal(values, before), name


def test_an_encoder_decoder_gets_rows_and_keeps_its_scale(
    tiny_model_folder: Path, small_corpus_texts: list[str], tmp_path: Path
):
    """T5 1.1 says that it is not tied, is tied all the same, and does not scale its states."""
    folder = small_model(tmp_path / "t5", tiny_model_folder, "encoder-decoder")
    record = json.loads((folder / "config.json").read_text()) | {"decoder_start_token_id": 0}
    record["tie_word_embeddings"] = False
    record.pop("scale_decoder_outputs", None)
    (folder / "config.json").write_text(json.dumps(record))
    inputs = Inputs(folder, extended(folder, small_corpus_texts), small_corpus_texts)
    inputs.model = imported(folder)
    model_class = transformers.T5ForConditionalGeneration
    old = model_class.from_pretrained(folder).eval()
    new = model_class.from_pretrained(assembled(inputs, inputs.initialise(MEAN), 64)).eval()
    n_old, ids = old.config.vocab_size, torch.tensor([[5, 17, 40]])
    with torch.inference_mode():
        before, after = (m(input_ids=ids, decoder_input_ids=ids).logits for m in (old, new))
    assert new.config.vocab_size % 64 == 0
    torch.testing.assert_close(after[..., :n_old], before, atol=1e-5, rtol=1e-5)

    untied = inputs.initialise(EmbeddingConfig(initialiser=MeanOfPieces(head="untied")))
    with pytest.raises(RowsMismatchError, match=r"T5ForConditionalGeneration ties .*head: same"):
        assembled(inputs, untied)


@pytest.mark.parametrize("architecture", ["tied with bias", "encoder-decoder"])
@pytest.mark.parametrize("method", [TokenDistillation(), Hypernetwork()], ids=lambda m: m.method)
def test_an_encoder_is_not_run_as_a_causal_model(
    method: TokenDistillation | Hypernetwork, architecture: str, tiny_model_folder: Path,
    small_corpus_texts: list[str], tmp_path: Path,
):  # fmt: skip
    folder = small_model(tmp_path / "m", tiny_model_folder, architecture)
    inputs = Inputs(folder, extended(folder, small_corpus_texts), small_corpus_texts)
    with pytest.raises(NotCausalError, match="an initialiser that does not run the model"):
        inputs.initialise(EmbeddingConfig(initialiser=method))


def test_a_prior_goes_into_a_head_bias_as_it_is(
    tiny_model_folder: Path, small_corpus_texts: list[str], tmp_path: Path
):
    """No hidden states are read for it, neither of an encoder nor of a model without text."""
    folder = small_model(tmp_path / "m", tiny_model_folder, "tied with bias")
    inputs = Inputs(folder, extended(folder, small_corpus_texts), small_corpus_texts)
    artifact = inputs.initialise(COMPOSED)
    rows, _ = rows_of(artifact)
    assert "constant_direction_spread" not in artifact.summary
    lineage = read_table(open_artifact(artifact) / "lineage.parquet").to_pylist()
    head = {row["id"]: row for row in lineage if row["part"] == "head"}
    bias = stored(folder)["cls.predictions.bias"]
    with_prior = [row for row in head.values() if row["method"] == "prefix_prior"]
    assert len(with_prior) > 60
    for row in with_prior:
        [first], prior = row["source_ids"], float(row["note"].rpartition("= ")[2])
        assert float(rows["head_bias"][row["id"]] - bias[first]) == pytest.approx(prior, abs=1e-3)


def test_an_encoder_decoder_with_a_tensor_that_no_class_asks_for_is_imported(
    tiny_model_folder: Path, tmp_path: Path
):
    """As the first T5 checkpoints have one."""
    folder = small_model(tmp_path / "t5", tiny_model_folder, "encoder-decoder")
    tensors = load_file(folder / "model.safetensors")
    needless = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    save_file(
        tensors | {needless: torch.ones(2, 2)}, folder / "model.safetensors", {"format": "pt"}
    )
    model = imported(folder)
    assert model.summary["not_causal"] == "it has an encoder beside its decoder"
    found = stored(open_artifact(model))
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
