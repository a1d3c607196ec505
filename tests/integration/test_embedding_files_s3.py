"""Files from outside that rows are made of, in a bucket and on the Hub."""

from pathlib import Path
from typing import Any

import pytest

from infra.artifacts import Artifact, open_artifact
from infra.errors import CorruptFileError, StoreError
from infra.hub import HubError
from infra.located_files import lay_out
from infra.parquet import read_table
from infra.settings import get_settings
from tasks.embedding.config import EmbeddingConfig
from tasks.embedding.task import OutsideFileError, lock_embedding_files


@pytest.fixture
def bucket(s3: Any) -> Any:
    """A client, and a bucket of that name."""
    s3.create_bucket(Bucket="words")
    return s3


def lock_of(initialiser: dict[str, Any]) -> Artifact:
    config = EmbeddingConfig.model_validate({"initialiser": initialiser})
    files = config.initialiser.outside_files
    assert files is not None
    return lock_embedding_files(files)


def wechsel_of(place: str) -> dict[str, Any]:
    return {
        "method": "wechsel",
        "source_vectors": {"kind": "words", "path": f"{place}/en.vec"},
        "target_vectors": {"kind": "words", "path": f"{place}/de.vec"},
        "dictionary": {"path": f"{place}/d.index"},
    }


FILES = {
    "en.vec": b"file 1 0\n",
    "de.vec": b"Datei 1 0\n",
    "d.index": b"file\tA\tM\n",
    "d.dict": b"file\nDatei\n\n",
    "locale/a/x.mo": b"first",
    "locale/b/y.mo": b"second",
}


@pytest.fixture
def both(bucket: Any, tmp_path: Path) -> Path:
    """The same files in a bucket and in a folder."""
    for name, data in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
        bucket.put_object(Bucket="words", Key=f"de/{name}", Body=data)
    return tmp_path


def test_a_bucket_gives_the_same_lock_as_a_folder(both: Path, tmp_path_factory: Any):
    remote, local = lock_of(wechsel_of("s3://words/de")), lock_of(wechsel_of(str(both)))
    assert remote.digest == local.digest
    names = read_table(open_artifact(remote) / "lock.parquet")["source"].to_pylist()
    expected = ["dictionary.dict", "dictionary.index", "source_vectors.vec", "target_vectors.vec"]
    assert sorted(names) == expected
    laid_out = tmp_path_factory.mktemp("laid_out")
    lay_out(open_artifact(remote), laid_out)
    assert (laid_out / "dictionary.dict").read_bytes() == FILES["d.dict"]

    catalogues = [
        lock_of(
            {"method": "trans_tokenizer", "parallel_texts": [{"kind": "gettext", "paths": [p]}]}
        )
        for p in ("s3://words/de/locale/**/*.mo", f"{both}/locale/**/*.mo")
    ]
    assert catalogues[0].digest == catalogues[1].digest
    assert catalogues[0].summary["files"] == 2


def test_an_object_written_anew_is_a_new_lock(
    bucket: Any, both: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    first = lock_of(wechsel_of("s3://words/de"))
    assert lock_of(wechsel_of("s3://words/de")).uri == first.uri
    bucket.put_object(Bucket="words", Key="de/de.vec", Body=b"Akte 0 1\n")
    assert lock_of(wechsel_of("s3://words/de")).digest != first.digest
    # On a machine that has no copy of what was locked, the bucket's new object is not taken for it.
    monkeypatch.setenv("TOKGRAFT_CACHE_DIR", str(tmp_path / "other"))
    get_settings.cache_clear()
    (tmp_path / "laid_out").mkdir()
    with pytest.raises(CorruptFileError, match=r"s3://words/de/de\.vec no longer has the content"):
        lay_out(open_artifact(first), tmp_path / "laid_out")


@pytest.mark.usefixtures("both")
def test_a_missing_object_and_a_missing_bucket_are_told():
    with pytest.raises(
        OutsideFileError, match=r"s3://words/fr/en\.vec \(source_vectors\) does not"
    ):
        lock_of(wechsel_of("s3://words/fr"))
    with pytest.raises((OutsideFileError, StoreError), match="nowhere"):
        lock_of(wechsel_of("s3://nowhere"))


def test_an_encoder_of_an_unreachable_hub_is_one_line(monkeypatch: pytest.MonkeyPatch):
    from huggingface_hub import constants

    encoder = {"kind": "hub", "repo_id": "some/encoder"}
    for offline, endpoint in ((True, None), (False, "http://127.0.0.1:9")):
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
        if endpoint is not None:
            monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        with pytest.raises(HubError, match=r"cannot fetch some/encoder at main .*local") as told:
            lock_of({"method": "tokenadapt", "encoder": encoder})
        assert "\n" not in str(told.value)
