"""An OpenStack Swift cluster on this machine with its S3 interface: one disk, one replica.

It needs the PyPI packages ``swift`` and ``setuptools<81`` (in this environment, or in the one whose
Python ``SWIFT_PYTHON`` names) and the program ``memcached`` (on Debian the package of that name).
"""

import getpass
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from s3_server import free_port, wait_for

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test:tester",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
}
_PIPELINE = (
    "catch_errors proxy-logging cache listing_formats bulk s3api tempauth copy slo dlo "
    "versioned_writes symlink proxy-server"
)
_FILTERS = """
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:proxy-logging]
use = egg:swift#proxy_logging
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{memcached}
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_object_versioning = true
[filter:symlink]
use = egg:swift#symlink
"""


def why_absent() -> str | None:
    """What is missing, if something is."""
    python = os.environ.get("SWIFT_PYTHON")
    if python is None and find_spec("swift") is None:
        return "swift is not installed (pip install swift 'setuptools<81'), nor SWIFT_PYTHON set"
    if shutil.which("memcached") is None:
        return "memcached is not installed"
    return None


@contextmanager
def swift_server(folder: Path) -> Iterator[str]:
    """The address of a cluster that lives as long as the block."""
    python = os.environ.get("SWIFT_PYTHON", sys.executable)
    ports = {n: free_port() for n in ("memcached", "account", "container", "object", "proxy")}
    (folder / "node" / "d1").mkdir(parents=True)
    (folder / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_suffix = tokgraft\n"
        "[storage-policy:0]\nname = one\ndefault = yes\n"
    )
    processes = [_memcached(ports["memcached"])]
    try:
        for kind in ("account", "container", "object"):
            _build_ring(python, folder, kind, ports[kind])
            processes.append(_start(python, folder, kind, _storage_conf(folder, kind, ports[kind])))
        pipeline = f"[pipeline:main]\npipeline = {_PIPELINE}\n"
        app = "[app:proxy-server]\nuse = egg:swift#proxy\nallow_account_management = true\n"
        conf = f"{_default(folder, ports['proxy'])}{pipeline}{app}account_autocreate = true\n"
        conf += _FILTERS.format(memcached=ports["memcached"])
        processes.append(_start(python, folder, "proxy", conf))
        url = f"http://127.0.0.1:{ports['proxy']}"
        wait_for(url, processes[-1])
        time.sleep(1)
        assert [p.args for p in processes if p.poll() is not None] == []
        yield url
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _memcached(port: int) -> subprocess.Popen:
    command = ["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", str(port), "-U", "0"]
    return subprocess.Popen([*command, "-m", "32"], stderr=subprocess.DEVNULL)


def _default(folder: Path, port: int) -> str:
    return (
        f"[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {port}\nuser = {getpass.getuser()}\n"
        f"swift_dir = {folder}\nworkers = 0\n"
    )


def _storage_conf(folder: Path, kind: str, port: int) -> str:
    return (
        f"{_default(folder, port)}devices = {folder / 'node'}\nmount_check = false\n"
        f"[pipeline:main]\npipeline = {kind}-server\n"
        f"[app:{kind}-server]\nuse = egg:swift#{kind}\n"
    )


def _build_ring(python: str, folder: Path, kind: str, port: int) -> None:
    tool = str(Path(python).with_name("swift-ring-builder"))
    for arguments in (
        ["create", "2", "1", "0"], ["add", f"r1z1-127.0.0.1:{port}/d1", "1"], ["rebalance"],
    ):  # fmt: skip
        subprocess.run(
            [tool, str(folder / f"{kind}.builder"), *arguments], check=True, capture_output=True
        )


def _start(python: str, folder: Path, kind: str, conf: str) -> subprocess.Popen:
    file = folder / f"{kind}-server.conf"
    file.write_text(conf)
    with (folder / f"{kind}.log").open("w") as log:
        return subprocess.Popen(
            [str(Path(python).with_name(f"swift-{kind}-server")), str(file), "-v"],
            stdout=log, stderr=log, cwd=folder,
        )  # fmt: skip
