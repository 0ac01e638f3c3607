"""For tests of programs that call the service: a plugin for pytest, with the fixture `billing`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .reseller import Billing, Clock, Mail
    from .sandbox import BillingService

__all__ = ["Billing", "BillingService", "Clock", "Mail"]


def __getattr__(name: str) -> Any:
    """Reads what is asked for: every pytest reads this module."""
    if name not in __all__:
        raise AttributeError(name)
    from . import reseller, sandbox

    return getattr(sandbox if name == "BillingService" else reseller, name)
