"""What one check of this machine or a service found."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One line of ``tokgraft doctor``."""

    level: Level
    """``warn``: runs work, with a limit; ``fail``: a run would end here."""
    about: str
    said: str
    """What was found."""
    remedy: str = ""
    """What to do about it; empty where it is fine, or where what was found says so itself."""
