"""What is taken from APT's own output."""

from pathlib import Path

import pytest

from infra import apt


@pytest.fixture
def private_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> apt.PrivateApt:
    """APT whose program is a script of the test: it prints what the real one printed."""
    for name in ("apt-get", "dpkg-deb"):
        script = tmp_path / name
        script.write_text(f"#!/bin/sh\ncat {tmp_path}/said\ncat {tmp_path}/complained >&2\n")
        script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (tmp_path / "said").touch()
    (tmp_path / "complained").touch()
    return apt.PrivateApt(tmp_path / "state", [])


def test_a_password_in_an_address_is_neither_kept_nor_shown(
    private_apt: apt.PrivateApt, tmp_path: Path
):
    line = "'https://me:secret@mirror.test/d/pool/a_1_all.deb' a_1_all.deb 9 SHA256:ab\n"
    (tmp_path / "said").write_text(line)
    (package,) = private_apt.available(["a"])
    assert package.uri == "https://mirror.test/d/pool/a_1_all.deb"
    (tmp_path / "said").write_text("")
    (tmp_path / "complained").write_text("E: Failed to fetch https://me:secret@mirror.test/d\n")
    with pytest.raises(apt.DownloadFailedError, match=r"fetch https://mirror\.test/d") as caught:
        private_apt.update()
    assert "secret" not in str(caught.value)
