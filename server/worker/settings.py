"""How a runner works: the one place of its defaults, which those of the settings are made from."""

from dataclasses import dataclass, field
from datetime import timedelta

from server.worker.retry_policy import Retries, RetryPolicy


@dataclass(frozen=True, slots=True)
class RunnerSettings:
    """How a runner works; the defaults suit e-mails.

    parallel: attempts at once, and claimed at most.
    extra_slots, slow_after: so many attempts that have taken this long already don't count, so that
        recipients whose servers hang hold the others up for no longer than that.
    lease: how long a claim holds; after a crash, how long until another worker takes over.
    attempt_within: the longest that one attempt may take; shorter than the lease by what it takes
        to record the outcome.
    retry: when what failed is tried again.
    longest_wait: how long to trust that word of new work arrives.
    """

    parallel: int = 24
    extra_slots: int = 40
    slow_after: timedelta = timedelta(seconds=2)
    lease: timedelta = timedelta(seconds=30)
    attempt_within: timedelta = timedelta(seconds=24)
    retry: Retries = field(default_factory=RetryPolicy)
    longest_wait: timedelta = timedelta(seconds=30)

    def __post_init__(self) -> None:
        if self.parallel < 1:
            raise ValueError("parallel must be 1 or more")
        if self.extra_slots < 0:
            raise ValueError("extra_slots must not be negative")
        if not timedelta() < self.attempt_within < self.lease:
            raise ValueError("an attempt must have some time, and less than the lease")
