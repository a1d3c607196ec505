"""requirements.lock: the same versions as constraints.txt, each file by its sha256."""

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LINE = re.compile(r"([a-z0-9._-]+)==(\S+) --hash=sha256:([0-9a-f]{64})")


def pins(file: str) -> dict[str, str]:
    """Version by normalised name."""
    lines = (ROOT / file).read_text().splitlines()
    pairs = [line.split()[0].split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def test_every_line_holds_a_version_and_a_hash_and_no_address():
    lines = [
        line
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if not line.startswith("#")
    ]
    assert len(lines) > 100
    assert [line for line in lines if not LINE.fullmatch(line)] == []


def test_it_holds_the_versions_of_constraints():
    locked, pinned = pins("requirements.lock"), pins("constraints.txt")
    assert {name: v for name, v in locked.items() if pinned.get(name) != v} == {}


def test_it_holds_every_library_that_the_package_asks_for():
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {canonicalize_name(Requirement(text).name) for text in asked} - {"torch"}
    assert names <= set(pins("requirements.lock"))


def test_a_file_without_a_hash_is_refused():
    path = ROOT / "docker" / "lock_requirements.py"
    spec = importlib.util.spec_from_file_location("lock_requirements", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    item = {"metadata": {"name": "A", "version": "1"}, "download_info": {"dir_info": {}}}
    with pytest.raises(ValueError, match="a 1 came without sha256"):
        module.lock_lines({"install": [item]})
