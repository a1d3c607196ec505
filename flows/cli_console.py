"""Where the commands print to."""

from rich.console import Console


def make_console() -> Console:
    """The terminal or a log of lines; nothing where logs are JSON, which this sets up."""
    from infra.logs import set_up_logs

    if set_up_logs():
        return Console(quiet=True)  # its records say the same
    console = Console()
    return console if console.is_terminal else Console(width=120)  # a log has no width of its own
