"""Bad input is one line on stderr that names the thing, the rule and the remedy; exit code 2."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from one_answer import answering


def tokgraft(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name("tokgraft")), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=900,
        check=False,
    )


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of a refused run."""
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("tokgraft: ")
    return done.stderr


@pytest.fixture
def run_file(tmp_path: Path, tiny_run: dict):
    def write(**changed: object) -> str:
        path = tmp_path / "run.yaml"
        path.write_text(yaml.safe_dump({**tiny_run, **changed}))
        return str(path)

    return write


@pytest.fixture
def a_server(prefect_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare each run the start of a server."""
    monkeypatch.setenv("PREFECT_API_URL", prefect_url)


def test_a_missing_run_file():
    assert "no run file nowhere.yaml; configs/ holds examples" in complaint(
        tokgraft("run", "nowhere.yaml")
    )


def test_an_unknown_field_is_named_with_its_path(run_file, tiny_run):
    text = complaint(tokgraft("run", run_file(tokeniser=tiny_run["tokenizer"])))
    assert "tokeniser: Extra inputs are not permitted" in text


def test_words_counted_for_a_tokenizer_that_learns_nothing(run_file):
    tokenizer = {"method": "pretrained", "source": {"kind": "directory", "path": "t"}}
    text = complaint(tokgraft("plan", run_file(tokenizer=tokenizer, pretokens={})))
    assert "a pretrained tokenizer is learnt from no words; leave pretokens out" in text


def test_a_run_file_that_is_no_yaml(tmp_path):
    (tmp_path / "run.yaml").write_text("model: [")
    assert "cannot be read as YAML" in complaint(tokgraft("run", str(tmp_path / "run.yaml")))


def test_a_field_given_twice(tmp_path):
    (tmp_path / "run.yaml").write_text("model: {}\ncorpus: {}\nmodel: {}\n")
    assert "model stands twice" in complaint(tokgraft("run", str(tmp_path / "run.yaml")))


def test_a_mistyped_setting_is_named_with_those_there_are(run_file):
    text = complaint(tokgraft("run", run_file(), TOKGRAFT_STROE="s3://bucket"))
    assert "TOKGRAFT_STROE in the environment is no setting" in text
    assert "TOKGRAFT_STORE" in text


def test_a_pushgateway_without_a_port_number(run_file):
    text = complaint(tokgraft("run", run_file(), TOKGRAFT_PUSHGATEWAY="localhost:abc"))
    assert "pushgateway: Value error, 'localhost:abc' is no address of a server" in text
    assert "give host:port, as localhost:9091" in text


def test_a_store_that_cannot_be_written(run_file, tmp_path):
    (tmp_path / "file").write_text("")
    text = complaint(tokgraft("run", run_file(), TOKGRAFT_STORE=str(tmp_path / "file" / "store")))
    assert "TOKGRAFT_STORE" in text


def test_an_export_folder_that_is_not_empty(run_file, tmp_path):
    text = complaint(tokgraft("run", run_file(), "--export", str(tmp_path)))
    assert "is not an empty folder; nothing is overwritten" in text


def test_an_export_folder_that_cannot_be_written_is_refused_before_any_work(run_file, tmp_path):
    (tmp_path / "file").write_text("")
    text = complaint(tokgraft("run", run_file(), "--export", str(tmp_path / "file" / "model")))
    assert "cannot be written" in text


def test_a_data_folder_that_cannot_be_written(run_file, tmp_path):
    (tmp_path / "file").write_text("")
    text = complaint(tokgraft("run", run_file(), TOKGRAFT_DATA_FOLDER=str(tmp_path / "file" / "d")))
    assert "set TOKGRAFT_DATA_FOLDER" in text


def test_a_wrong_setting_is_named(run_file):
    assert "n_processes" in complaint(tokgraft("run", run_file(), TOKGRAFT_N_PROCESSES="many"))


@pytest.mark.slow
def test_a_prefect_server_that_does_not_answer(run_file):
    away = "http://127.0.0.1:9/api"
    for command in (("run", run_file()), ("serve",)):
        text = complaint(tokgraft(*command, PREFECT_API_URL=away))
        assert f"no Prefect server answers at {away} (ConnectError); start it" in text


@pytest.mark.slow
def test_a_prefect_server_that_asks_for_a_password(run_file):
    with answering(401, b'{"exception_message": "Unauthorized"}') as url:
        for command in (("run", run_file()), ("serve",)):
            text = complaint(tokgraft(*command, PREFECT_API_URL=url))
            assert "refuses access (status 401); set PREFECT_API_AUTH_STRING" in text


@pytest.mark.slow
def test_a_page_where_a_prefect_server_should_be(run_file):
    with answering(200, b"<html>Please sign in.</html>") as url:
        for command in (("run", run_file()), ("serve",), ("schedule", "a.yaml", "0 3 * * 1")):
            text = complaint(tokgraft(*command, PREFECT_API_URL=url))
            assert "is no Prefect server" in text


@pytest.fixture
def allow_list(tmp_path: Path) -> str:
    (tmp_path / "allow.yaml").write_text("deployments: {adapt/tokgraft: {}}")
    return str(tmp_path / "allow.yaml")


HOOK = {
    "TOKGRAFT_WEBHOOK_SECRET": "It is a secret of 32 characters.",
    "PREFECT_API_URL": "http://127.0.0.1:9/api",
}


def test_a_webhook_that_cannot_store(allow_list: str, own_place: Path):
    (own_place / "data" / "webhook").mkdir(parents=True)
    (own_place / "data" / "webhook" / "outbox.sqlite3").write_text("this is no database" * 100)
    assert "file is not a database" in complaint(tokgraft("webhook", allow_list, **HOOK))


def test_a_webhook_whose_port_is_taken(allow_list: str):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = tokgraft("webhook", allow_list, "--port", str(port), **HOOK)
    assert f"127.0.0.1:{port} cannot be had (Address already in use)" in complaint(done)


@pytest.mark.slow
@pytest.mark.usefixtures("a_server")
def test_an_unknown_stage_to_force(run_file):
    assert "no stage named rows; --force takes one of" in complaint(
        tokgraft("run", run_file(), "--force", "rows")
    )


@pytest.mark.slow
def test_a_proxy_is_not_asked_for_the_embedded_server(run_file):
    nowhere = dict.fromkeys(("http_proxy", "HTTP_PROXY", "all_proxy"), "http://127.0.0.1:9")
    text = complaint(tokgraft("run", run_file(), "--force", "rows", **nowhere, NO_PROXY="a.test"))
    assert "no stage named rows" in text


@pytest.mark.slow
@pytest.mark.usefixtures("a_server")
def test_a_stage_that_refuses_its_input_ends_the_run_with_its_line(run_file, tiny_run, own_place):
    corpus = {**tiny_run["corpus"], "budget_bytes": 10_000_000}
    text = complaint(tokgraft("run", run_file(corpus=corpus)))
    assert "10,000,000" in text or "10000000" in text
    assert not list((own_place / "store" / "corpus").rglob("manifest.json"))


@pytest.mark.slow
@pytest.mark.usefixtures("a_server")
def test_rows_that_are_refused_leave_all_stages_before_them_finished(run_file, tiny_run, own_place):
    """Which special tokens a model has is known once it is read: no check of the file sees it."""
    embedding = {**tiny_run["embedding"], "special_tokens": {"<|im_start|>": "<|none|>"}}
    text = complaint(tokgraft("run", run_file(embedding=embedding)))
    assert "names '<|none|>', which the source vocabulary" in text
    store = own_place / "store"
    finished = {path.relative_to(store).parts[0] for path in store.rglob("manifest.json")}
    assert finished >= {"model", "corpus", "tokenizer", "tokens"}
    assert not finished & {"embedding", "assembled"}


@pytest.mark.slow
@pytest.mark.usefixtures("a_server")
def test_an_encoder_is_refused_as_soon_as_its_config_is_read(
    run_file, tiny_model_folder, tmp_path, own_place
):
    from tokenizers import Tokenizer
    from transformers import BertConfig, BertForMaskedLM

    folder = shutil.copytree(tiny_model_folder, tmp_path / "encoder")
    n_tokens = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size()
    config = BertConfig(
        vocab_size=n_tokens, hidden_size=32, num_hidden_layers=1, num_attention_heads=2
    )
    BertForMaskedLM(config).save_pretrained(folder)
    model = {"source": {"kind": "directory", "path": str(folder)}}
    text = complaint(tokgraft("run", run_file(model=model)))
    assert "is a BertForMaskedLM, no causal language model" in text
    stages = {path.name for path in (own_place / "store").iterdir() if path.is_dir()}
    assert stages & {"model", "corpus", "corpus_lock", "tokenizer"} == {"model"}


def _can_mount() -> bool:
    probe = ["unshare", "--mount", "true"]
    return shutil.which("unshare") is not None and subprocess.call(probe) == 0


@pytest.mark.slow
@pytest.mark.skipif(not _can_mount(), reason="mounting a small disk needs a privileged user")
def test_a_full_disk_is_named_and_leaves_nothing_that_looks_finished(run_file, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    command = Path(sys.executable).with_name("tokgraft")
    listed = tmp_path / "listed"
    script = (
        f"mount -t tmpfs -o size=120k none {disk} && "
        f"TOKGRAFT_STORE={disk} {command} run {run_file()}; code=$?; "
        f"find {disk} -name 'current-*' > {listed}; exit $code"
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    text = complaint(done)
    assert "no space left" in text
    assert "TOKGRAFT_STORE" in text
    finished = {Path(line).parts[-3] for line in listed.read_text().splitlines()}
    assert finished <= {"model_lock", "corpus_lock"}


@pytest.mark.slow
@pytest.mark.usefixtures("a_server")
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("cut_weights", "cannot be read as safetensors"),
        pytest.param("cut_parquet", "cannot be read as Parquet", marks=pytest.mark.long),
        pytest.param("no_source", "documents", marks=pytest.mark.long),
        ("small_vocabulary", "256"),
        ("no_tokenizer", "nowhere holds nothing of the kind; a tokenizer is read from"),
        pytest.param("no_terms", "nowhere.txt does not exist; name a list", marks=pytest.mark.long),
        ("unreachable_bucket", "s3://grafts/run cannot be reached, after 8 tries"),
    ],
)
def test_bad_sources_end_a_run_with_one_line(
    damage, said, run_file, tiny_run, tiny_model_folder, tmp_path
):
    changed: dict = {}
    environment: dict[str, str] = {}
    if damage == "cut_weights":
        folder = tmp_path / "model"
        shutil.copytree(tiny_model_folder, folder)
        weights = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
        changed["model"] = {"source": {"kind": "directory", "path": str(folder)}}
    elif damage == "cut_parquet":
        (tmp_path / "text.parquet").write_bytes(b"PAR1 and no more")
        source = {"kind": "files", "name": "documents", "paths": [f"{tmp_path}/text.parquet"]}
        changed["corpus"] = {**tiny_run["corpus"], "sources": [source]}
    elif damage == "no_source":
        source = {"kind": "files", "name": "documents", "paths": [f"{tmp_path}/nothing/*.txt"]}
        changed["corpus"] = {**tiny_run["corpus"], "sources": [source]}
    elif damage == "small_vocabulary":
        changed["tokenizer"] = {"method": "bpe", "vocabulary_size": 257}
    elif damage == "no_tokenizer":
        source = {"kind": "directory", "path": f"{tmp_path}/nowhere"}
        changed["tokenizer"] = {"method": "pretrained", "source": source}
    elif damage == "no_terms":
        terms = {"files": [f"{tmp_path}/nowhere.txt"]}
        changed["tokenizer"] = {**tiny_run["tokenizer"], "required": terms}
    else:
        environment["TOKGRAFT_STORE"] = "s3://grafts/run"
        environment["AWS_ENDPOINT_URL"] = "http://127.0.0.1:9"
        environment["AWS_ACCESS_KEY_ID"] = environment["AWS_SECRET_ACCESS_KEY"] = "x"
    assert said in complaint(tokgraft("run", run_file(**changed), **environment))


def test_gc_is_told_one_thing_and_leaves_every_key_an_artifact():
    both = complaint(tokgraft("artifacts", "gc", "--delete", "--dry-run"))
    assert "gc takes either --delete or --dry-run, which lists and removes nothing." in both
    none = complaint(tokgraft("artifacts", "gc", "--keep-generations", "0"))
    assert "--keep-generations 0 would leave a key without its artifact; give 1 or more" in none
