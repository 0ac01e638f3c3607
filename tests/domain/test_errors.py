"""What is written of each reason."""

import inspect
import re

import pytest

from server.domain.errors import Reason

SOURCE = inspect.getsource(Reason)


def comment(reason: Reason) -> str:
    """Returns the comment right above a reason, in one line."""
    found = re.search(rf"((?:^    # .*\n)*)^    {reason.name} = ", SOURCE, re.MULTILINE)
    assert found, reason
    return " ".join(line.strip().removeprefix("# ") for line in found[1].splitlines())


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_has_a_comment_of_what_happened_and_what_to_do_next(reason: Reason) -> None:
    happened, colon, next_step = comment(reason).partition(": ")
    assert colon, "write what the caller did or what happened, a colon, and what to do next"
    assert len(happened.split()) >= 3
    assert len(next_step.split()) >= 2
    assert next_step.endswith(".")
