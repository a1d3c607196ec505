"""One of several processes that run the same stage at the same time; prints what it came to."""

import sys
import time
from pathlib import Path

from infra.artifacts import Attempt, Summary, open_artifact
from infra.stages import StageCall, run_call


def main(number: str, start: float) -> None:
    """Run it at that time; its file holds the same text in every process, its summary does not."""

    def body(attempt: Attempt) -> Summary:
        time.sleep(max(0.0, start - time.time()))
        (attempt.folder / "text.txt").write_text("the same")
        return {"runner": number}

    artifact = run_call(StageCall("raced", 1, {}, ()), 1, body, lambda *_: None)
    text = Path(open_artifact(artifact) / "text.txt").read_text()
    sys.stdout.write(f"{artifact.uri} {text}\n")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
