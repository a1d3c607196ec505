"""The tokenizer stage through its door: artifacts in, a loadable tokenizer out."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from infra.artifacts import Artifact, Attempt, Summary, open_artifact
from infra.parquet import read_table, write_table
from tasks.embedding.config import EmbeddingConfig, MeanOfPieces
from tasks.embedding.task import initialise_embeddings
from tasks.pretraining.config import TokensConfig
from tasks.pretraining.task import tokenize_corpus
from tasks.shared.config import StageConfig
from tasks.shared.extra_tokens import read_extra_tokens
from tasks.shared.task import stage
from tasks.shared.vocabulary import read_vocabulary
from tasks.tokenizer.config import (
    Bpe,
    Bytes,
    CharacterBpe,
    CustomWords,
    Extend,
    PatternWords,
    PretokensConfig,
    RandomChunks,
    ScaffoldBpe,
    SourceWords,
    SupertokenBpe,
    SuperwordBpe,
    TermsConfig,
    ToolConfig,
    WordsConfig,
)
from tasks.tokenizer.errors import CorpusTooSmallError, PretokensMismatchError, SourceWeightError
from tasks.tokenizer.format_errors import NotExpressibleError
from tasks.tokenizer.padding import AddedTokenError
from tasks.tokenizer.random_chunks import cut_chunks
from tasks.tokenizer.task import count_pretokens, train_tokenizer
from tasks.tokenizer.term_errors import TermError
from tasks.tokenizer.tiktoken_format import read_tiktoken
from tasks.tokenizer.trained import Config
from tasks.tokenizer.worker import count_shard

FLORES = Path("../shared/data")


class Folder(StageConfig):
    folder: str


class Texts(StageConfig):
    texts: tuple[str, ...]


@stage(name="given_model", version=1)
def give_model(attempt: Attempt, config: Folder) -> Summary:
    shutil.copytree(config.folder, attempt.folder, dirs_exist_ok=True)
    return {}


@stage(name="given_corpus", version=1)
def give_corpus(attempt: Attempt, config: Texts) -> Summary:
    def table(texts: tuple[str, ...], **more: Any) -> pa.Table:
        n = len(texts)
        return pa.table(
            {
                "doc_id": [f"d{i}" for i in range(n)],
                "source": ["test"] * n,
                **{name: [value] * n for name, value in more.items()},
                "text": list(texts),
                "n_bytes": pa.array([len(t.encode()) for t in texts], pa.int64()),
            }
        )

    half = len(config.texts) // 2
    write_table(attempt.folder / "train-00000.parquet", table(config.texts[:half]))
    write_table(attempt.folder / "train-00001.parquet", table(config.texts[half:-40]))
    held_out = table(config.texts[-40:], suite="heldout")
    general = table(("etwas anderes",), suite="general")
    write_table(attempt.folder / "heldout-00000.parquet", pa.concat_tables([held_out, general]))
    return {}


@pytest.fixture
def model(tiny_model_folder: Path) -> Artifact:
    return give_model(Folder(folder=str(tiny_model_folder)))


@pytest.fixture
def corpus(small_corpus_texts: list[str]) -> Artifact:
    return give_corpus(Texts(texts=tuple(small_corpus_texts)))


def trained(
    config: Config, model: Artifact, corpus: Artifact, words: WordsConfig | None = None
) -> Artifact:
    chosen = [PretokensConfig(words=words or SourceWords())]
    chosen += [config.stretches] if isinstance(config, SuperwordBpe) else []
    counts = [count_pretokens(one, model, corpus) for one in chosen]
    return train_tokenizer(config, model, corpus, *counts)


LAW = TermsConfig(texts=("Einkommensteuergesetz",), presets=("markdown",))
LLAMA3 = PatternWords(rule="llama3", digits="groups_of_3")
CUSTOM = CustomWords(rule="custom", regex=r" ?\p{L}+| ?\p{N}|[^\p{L}\p{N}]")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (Extend(n_new_tokens=80), None),
        (Bpe(vocabulary_size=520), None),
        (Bpe(vocabulary_size=520, blocked="ung"), LLAMA3),
        (ScaffoldBpe(vocabulary_size=350), PatternWords(rule="o200k")),
        (Bpe(vocabulary_size=520), CUSTOM),
        (CharacterBpe(vocabulary_size=450), None),
        (SuperwordBpe(vocabulary_size=520, transition_size=400), None),
        (SupertokenBpe(vocabulary_size=520), RandomChunks(passes=2)),
        (Extend(n_new_tokens=80, keep_size=True), None),
    ],
    ids=[
        "extend",
        "bpe",
        "llama3",
        "scaffold-o200k",
        "custom",
        "character",
        "superword",
        "supertoken",
        "same-size",
    ],
)
def test_plain_transformers_loads_what_the_stage_wrote(
    config: Config,
    words: WordsConfig | None,
    model: Artifact,
    corpus: Artifact,
    small_corpus_texts: list[str],
):
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    written = trained(config, model, corpus, words)
    folder = open_artifact(written)
    loaded = AutoTokenizer.from_pretrained(folder)
    plain = Tokenizer.from_file(str(folder / "tokenizer.json"))
    vocabulary = read_vocabulary(folder)
    assert len(loaded) == len(vocabulary) == written.summary["vocabulary_size"]
    assert loaded.eos_token_id == vocabulary.roles["eos"]
    assert loaded.bos_token_id == vocabulary.roles["bos"]
    for text in [*small_corpus_texts[:20], "a  12", "x\n\n 2024 €\t"]:
        ids = loaded(text)["input_ids"]
        assert ids == plain.encode(text).ids
        assert loaded.decode(ids) == text
    chat = loaded.apply_chat_template([{"role": "user", "content": "Hallo"}], tokenize=False)
    assert chat == "<|im_start|>user\nHallo<|im_end|>\n"
    assert loaded(chat)["input_ids"][0] == vocabulary.roles["chat_turn_start"]
    summary = written.summary
    assert summary["bytes_per_token"] > summary["source_bytes_per_token"]


def test_bytes_are_the_256_and_the_special_tokens(model: Artifact, corpus: Artifact):
    from transformers import AutoTokenizer

    written = trained(Bytes(), model, corpus)
    loaded = AutoTokenizer.from_pretrained(open_artifact(written))
    assert len(loaded) == 256 + 3
    assert len(loaded("Größe 12", add_special_tokens=False)["input_ids"]) == 10
    assert written.summary["bytes_per_token"] == 1


def test_the_tiktoken_form_gives_the_same_ids(
    model: Artifact, corpus: Artifact, small_corpus_texts: list[str]
):
    import tiktoken
    from tokenizers import Tokenizer

    config = Bpe(vocabulary_size=400, exports=("tiktoken",))
    folder = open_artifact(trained(config, model, corpus, PatternWords(rule="gpt4")))
    encoding = read_tiktoken(folder / "tokenizer.tiktoken")
    loaded = tiktoken.Encoding(
        "ours", pat_str=encoding.pattern, mergeable_ranks=encoding.ranks,
        special_tokens=encoding.special_tokens,
    )  # fmt: skip
    plain = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in small_corpus_texts:
        assert loaded.encode(text) == plain.encode(text, add_special_tokens=False).ids


def test_a_form_that_cannot_say_it_leaves_no_artifact(
    model: Artifact, corpus: Artifact, own_place: Path
):
    config = Bpe(vocabulary_size=400, exports=("sentencepiece",))
    with pytest.raises(NotExpressibleError, match="byte-level"):
        trained(config, model, corpus)
    assert not list((own_place / "store" / "tokenizer").rglob("manifest.json"))


def test_a_killed_count_goes_on_with_the_shards_that_are_left(
    model: Artifact, corpus: Artifact, own_place: Path, monkeypatch: pytest.MonkeyPatch
):
    undisturbed = count_pretokens(PretokensConfig(), model, corpus)
    shutil.rmtree(own_place / "store" / "pretokens")
    counted: list[str] = []

    def count_then_fail(shard: Any) -> Any:
        if counted:
            raise OSError("killed here")
        counted.append(shard.text)
        return count_shard(shard)

    monkeypatch.setattr("tasks.tokenizer.worker.count_shard", count_then_fail)
    with pytest.raises(Exception, match="killed here"):
        count_pretokens(PretokensConfig(), model, corpus)
    assert not list((own_place / "store" / "pretokens").rglob("manifest.json"))
    read_again: list[str] = []

    def count_and_note(shard: Any) -> Any:
        read_again.append(shard.text)
        return count_shard(shard)

    monkeypatch.setattr("tasks.tokenizer.worker.count_shard", count_and_note)
    assert count_pretokens(PretokensConfig(), model, corpus).digest == undisturbed.digest
    assert counted[0] not in read_again
    assert len(read_again) == 1


def test_another_size_or_method_reads_no_text_again(model: Artifact, corpus: Artifact):
    counts = count_pretokens(PretokensConfig(), model, corpus)
    for config in (Bpe(vocabulary_size=300), Bpe(vocabulary_size=310), Extend(n_new_tokens=9)):
        train_tokenizer(config, model, corpus, counts)
    assert count_pretokens(PretokensConfig(), model, corpus).uri == counts.uri


def test_weights_of_sources_scale_counts_and_unknown_ones_are_named(
    model: Artifact, corpus: Artifact
):
    plain = trained(Bpe(vocabulary_size=400, min_frequency=2), model, corpus)
    double = Bpe(vocabulary_size=400, min_frequency=4, source_weights={"test": 2.0})
    merges = [open_artifact(a) / "merges.parquet" for a in (plain, trained(double, model, corpus))]
    assert merges[0].read_bytes() == merges[1].read_bytes()
    with pytest.raises(SourceWeightError, match="names elsewhere, but the corpus's sources"):
        trained(Bpe(vocabulary_size=400, source_weights={"elsewhere": 1.0}), model, corpus)


@pytest.mark.parametrize(
    "config",
    [
        Bpe(vocabulary_size=420, required=LAW),
        ScaffoldBpe(vocabulary_size=380, required=LAW),
        Extend(n_new_tokens=200, required=LAW),
    ],
    ids=["bpe", "scaffold", "extend"],
)
def test_required_terms_are_one_token_each_in_a_vocabulary_of_that_size(
    config: Config, model: Artifact, corpus: Artifact, tiny_model_folder: Path
):
    from tokenizers import Tokenizer

    folder = open_artifact(trained(config, model, corpus))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in ("Einkommensteuergesetz", " Einkommensteuergesetz", "##", " ##", "####"):
        assert len(tokenizer.encode(text, add_special_tokens=False).ids) == 1
    formations = read_table(folder / "vocabulary.parquet")["formation"].to_pylist()
    n_old = len(read_vocabulary(tiny_model_folder))
    size = n_old + 200 if isinstance(config, Extend) else config.vocabulary_size
    assert sum(formation != "scaffold" for formation in formations) == size


def test_a_required_term_that_words_would_cut_is_named(model: Artifact, corpus: Artifact):
    config = Bpe(vocabulary_size=420, required=TermsConfig(texts=("§ 12 Absatz 3",)))
    with pytest.raises(TermError, match="2 of 2 terms are no single word"):
        trained(config, model, corpus)


SEARCH = ToolConfig(name="<|search|>", description="Finds pages by their words.")
CLOCK = ToolConfig(name="<|clock|>", description="Tells the time.")


@pytest.mark.parametrize(
    ("config", "size"),
    [
        (Bpe(vocabulary_size=400, exports=("tiktoken",)), 400),
        (ScaffoldBpe(vocabulary_size=350), 350),
        (Extend(n_new_tokens=80), None),
        (Bytes(), 259),
    ],
    ids=["bpe", "scaffold", "extend", "bytes"],
)
def test_tool_and_reserved_tokens_come_on_top_of_the_size_and_change_no_text(
    config: Config,
    size: int | None,
    model: Artifact,
    corpus: Artifact,
    tiny_model_folder: Path,
    small_corpus_texts: list[str],
):
    from transformers import AutoTokenizer

    size = size or len(read_vocabulary(tiny_model_folder)) + 80
    more = {"tools": (SEARCH, CLOCK), "pad_to_multiple_of": 64}
    plain, padded = (
        trained(config, model, corpus),
        trained(config.model_copy(update=more), model, corpus),
    )
    folder = open_artifact(padded)
    extra = read_extra_tokens(folder)
    assert {i: tool.name for i, tool in extra.tools.items()} == {
        size: "<|search|>", size + 1: "<|clock|>"
    }  # fmt: skip
    assert list(extra.reserved) == list(range(size + 2, size + 2 + len(extra.reserved)))
    n_plain, n_padded = (len(read_vocabulary(open_artifact(one))) for one in (plain, padded))
    assert n_padded % 64 == 0
    assert len(extra) == n_padded - n_plain
    formations = read_table(folder / "vocabulary.parquet")["formation"].to_pylist()
    assert formations[size : size + len(extra)] == ["tool"] * 2 + ["reserved"] * len(extra.reserved)
    assert {"tool", "reserved"}.isdisjoint(formations[:size])
    n_scaffolds = int(padded.summary["n_scaffolds"] or 0)
    assert formations[size + len(extra) :] == ["scaffold"] * n_scaffolds
    before, after = (AutoTokenizer.from_pretrained(open_artifact(one)) for one in (plain, padded))
    for text in small_corpus_texts[:20]:
        assert before.tokenize(text) == after.tokenize(text)
    ids = after("Wo? <|search|>", add_special_tokens=False)["input_ids"]
    assert ids[-1] == size
    assert after.decode(ids, skip_special_tokens=True) == "Wo? "
    if "tiktoken" in config.exports:
        special = read_tiktoken(folder / "tokenizer.tiktoken").special_tokens
        assert special["<|clock|>"] == size + 1
    if isinstance(config, ScaffoldBpe):
        tokens = read_table(folder / "vocabulary.parquet")["bytes"].to_pylist()
        splits = json.loads((folder / "scaffold.json").read_text())["splits"]
        for scaffold, parts in splits.items():
            assert b"".join(tokens[part] for part in parts) == tokens[int(scaffold)]


def test_a_tool_that_is_a_token_already_leaves_no_artifact(
    model: Artifact, corpus: Artifact, own_place: Path
):
    taken = ToolConfig(name="<|im_end|>", description="Ends.")
    with pytest.raises(AddedTokenError, match=r"\['<\|im_end\|>'\]"):
        trained(Bpe(vocabulary_size=400, tools=(taken,)), model, corpus)
    assert not list((own_place / "store" / "tokenizer").rglob("manifest.json"))
    with pytest.raises(ValueError, match=r"names \['<\|clock\|>'\] twice"):
        Bytes(tools=(CLOCK, SEARCH, CLOCK))


def test_an_extension_refuses_words_cut_otherwise(model: Artifact, corpus: Artifact):
    with pytest.raises(PretokensMismatchError, match="rule: source with digits: source"):
        trained(Extend(n_new_tokens=10), model, corpus, LLAMA3)


def test_supertokens_refuse_words_and_reach_over_spaces(
    model: Artifact, corpus: Artifact, small_corpus_texts: list[str]
):
    config = SupertokenBpe(vocabulary_size=600)
    with pytest.raises(PretokensMismatchError, match="rule: random_chunks"):
        trained(config, model, corpus)
    folder = open_artifact(trained(config, model, corpus, RandomChunks(seed=1)))
    tokens = [data or b"" for data in read_vocabulary(folder).token_bytes]
    assert any(b" " in data.strip() for data in tokens)
    assert max(map(len, tokens)) <= 30
    sizes = read_table(folder / "sizes.parquet").to_pylist()
    assert sizes[-1]["vocabulary_size"] == 600
    rows = read_table(folder / "metrics.parquet").to_pylist()
    by_library = {(row["tokenizer"], row["metric"]): row["n"] for row in rows}
    assert sizes[-1]["n_tokens"] == by_library["new", "shannon_entropy"]


def test_chunks_do_not_depend_on_how_documents_lie_in_shards(
    model: Artifact, corpus: Artifact, small_corpus_texts: list[str]
):
    words = RandomChunks(seed=4, passes=2)
    counts = count_pretokens(PretokensConfig(words=words), model, corpus)
    assert counts.summary["cut_by"] == "chunks"
    found = Counter[bytes]()
    for path in sorted(open_artifact(counts).glob("counts-*")):
        for row in read_table(path).to_pylist():
            found[row["pretoken"]] += row["count"]
    texts = pa.array(small_corpus_texts[:-40])
    whole = cut_chunks(texts, np.arange(len(texts)), 4, 2, words.length_shares)
    assert found == Counter(whole.to_pylist())


@pytest.mark.parametrize(
    ("config", "sizes"),
    [
        (Bpe(vocabulary_size=420, required=LAW), (410, 440)),
        (ScaffoldBpe(vocabulary_size=370), (340, 390)),
        (CharacterBpe(vocabulary_size=400), (340, 440)),
    ],
    ids=["bpe", "scaffold", "character"],
)
def test_every_other_size_is_the_tokenizer_that_a_run_of_its_own_writes(
    config: Bpe | ScaffoldBpe | CharacterBpe,
    sizes: tuple[int, int],
    model: Artifact,
    corpus: Artifact,
):
    from transformers import AutoTokenizer

    several = trained(config.model_copy(update={"other_sizes": sizes}), model, corpus)
    folder = open_artifact(several)
    rows = read_table(folder / "other_sizes.parquet").to_pylist()
    assert [row["folder"] for row in rows] == [f"sizes/{size}" for size in sizes]
    assert several.summary["n_other_sizes"] == 2
    names = ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]
    names += ["scaffold.json"] if isinstance(config, ScaffoldBpe) else []
    alone = open_artifact(trained(config, model, corpus))
    for name in [*names, "vocabulary.parquet", "merges.parquet", "metrics.parquet"]:
        assert (folder / name).read_bytes() == (alone / name).read_bytes()
    for row, size in zip(rows, sizes, strict=True):
        own = trained(config.model_copy(update={"vocabulary_size": size}), model, corpus)
        place = folder / row["folder"]
        for name in names:
            assert (place / name).read_bytes() == (open_artifact(own) / name).read_bytes()
        assert sorted(path.name for path in place.iterdir()) == sorted(names)
        assert row["bytes_per_token"] == own.summary["bytes_per_token"]
        assert row["n_scaffolds"] == own.summary["n_scaffolds"]
        assert len(AutoTokenizer.from_pretrained(place)) == size + row["n_scaffolds"]


def test_sizes_that_stand_twice_are_refused():
    with pytest.raises(ValueError, match="the size 400 stands twice"):
        Bpe(vocabulary_size=400, other_sizes=(400,))


@pytest.mark.parametrize("required", [None, TermsConfig(texts=("program",))])
def test_an_extension_of_the_source_s_size_gives_rows_of_its_size(
    required: TermsConfig | None, model: Artifact, corpus: Artifact, tiny_model_folder: Path
):
    from safetensors.torch import load_file

    old = read_vocabulary(tiny_model_folder)
    config = Extend(n_new_tokens=80, keep_size=True, required=required)
    tokenizer = trained(config, model, corpus)
    folder = open_artifact(tokenizer)
    dropped = read_table(folder / "dropped.parquet").to_pylist()
    assert tokenizer.summary["n_dropped"] == len(dropped) == 80
    assert tokenizer.summary["vocabulary_size"] == len(old)
    assert [row["bytes"] for row in dropped] == [old.token_bytes[row["id"]] for row in dropped]
    new = read_vocabulary(folder)
    assert new.special_ids == old.special_ids
    assert required is None or {b"program", b" program"} <= set(new.token_bytes)

    tokens = tokenize_corpus(TokensConfig(), tokenizer, corpus)
    config = EmbeddingConfig(initialiser=MeanOfPieces())
    rows = initialise_embeddings(config, model, tokenizer, tokens, corpus)
    input_rows = load_file(open_artifact(rows) / "embeddings.safetensors")["input_rows"]
    old_rows = load_file(tiny_model_folder / "model.safetensors")["model.embed_tokens.weight"]
    assert input_rows.shape == old_rows.shape
    gone = {row["id"] for row in dropped}
    stays = [i for i in range(len(old)) if i not in gone]
    assert input_rows[stays].equal(old_rows[stays])
    assert rows.summary["n_copied"] == len(stays)


def test_tables_and_summary_agree(model: Artifact, corpus: Artifact, small_corpus_texts: list[str]):
    written = trained(Extend(n_new_tokens=80), model, corpus)
    folder = open_artifact(written)
    vocabulary = read_table(folder / "vocabulary.parquet")
    assert vocabulary.num_rows == written.summary["vocabulary_size"]
    assert sum(vocabulary["is_new"].to_pylist()) == written.summary["n_new_tokens"] == 80
    merges = read_table(folder / "merges.parquet")
    assert merges.column_names == ["rank", "left_id", "right_id", "result_id"]
    counts = count_pretokens(PretokensConfig(), model, corpus)
    trained_on = small_corpus_texts[:-40]
    n_bytes = sum(len(text.encode()) for text in trained_on)
    assert counts.summary["n_documents"] == len(trained_on)
    assert counts.summary["n_bytes"] == n_bytes
    assert counts.summary["cut_by"] == "scanner"
    tables = [read_table(path) for path in sorted(open_artifact(counts).glob("counts-*"))]
    assert len(tables) == 2
    pretokens = [row for table in tables for row in table.to_pylist()]
    assert sum(row["count"] * len(row["pretoken"]) for row in pretokens) == n_bytes


def test_equal_inputs_give_equal_digests(model: Artifact, corpus: Artifact, own_place: Path):
    first = trained(Extend(n_new_tokens=80), model, corpus)
    shutil.rmtree(own_place / "store" / "tokenizer")
    assert trained(Extend(n_new_tokens=80), model, corpus).digest == first.digest


def test_a_corpus_too_small_leaves_no_artifact(model: Artifact, corpus: Artifact, own_place: Path):
    with pytest.raises(CorpusTooSmallError, match="n_new_tokens=50000"):
        trained(Extend(n_new_tokens=50_000), model, corpus)
    assert not list((own_place / "store" / "tokenizer").rglob("manifest.json"))


@pytest.mark.skipif(not FLORES.exists(), reason="needs the development data beside the checkout")
def test_every_flores_line_survives(model: Artifact):
    from tokenizers import Tokenizer

    languages = ("deu", "eng", "fra", "ita", "tur")
    lines = {
        language: (FLORES / f"flores_dev_{language}.txt").read_text(encoding="utf-8").splitlines()
        for language in languages
    }
    corpus = give_corpus(Texts(texts=tuple(lines["deu"] + lines["tur"])))
    for config in (Extend(n_new_tokens=1000), Bpe(vocabulary_size=2000)):
        folder = open_artifact(trained(config, model, corpus))
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        for line in (line for language in languages for line in lines[language]):
            assert tokenizer.decode(tokenizer.encode(line).ids) == line
