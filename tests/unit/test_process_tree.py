"""Whatever a process starts is found and ends with it, whoever its parent is by then."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's part is Linux's")

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def run(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def test_an_orphan_that_ignores_sigterm_ends_too():
    # The shell in between ends at once, so that its child is nobody's.
    out = run(f"""
import os, subprocess, sys, time
from infra.process_tree import adopt_orphans, descendants, end_descendants
adopt_orphans()
begin = '"$0" -c "$1" > /dev/null 2>&1 & echo $!'
shell = subprocess.run(["sh", "-c", begin, sys.executable, {STUBBORN!r}],
                       capture_output=True, text=True)
orphan = int(shell.stdout)
time.sleep(1)
assert descendants(os.getpid()) == [orphan]
end_descendants(0.2)
assert descendants(os.getpid()) == []
print(orphan)
""")
    assert not is_alive(int(out))


def test_an_adopted_process_that_ended_leaves_nothing():
    out = run("""
import os, subprocess, time
from infra.process_tree import adopt_orphans, bury_orphans
adopt_orphans()
shell = subprocess.run(["sh", "-c", "sleep 0.3 > /dev/null & echo $!"], capture_output=True)
own = subprocess.Popen(["true"])
orphan = int(shell.stdout)
time.sleep(1)
assert os.path.exists(f"/proc/{orphan}")
bury_orphans([own.pid])
print(os.path.exists(f"/proc/{orphan}"), own.wait())
""")
    assert out.split() == ["False", "0"]


def test_what_is_spared_lives():
    out = run(f"""
import subprocess, sys
from infra.process_tree import end, end_descendants
first, second = (subprocess.Popen([sys.executable, "-c", {STUBBORN!r}]) for _ in range(2))
end_descendants(0.1, spare=frozenset({{first.pid}}))
print(first.poll(), second.wait())
end(first, 0.1)
print(first.returncode)
""")
    spared, other, at_last = out.split()
    assert spared == "None"
    assert other in ("-9", "-15")  # it may not have come to ignoring SIGTERM
    assert at_last in ("-9", "-15")


def test_a_child_dies_with_its_parent():
    out = run(f"""
import os, subprocess, sys
from infra.process_tree import die_with_parent
child = subprocess.Popen([sys.executable, "-c", {STUBBORN!r}], preexec_fn=die_with_parent,
                         stdout=subprocess.DEVNULL)
print(child.pid, flush=True)
os._exit(0)
""")
    deadline = time.monotonic() + 20
    while is_alive(int(out)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(int(out))
