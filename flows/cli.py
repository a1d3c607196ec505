"""The command line: the only argument parser.

Heavy imports stay inside the commands, so that ``--help`` and errors are quick.
"""

import logging
import os
import sys

import typer

from flows.cli_artifacts import artifacts
from flows.cli_looks import explain, inspect, mixture
from flows.cli_runs import compare, plan, run
from flows.cli_server import doctor, schedule, serve, up, webhook

COMMANDS = (run, compare, plan, up, serve, schedule, inspect, explain, mixture, doctor, webhook)
"""In the order of ``--help``."""

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Give a pretrained language model a new tokenizer.",
)
for command in COMMANDS:
    app.command()(command)
app.add_typer(artifacts, name="artifacts")


def main() -> None:
    """Run a command; what a person can mend is one line on stderr and exit code 2."""
    from pydantic import ValidationError

    from flows.lost_server import ServerLostError
    from infra.errors import InfraError
    from tasks.shared.errors import InputError

    try:
        app()
    except ServerLostError as error:
        code = _say(str(error))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # Prefect's threads would go on looking for the server for a minute or two
    except (InputError, InfraError) as error:
        sys.exit(_say(str(error)))
    except ValidationError as error:
        from flows.run_config import describe_problems

        sys.exit(_say(f"settings from the environment: {describe_problems(error)}"))


def _say(text: str) -> int:
    from infra.credentials import without_credentials
    from infra.logs import logs_are_json

    line = without_credentials(" ".join(text.split()))
    if logs_are_json():
        logging.getLogger(__name__).error(line)
    else:
        sys.stderr.write(f"tokgraft: {line}\n")
    return 2


if __name__ == "__main__":
    main()
