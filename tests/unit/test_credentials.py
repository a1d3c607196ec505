"""Secrets inside addresses are refused, and taken out of what others say."""

import pytest
import yaml
from pydantic import ValidationError

from flows.run_config import RunConfigError, load_run_config
from infra.credentials import has_credentials, without_credentials
from infra.ray_connection import _code_for_cluster
from infra.settings import Settings
from tasks.corpus.config import FilesSource

PLANTED = "planted-S3cret"
CARRYING = [
    f"s3://key:{PLANTED}@bucket/texts/*.txt",
    f"https://{PLANTED}@example.org/a.txt",
    f"https://user:pass@{PLANTED}@example.org/a.txt",
    f"https://example.org/a.txt?X-Amz-Signature={PLANTED}",
    f"https://example.org/a.txt?v=1&token={PLANTED}",
]


@pytest.mark.parametrize("address", CARRYING)
def test_they_are_found_and_taken_out(address: str):
    assert has_credentials(address)
    assert PLANTED not in without_credentials(f"could not read {address}: 403 for '{address}'")


@pytest.mark.parametrize(
    "address",
    ["s3://bucket/a@b.txt", "/home/me@work/x.txt", "https://example.org/a?page=2", "mail me@here",
     "hub:owner/name@0123abc/file", "wheel:name==1"],
)  # fmt: skip
def test_other_addresses_are_left_alone(address: str):
    assert not has_credentials(address)
    assert without_credentials(address) == address


@pytest.mark.parametrize("address", CARRYING)
def test_a_run_file_that_holds_one_is_refused_without_repeating_it(tmp_path, tiny_run, address):
    tiny_run["corpus"]["sources"][0]["paths"] = ["fine.txt", address]
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tiny_run))
    with pytest.raises(RunConfigError, match=r"files: .*the address in paths carries") as caught:
        load_run_config(tmp_path / "run.yaml")
    assert PLANTED not in str(caught.value)


@pytest.mark.parametrize("address", CARRYING)
def test_nor_is_one_repeated_that_stands_where_no_address_belongs(tmp_path, tiny_run, address):
    for place, key in ((tiny_run, address), (tiny_run["tokenizer"], "method")):
        place[key] = address
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tiny_run))
    with pytest.raises(RunConfigError, match=r"tokenizer: Input tag.*: Extra inputs") as caught:
        load_run_config(tmp_path / "run.yaml")
    assert PLANTED not in str(caught.value)


def test_no_config_repeats_what_it_refuses():
    with pytest.raises(ValidationError) as caught:
        FilesSource.model_validate({"name": "a", "paths": (CARRYING[0],)})
    assert PLANTED not in str(caught.value)


@pytest.mark.parametrize("name", ["TOKGRAFT_STORE", "TOKGRAFT_RAY_ADDRESS"])
def test_a_setting_that_holds_one_is_refused_without_repeating_it(monkeypatch, name):
    monkeypatch.setenv(name, CARRYING[0])
    with pytest.raises(ValidationError, match="the address carries") as caught:
        Settings()  # pyright: ignore[reportCallIssue]
    assert PLANTED not in str(caught.value)


def test_ray_is_given_settings_and_nothing_else(monkeypatch):
    monkeypatch.setenv("TOKGRAFT_WEBHOOK_SECRET", PLANTED)
    sent = _code_for_cluster()["env_vars"]
    assert "TOKGRAFT_STORE" in sent
    assert PLANTED not in sent.values()
