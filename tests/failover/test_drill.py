"""A database that fails over, in short; `make failover` has all faults, and networks that are cut."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.failover.drill import Drill, drill
from tests.failover.faults import FAULTS
from tests.failover.parts import PartsMissingError, patroni, postgresql, program

_SHORT = ("switch-over", "PostgreSQL killed", "etcd killed")
_HOLD_S = 3.0
# Machines that many tests share are slow: only who waits until he is told to stop is too late here.
_LIMIT_S = 20.0


@pytest.fixture(scope="module")
def held() -> Iterator[Drill]:
    try:
        programs = postgresql("15")
        program("etcd")
        patroni()
    except PartsMissingError as error:
        pytest.skip(f"the machines can't be had here, so no fail-over is tried: {error}")
    # Not in pytest's own folder, which is closed to the user that PostgreSQL runs as.
    with (
        tempfile.TemporaryDirectory(prefix="failover") as folder,
        drill(Path(folder), programs, loop_wait_s=1) as made,
    ):
        made.before_s, made.after_s, made.limit_s = 1.0, 3.0, _LIMIT_S
        made.across_limit_s = _LIMIT_S
        yield made


@pytest.mark.timeout(400)  # where the parts are fetched first
def test_nothing_is_lost_or_done_twice(held: Drill) -> None:
    row = held.run(*(each._replace(hold_s=_HOLD_S) for each in FAULTS if each.name in _SHORT))
    print(row)
    assert not row.problems
    assert not row.is_too_long
    assert not row.is_slow_across
    assert row.acknowledged
