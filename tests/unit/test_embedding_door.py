"""The embedding stage on a real tiny model, from artifacts to artifacts."""

import json
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from itertools import count, product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
import transformers
from bpe_continue import continue_training
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer

from infra.artifacts import Artifact, open_artifact, read_artifact
from infra.keys import file_sha256
from infra.parquet import read_table, write_table
from infra.stages import StageCall, run_call
from tasks.embedding.anchors import DonorLacksTokensError
from tasks.embedding.config import EmbeddingConfig
from tasks.embedding.config_base import PrefixPrior
from tasks.embedding.config_donor import Interpolation, LeastSquares, Omp
from tasks.embedding.config_learned import (
    HiddenStates,
    Hypernetwork,
    HyperOfa,
    NetworkFile,
    NextToken,
    TrainedNetwork,
)
from tasks.embedding.config_lexical import DictionaryFile
from tasks.embedding.config_prealign import PreAlign
from tasks.embedding.config_source import (
    Composed,
    Mean,
    MeanOfPieces,
    MergeRegression,
    MergeTree,
    Normal,
)
from tasks.embedding.config_text import (
    Align,
    Focus,
    TokAlign,
    TokenDistillation,
    TokenVectors,
)
from tasks.embedding.config_vectors import WordVectorFile
from tasks.embedding.constant_direction import NoConstantDirectionError
from tasks.embedding.network_file import NetworkFileError
from tasks.embedding.prefix_prior import CountsError
from tasks.embedding.task import initialise_embeddings, lock_embedding_files
from tasks.model.config import ExportConfig, ModelConfig
from tasks.model.new_rows import RowsMismatchError
from tasks.model.task import assemble_model, import_model, lock_model
from tasks.shared.causality import NotCausalError
from tasks.shared.extra_tokens import ExtraTokens, ToolToken, write_extra_tokens
from tasks.shared.vocabulary import UncoverableTokenError

MEAN = EmbeddingConfig(initialiser=MeanOfPieces())
# A random model's hidden states agree on nothing; here only the path counts.
COMPOSED = EmbeddingConfig(
    initialiser=Composed(),
    prefix_prior=PrefixPrior(
        direction_positions=512, direction_window_tokens=32, max_direction_spread=1e6
    ),
)

NUMBERS = count()


def artifact_of(stage: str, write: Callable[[Path], None]) -> Artifact:
    def body(attempt):
        write(attempt.folder)
        return {}

    call = StageCall(stage, 1, {"number": next(NUMBERS)}, ())
    return run_call(call, 1, body, lambda done, total, text: None)


class Inputs:
    """Artifacts the stage reads, made of a model folder and a tokenizer."""

    def __init__(
        self,
        folder: Path,
        tokenizer: Tokenizer,
        texts: list[str],
        extra: ExtraTokens | None = None,
    ) -> None:
        self.folder = folder
        self.n_tokens = tokenizer.get_vocab_size()
        ids = [e.ids for e in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
        counts = np.bincount([i for one in ids for i in one], minlength=self.n_tokens)
        table = pa.table({"id": np.arange(self.n_tokens, dtype=np.int32), "count": counts})
        corpus = pa.table({"text": texts, "n_bytes": [len(t.encode()) for t in texts]})

        def write_tokenizer(place: Path) -> None:
            tokenizer.save(str(place / "tokenizer.json"))
            shutil.copy(folder / "tokenizer_config.json", place)
            write_extra_tokens(place, extra or ExtraTokens())

        def write_tokens(place: Path) -> None:
            write_table(place / "counts.parquet", table)
            shard = pa.table({"ids": pa.array(ids, pa.list_(pa.uint32()))})
            write_table(place / "tokens-00000.parquet", shard)

        self.model = artifact_of("model", lambda p: shutil.copytree(folder, p, dirs_exist_ok=True))
        self.tokenizer = artifact_of("tokenizer", write_tokenizer)
        self.tokens = artifact_of("tokens", write_tokens)
        self.corpus = artifact_of(
            "corpus", lambda p: write_table(p / "train-00000.parquet", corpus)
        )

    def initialise(self, config: EmbeddingConfig, *others: Artifact) -> Artifact:
        files = config.initialiser.outside_files
        locks = [] if files is None else [lock_embedding_files(files)]
        inputs = self.model, self.tokenizer, self.tokens, self.corpus
        return initialise_embeddings(config, *inputs, *others, *locks)


def rows_of(artifact: Artifact) -> tuple[dict[str, torch.Tensor], dict]:
    folder = open_artifact(artifact)
    record = json.loads((folder / "embedding.json").read_text())
    return load_file(folder / "embeddings.safetensors"), record


def old_rows(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def extended(folder: Path, texts: list[str], n_new: int = 60) -> Tokenizer:
    base = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return continue_training(
        base, vocab_size=base.get_vocab_size() + n_new, texts=texts, show_progress=False
    )


@pytest.mark.parametrize("config", [MEAN, COMPOSED], ids=["mean", "composed"])
def test_same_tokenizer_changes_no_bit(
    config: EmbeddingConfig, tiny_untied_model_folder: Path, small_corpus_texts: list[str]
):
    tokenizer = Tokenizer.from_file(str(tiny_untied_model_folder / "tokenizer.json"))
    artifact = Inputs(tiny_untied_model_folder, tokenizer, small_corpus_texts).initialise(config)
    rows, record = rows_of(artifact)
    old = old_rows(tiny_untied_model_folder)
    assert torch.equal(rows["input_rows"], old["model.embed_tokens.weight"])
    assert torch.equal(rows["head_rows"], old["lm_head.weight"])
    assert record["tie_word_embeddings"] is record["untied_by_method"] is False
    assert artifact.summary["n_initialised"] == 0


def test_mean_keeps_a_tied_model_tied(tiny_model_folder: Path, small_corpus_texts: list[str]):
    tokenizer = extended(tiny_model_folder, small_corpus_texts)
    artifact = Inputs(tiny_model_folder, tokenizer, small_corpus_texts).initialise(MEAN)
    rows, record = rows_of(artifact)
    old = old_rows(tiny_model_folder)["model.embed_tokens.weight"]
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
    old = old_rows(tiny_model_folder)["model.embed_tokens.weight"]
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
    old = old_rows(tiny_model_folder)["model.embed_tokens.weight"]
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
    old = old_rows(tiny_model_folder)["model.embed_tokens.weight"]
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


ARCHITECTURES = {
    "tied": ("LlamaForCausalLM", {"tie_word_embeddings": True}),
    "untied": ("LlamaForCausalLM", {"tie_word_embeddings": False}),
    "untied with bias": ("PhiForCausalLM", {}),
    "tied with bias": ("BertForMaskedLM", {}),
}
ENCODER_DECODER = ("T5ForConditionalGeneration", {"num_layers": 1, "d_ff": 8, "d_kv": 16})


def small_model(
    folder: Path,
    tokenizer_of: Path,
    architecture: str,
    *,
    dtype: str = "float32",
    more_rows: int = 0,
) -> Path:
    """A random model of some class with the tiny model's tokenizer, its bias not zero.

    ``more_rows`` belong to no token.
    """
    name, choices = ARCHITECTURES.get(architecture, ENCODER_DECODER)
    model_class = getattr(transformers, name)
    n_tokens = Tokenizer.from_file(str(tokenizer_of / "tokenizer.json")).get_vocab_size()
    shape = {"hidden_size": 32, "intermediate_size": 8, "num_hidden_layers": 1}
    shape |= {
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "vocab_size": n_tokens + more_rows,
    }
    torch.manual_seed(0)
    config = model_class.config_class(**shape, **choices, bos_token_id=1, eos_token_id=2)
    model = model_class(config)
    head = model.get_output_embeddings()
    if head.bias is not None:
        torch.nn.init.normal_(head.bias)
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer_of / file, folder)
    return folder


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


def imported(folder: Path) -> Artifact:
    config = ModelConfig.model_validate({"source": {"kind": "directory", "path": str(folder)}})
    return import_model(config, lock_model(config))


def assembled(inputs: Inputs, embedding: Artifact, multiple: int = 1) -> Path:
    export = ExportConfig(pad_rows_to_multiple_of=multiple)
    return open_artifact(assemble_model(export, inputs.model, inputs.tokenizer, embedding))


def stored(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


VECTORS = TokenVectors(dimensions=8, epochs=1, min_count=1, max_ngram_bytes=0, n_buckets=10)


@pytest.mark.skipif(find_spec("fasttext") is None, reason="needs the extra vectors")
@pytest.mark.parametrize(
    "method",
    [
        Focus(vectors=VECTORS),
        Align(add_pieces=True),
        TokAlign(vectors=VECTORS, n_pivots=8),
        TokenDistillation(
            head="same", start="mean_of_pieces", n_steps=3, windows_per_step=2, window_tokens=32,
            compute_dtype="float32",
        ),
    ],
    ids=lambda method: method.method,
)  # fmt: skip
def test_initialisers_that_read_text_leave_old_rows_and_explain_new_ones(
    tiny_model_folder: Path, small_corpus_texts: list[str], method: Focus
):
    inputs = Inputs(
        tiny_model_folder, extended(tiny_model_folder, small_corpus_texts), small_corpus_texts
    )
    config = EmbeddingConfig(initialiser=method, fallback=("mean_of_pieces", "error"))
    artifact = inputs.initialise(config)
    rows, record = rows_of(artifact)
    old = old_rows(tiny_model_folder)["model.embed_tokens.weight"]
    assert record["tie_word_embeddings"]
    assert torch.equal(rows["input_rows"][: len(old)], old)
    made = rows["input_rows"][len(old) :]
    assert made.isfinite().all()
    assert made.norm(dim=1).min() > 0
    lineage = read_table(open_artifact(artifact) / "lineage.parquet").to_pylist()
    methods = {row["method"] for row in lineage if row["id"] >= len(old)}
    assert method.method in methods
    assert methods <= {method.method, "fallback"}
    if isinstance(method, TokenDistillation):
        losses = read_table(open_artifact(artifact) / "losses.parquet")["loss"].to_pylist()
        assert len(losses) == 3
        assert artifact.summary["n_trained"] > 0
    again = inputs.initialise(config.model_copy(update={"fallback_seed": 1}))
    assert torch.equal(rows_of(again)[0]["input_rows"], rows["input_rows"])


@pytest.mark.parametrize(
    ("method", "of_donor", "of_base"),
    [
        *((Omp(k=8), *tying) for tying in product(["tied", "untied"], repeat=2)),
        (Omp(k=8, normalised=True), "tied", "tied"),
        (Interpolation(k=4), "untied", "tied"),
        (LeastSquares(), "tied", "untied"),
    ],
    ids=lambda value: getattr(value, "method", value),
)
def test_a_donor_with_the_new_tokenizer_lends_its_geometry(
    method: Omp, of_donor: str, of_base: str, tiny_model_folder: Path,
    small_corpus_texts: list[str], tmp_path: Path,
):  # fmt: skip
    tokenizer = extended(tiny_model_folder, small_corpus_texts)
    donor_files = tmp_path / "tokenizer"
    donor_files.mkdir()
    tokenizer.save(str(donor_files / "tokenizer.json"))
    shutil.copy(tiny_model_folder / "tokenizer_config.json", donor_files)
    donor_folder = small_model(tmp_path / "donor", donor_files, of_donor, more_rows=4)
    base_folder = small_model(tmp_path / "base", tiny_model_folder, of_base)
    inputs = Inputs(base_folder, tokenizer, small_corpus_texts)
    donor = artifact_of("model", lambda p: shutil.copytree(donor_folder, p, dirs_exist_ok=True))
    artifact = initialise_embeddings(
        EmbeddingConfig(initialiser=method),
        *(inputs.model, inputs.tokenizer, inputs.tokens, inputs.corpus, donor),
    )
    rows, _ = rows_of(artifact)
    names = {"input_rows": "model.embed_tokens.weight", "head_rows": "lm_head.weight"}
    assert set(rows) == set(names if of_base == "untied" else ["input_rows"])
    for part, made in rows.items():
        old = stored(base_folder)[names[part]]
        assert torch.equal(made[: len(old)], old)
        assert made.isfinite().all()
        assert made.norm(dim=1).min() > 0
    lineage = read_table(open_artifact(artifact) / "lineage.parquet").to_pylist()
    assert {row["method"] for row in lineage if row["id"] >= len(old)} == {method.method}


def test_a_donor_without_the_new_tokens_is_refused(
    tiny_model_folder: Path, small_corpus_texts: list[str]
):
    inputs = Inputs(
        tiny_model_folder, extended(tiny_model_folder, small_corpus_texts), small_corpus_texts
    )
    with pytest.raises(DonorLacksTokensError, match="no row for 60 of 60 tokens"):
        initialise_embeddings(
            EmbeddingConfig(initialiser=Omp(k=8)),
            *(inputs.model, inputs.tokenizer, inputs.tokens, inputs.corpus, inputs.model),
        )


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
    bias = old_rows(folder)["cls.predictions.bias"]
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


def network(**choices: object) -> TrainedNetwork:
    few = {"hidden": 16, "n_steps": 3, "windows_per_step": 2, "window_tokens": 32}
    return TrainedNetwork.model_validate(few | {"compute_dtype": "float32"} | choices)


@pytest.mark.parametrize(
    ("head", "choices", "untied"),
    [
        ("same", {"loss": NextToken(n_negatives=20)}, False),
        ("untied", {"loss": NextToken(n_negatives=20), "max_pieces": 2}, True),
        ("first_piece", {"loss": HiddenStates(n_body_layers=1)}, False),
        ("first_piece", {"loss": NextToken(n_negatives=20), "min_merge_share": 0.0}, True),
    ],
)
def test_a_network_makes_rows_and_makes_them_again(
    head: str, choices: dict, untied: bool, tiny_model_folder: Path,
    tiny_untied_model_folder: Path, small_corpus_texts: list[str],
):  # fmt: skip
    folder = tiny_untied_model_folder if untied else tiny_model_folder
    inputs = Inputs(folder, extended(folder, small_corpus_texts), small_corpus_texts)
    trained = Hypernetwork(head=head, network=network(**choices))
    artifact = inputs.initialise(EmbeddingConfig(initialiser=trained))
    rows, record = rows_of(artifact)
    assert record["tie_word_embeddings"] is (head == "same" and not untied)
    old = old_rows(folder)["model.embed_tokens.weight"]
    means, _ = rows_of(inputs.initialise(MEAN))
    for part in rows.values():
        assert part[len(old) :].isfinite().all()
        assert part[len(old) :].norm(dim=1).min() > 0
    assert torch.equal(rows["input_rows"][: len(old)], old)
    assert (rows["input_rows"][len(old) :] != means["input_rows"][len(old) :]).any(dim=1).all()
    at = open_artifact(artifact)
    about = json.loads((at / "network.json").read_text())
    assert about["model_digest"] == inputs.model.digest
    assert about["shape"]["n_sides"] == (2 if untied and head == "untied" else 1)
    assert len(read_table(at / "losses.parquet")) == 3
    last = read_table(at / "lineage.parquet").to_pylist()[len(old)]
    assert (last["method"], sum(last["weights"])) == ("hypernetwork", pytest.approx(1.0))
    assert last["note"] == "plus what a network adds to the mean of its pieces"

    shares = {
        float(name.removeprefix("text_loss_at_share_")): loss
        for name, loss in artifact.summary.items()
        if name.startswith("text_loss_at_share_")
    }
    assert len(shares) == 5
    assert artifact.summary["linear_share"] == min(shares, key=lambda share: shares[share])

    given = NetworkFile(path=str(at / "network.safetensors"))
    again = inputs.initialise(EmbeddingConfig(initialiser=Hypernetwork(head=head, network=given)))
    assert torch.equal(rows_of(again)[0]["input_rows"], rows["input_rows"])
    assert not (open_artifact(again) / "network.safetensors").exists()


def test_a_network_serves_a_fine_tuned_variant_of_its_model(
    tiny_model_folder: Path, small_corpus_texts: list[str], tmp_path: Path
):
    tokenizer = extended(tiny_model_folder, small_corpus_texts)
    inputs = Inputs(tiny_model_folder, tokenizer, small_corpus_texts)
    trained = Hypernetwork(head="same", network=network())
    base = inputs.initialise(EmbeddingConfig(initialiser=trained))
    path = open_artifact(base) / "network.safetensors"

    folder = shutil.copytree(tiny_model_folder, tmp_path / "variant")
    tensors = load_file(folder / "model.safetensors")
    old = tensors["model.embed_tokens.weight"]
    noise = torch.randn(old.shape, generator=torch.manual_seed(0))
    tensors["model.embed_tokens.weight"] = tuned = old + 0.01 * old.std() * noise
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    given = Hypernetwork(head="same", network=NetworkFile(path=str(path)))
    variant = Inputs(folder, tokenizer, small_corpus_texts).initialise(
        EmbeddingConfig(initialiser=given)
    )

    of_base, of_variant = (rows_of(one)[0]["input_rows"] for one in (base, variant))
    assert torch.equal(of_variant[: len(old)], tuned)
    moved = (of_variant - of_base)[len(old) :].norm(dim=1) / of_base[len(old) :].norm(dim=1)
    assert 0 < moved.min() <= moved.max() < 0.05
    made_from = json.loads((open_artifact(variant) / "manifest.json").read_text())["inputs"]
    [lock] = [one["uri"] for one in made_from if one["stage"] == "embedding_lock"]
    read = read_table(open_artifact(read_artifact(lock)) / "lock.parquet")["sha256"].to_pylist()
    assert read == [file_sha256(path)]


def test_an_untrained_network_gives_the_mean_of_pieces(
    tiny_model_folder: Path, small_corpus_texts: list[str]
):
    inputs = Inputs(
        tiny_model_folder, extended(tiny_model_folder, small_corpus_texts), small_corpus_texts
    )
    untrained = Hypernetwork(head="same", network=network(n_steps=0, linear_share=0.0))
    rows, _ = rows_of(inputs.initialise(EmbeddingConfig(initialiser=untrained)))
    assert torch.equal(rows["input_rows"], rows_of(inputs.initialise(MEAN))[0]["input_rows"])


def test_a_network_of_another_width_is_refused(
    tiny_model_folder: Path, small_corpus_texts: list[str], tmp_path: Path
):
    inputs = Inputs(
        tiny_model_folder, extended(tiny_model_folder, small_corpus_texts), small_corpus_texts
    )
    trained = Hypernetwork(network=network(n_steps=0))
    config = EmbeddingConfig(initialiser=trained, prefix_prior=COMPOSED.prefix_prior)
    path = open_artifact(inputs.initialise(config)) / "network.safetensors"
    tensors = load_file(path)
    tensors["mean"] = torch.zeros(1, 33)
    wrong = tmp_path / "network.safetensors"
    save_file(tensors, wrong)
    given = Hypernetwork(head="same", network=NetworkFile(path=str(wrong)))
    with pytest.raises(NetworkFileError, match="no row network"):
        inputs.initialise(EmbeddingConfig(initialiser=given))


@pytest.mark.parametrize(("rank", "untied"), [(None, False), (8, True)])
def test_rows_are_learnt_from_word_vectors(
    rank: int | None, untied: bool, tiny_model_folder: Path, tiny_untied_model_folder: Path,
    small_corpus_texts: list[str], tmp_path: Path,
):  # fmt: skip
    folder = tiny_untied_model_folder if untied else tiny_model_folder
    inputs = Inputs(folder, extended(folder, small_corpus_texts), small_corpus_texts)
    words = sorted({word for text in small_corpus_texts for word in text.split()})
    rng, path = np.random.default_rng(0), tmp_path / "words.vec"
    lines = [f"{word} {' '.join(f'{x:.3f}' for x in rng.normal(size=4))}" for word in words]
    path.write_text("\n".join(lines) + "\n")
    method = HyperOfa(
        vectors=WordVectorFile(path=str(path)), rank=rank, hidden=8, n_epochs=2, batch_tokens=64
    )
    config = EmbeddingConfig(initialiser=method, fallback=("mean_of_pieces", "error"))
    artifact = inputs.initialise(config)
    rows, _ = rows_of(artifact)
    old = old_rows(folder)["model.embed_tokens.weight"]
    assert set(rows) == ({"input_rows", "head_rows"} if untied else {"input_rows"})
    for part in rows.values():
        assert part[len(old) :].isfinite().all()
        assert part[len(old) :].norm(dim=1).min() > 0
    assert torch.equal(rows["input_rows"][: len(old)], old)
    assert artifact.summary["n_old_with_words"] > 100
    lineage = read_table(open_artifact(artifact) / "lineage.parquet").to_pylist()
    methods = {row["method"] for row in lineage if row["id"] >= len(old)}
    assert "hyperofa" in methods
    if rank is not None:
        made = [r["id"] for r in lineage if r["method"] == "hyperofa" and r["part"] == "input"]
        assert torch.linalg.matrix_rank(rows["input_rows"][made], rtol=1e-4) <= 8
    again = inputs.initialise(config.model_copy(update={"fallback_seed": 1}))
    assert torch.equal(rows_of(again)[0]["input_rows"], rows["input_rows"])
