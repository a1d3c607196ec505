"""No line of the product runs code that data brings along."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path for room in ("flows", "tasks", "infra") for path in (ROOT / room).rglob("*.py")
)
BANNED_MODULES = frozenset({"pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib"})
BANNED_CALLS = frozenset(
    {"eval", "exec", "compile", "torch.load", "os.system", "os.popen", "yaml.unsafe_load",
     "yaml.full_load", "tempfile.mktemp"}
)  # fmt: skip
UNPACKING = frozenset({"extractall", "unpack_archive"})
"""They write where the archive says."""
SAFE_LOADERS = frozenset({"_EachKeyOnce"})
"""Subclasses of yaml.SafeLoader."""


def problems_in(code: str) -> Iterator[str]:
    """Every way in which a file could run what it reads."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            module = getattr(node, "module", None)
            for name in [module] if module else names:
                if name.split(".")[0] in BANNED_MODULES:
                    yield f"line {node.lineno}: imports {name}"
        elif isinstance(node, ast.Call):
            yield from problems_in_call(node)


def problems_in_call(call: ast.Call) -> Iterator[str]:
    name = ast.unparse(call.func)
    given = {word.arg: word.value for word in call.keywords}
    last = name.rpartition(".")[2]
    if name in BANNED_CALLS or last in UNPACKING:
        yield f"line {call.lineno}: calls {name}"
    if name == "yaml.load" and ast.unparse(given.get("Loader", call)) not in SAFE_LOADERS:
        yield f"line {call.lineno}: yaml.load without a safe loader"
    if "shell" in given and not is_false(given["shell"]):
        yield f"line {call.lineno}: runs a shell"
    if "allow_pickle" in given and not is_false(given["allow_pickle"]):
        yield f"line {call.lineno}: allow_pickle"
    if "trust_remote_code" in given and not is_false(given["trust_remote_code"]):
        yield f"line {call.lineno}: trusts remote code"
    if name == "flow" and ast.unparse(given.get("result_serializer", call)) != "'json'":
        yield f"line {call.lineno}: Prefect pickles the error of a run that failed"
    loads = last == "from_pretrained" and name.split(".")[-2].startswith("Auto")
    if loads and "trust_remote_code" not in given:
        yield f"line {call.lineno}: {name} leaves trust_remote_code to its default"


def is_false(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is False


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_product_runs_no_code_that_data_brings(path: Path):
    assert list(problems_in(path.read_text())) == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle", "from cloudpickle import loads", "torch.load(p)", "eval('1')", "exec(t)",
        "yaml.load(t)", "yaml.load(t, Loader=yaml.Loader)", "subprocess.run(c, shell=True)",
        "np.load(p, allow_pickle=True)", "AutoModel.from_pretrained(p)", "archive.extractall()",
        "AutoModel.from_pretrained(p, trust_remote_code=True)", "shutil.unpack_archive(p)",
        "AutoModel.from_pretrained(p, trust_remote_code=trusted)", "os.system(c)",
        "@flow(name='f', persist_result=False)\ndef f(): pass",
    ],
)  # fmt: skip
def test_the_check_sees_what_it_is_for(code: str):
    assert len(list(problems_in(code))) == 1


def test_the_yaml_loader_is_a_safe_one():
    import yaml

    from flows.run_config import _EachKeyOnce

    assert issubclass(_EachKeyOnce, yaml.SafeLoader)
