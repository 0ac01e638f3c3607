"""What an examination finds."""

from enum import Enum
from typing import NamedTuple


class Level(Enum):
    """How bad it is. A warning is for people to judge; a problem keeps the service from its work."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


class Finding(NamedTuple):
    """One thing that was looked at: how it stands, and what to do about it unless it is well."""

    level: Level
    subject: str
    text: str
    advice: str = ""


def ok(subject: str, text: str) -> Finding:
    """Returns what is well."""
    return Finding(Level.OK, subject, text)


def warning(subject: str, text: str, advice: str) -> Finding:
    """Returns what people should look at."""
    return Finding(Level.WARNING, subject, text, advice)


def problem(subject: str, text: str, advice: str) -> Finding:
    """Returns what must be mended."""
    return Finding(Level.PROBLEM, subject, text, advice)
