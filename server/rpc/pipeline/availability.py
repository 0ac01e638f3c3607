"""Whether calls are answered at all."""

from server.domain.errors import BillingError, Reason


class Availability:
    """Has calls refused at once while the database is away, rather than after each has waited for it.

    `refusal` is what they are refused with, None while they are not.
    """

    __slots__ = ("refusal",)

    def __init__(self) -> None:
        self.refusal: BillingError | None = None

    def set(self, available: bool) -> None:
        """Says whether the database can be used."""
        self.refusal = None if available else _away()


def _away() -> BillingError:
    return BillingError(
        Reason.STORAGE_UNAVAILABLE,
        "The service's database can't be reached; try again shortly.",
        retry_after_s=1.0,
    )
