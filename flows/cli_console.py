"""Where the commands print to."""

from rich.console import Console

from infra.logs import set_up_logs


def make_console() -> Console:
    """For what a command is asked for: the terminal, or lines of a file or pipe.

    Where logs are JSON, which this sets up, they go to stderr and leave it alone.
    """
    set_up_logs()
    console = Console()
    return console if console.is_terminal else Console(width=120)  # a log has no width of its own


def make_run_console() -> Console:
    """For how a run goes on: nothing where logs are JSON, whose records say the same."""
    return Console(quiet=True) if set_up_logs() else make_console()
