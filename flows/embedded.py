"""Prefect without a server of its own: one inside this run, its files in tokgraft's data folder.

Environment variables are set before Prefect is imported; those that a person set win.
"""

import os

from infra.settings import get_settings


def prepare_prefect() -> bool:
    """Make this process ready to import Prefect; True when it brings its own server.

    With ``PREFECT_API_URL`` set, runs are reported there and nothing but the console is changed.
    """
    # Our own display shows stages, and the command line shows an error as one line; Prefect's
    # console would repeat both. Its log still goes to the API.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    if os.environ.get("PREFECT_API_URL"):
        return False
    home = get_settings().data_folder / "prefect"
    home.mkdir(parents=True, exist_ok=True)
    for name, value in {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "DO_NOT_TRACK": "1",
    }.items():
        os.environ.setdefault(name, value)
    return True
