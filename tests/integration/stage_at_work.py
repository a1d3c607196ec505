"""A run of one stage that reads an input and stays at work until its standard input ends."""

import sys
from pathlib import Path

from infra.artifacts import Attempt, Summary, open_artifact, read_artifact
from infra.stages import StageCall, run_call


def main(uri: str) -> None:
    """Read the input when the work is nearly over; print where the attempt lies."""
    source = read_artifact(uri)

    def body(attempt: Attempt) -> Summary:
        (attempt.folder / "half.txt").write_text("half")
        attempt.store.write(f"{attempt.checkpoints_path}/step-00000004/manifest.json", b"{}")
        sys.stdout.write(f"{attempt.path}\n")
        sys.stdout.flush()
        sys.stdin.read()
        text = Path(open_artifact(source) / "a.txt").read_text()
        (attempt.folder / "whole.txt").write_text(text)
        return {}

    artifact = run_call(StageCall("reader", 1, {}, (source,)), 1, body, lambda *_: None)
    sys.stdout.write(f"{artifact.uri}\n")


if __name__ == "__main__":
    main(sys.argv[1])
