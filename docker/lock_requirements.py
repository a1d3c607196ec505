"""Write requirements.lock from pip's report: exact versions, each with its file's sha256.

Usage: pip install --dry-run --ignore-installed --report - -c constraints.txt . |
       python docker/lock_requirements.py > requirements.lock
"""

import json
import sys
from typing import Any

HEADER = """\
# Exact files of a tested environment, by sha256 (Python 3.11, Linux x86-64); `make lock` writes it.
# Install with: pip install --require-hashes --no-deps -r requirements.lock
# torch is not in it, for its file depends on the index that is chosen; install it first.
"""
NOT_LOCKED = frozenset({"tokgraft", "torch", "triton"})


def lock_lines(report: dict[str, Any]) -> list[str]:
    """One line a distribution, sorted by name.

    Raises:
        ValueError: pip did not say the sha256 of a file.
    """
    lines: list[str] = []
    for item in report["install"]:
        name, version = item["metadata"]["name"].lower(), item["metadata"]["version"]
        if name in NOT_LOCKED or name.startswith("nvidia-"):
            continue
        hashes = item["download_info"].get("archive_info", {}).get("hashes", {})
        if "sha256" not in hashes:
            raise ValueError(f"{name} {version} came without sha256; take it from an index.")
        lines.append(f"{name}=={version} --hash=sha256:{hashes['sha256']}")
    return sorted(lines)


if __name__ == "__main__":
    sys.stdout.write(HEADER + "\n".join(lock_lines(json.load(sys.stdin))) + "\n")
