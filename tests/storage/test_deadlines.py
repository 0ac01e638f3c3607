"""How long callers' deadlines let an answer take."""

import contextvars
import math
from types import SimpleNamespace

import pytest

from server.storage.interface import deadlines

NOW = 100.0


@pytest.mark.parametrize(
    ("seconds", "passed", "left"),
    [
        (10.0, 0.0, 9.75),
        (10.0, 9.0, 0.75),
        (10.0, 9.5, 0.25),
        (10.0, 9.75, 0.125),
        (10.0, 10.0, 0.0),
        (1.0, 0.0, 0.75),
        (0.999, 0.0, math.inf),
        (0.0, 0.0, math.inf),
        (math.inf, 3600.0, math.inf),
    ],
)
def test_an_answer_comes_before_the_deadline(
    monkeypatch: pytest.MonkeyPatch, seconds: float, passed: float, left: float
) -> None:
    """Whoever gives less than a second is not told that the database is away: it may be busy."""
    monkeypatch.setattr(deadlines, "time", SimpleNamespace(monotonic=lambda: NOW))
    call = contextvars.copy_context()
    call.run(deadlines.end_within, seconds)
    assert call.run(deadlines.time_to_answer_s, NOW + passed) == left
    assert deadlines.time_to_answer_s(NOW + passed) == math.inf  # of any other call
