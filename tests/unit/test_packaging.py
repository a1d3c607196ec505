"""The common names flows, tasks and infra are ours, and importing the command line is cheap."""

import importlib.metadata
import subprocess
import sys

import pytest


@pytest.mark.parametrize("name", ["flows", "tasks", "infra"])
def test_top_level_packages_belong_to_tokgraft(name):
    assert set(importlib.metadata.packages_distributions()[name]) == {"tokgraft"}


def test_the_command_line_imports_nothing_heavy():
    code = (
        "import sys, flows.cli\n"
        "print(sorted({'torch', 'ray', 'prefect', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_doors_import_neither_torch_nor_ray():
    code = (
        "import os; os.environ['PREFECT_API_URL'] = 'http://127.0.0.1:9/api'\n"
        "import sys, flows.adapt, tasks.evaluation.summary\n"
        "print(sorted({'torch', 'ray'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
