"""What a reseller may have an invitation say and do, beside who invites whom."""

from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple

SHORTEST_LIFETIME = timedelta(hours=1)
LONGEST_LIFETIME = timedelta(days=90)


# How many days before an invitation's end its invitee may be reminded.
LONGEST_REMINDER_D = 30


class DeliveryMethod(StrEnum):
    """How the link gets to the invitee: by our e-mail, or by whatever the reseller writes itself."""

    EMAIL = "email"
    LINK = "link"


class InvitationOptions(NamedTuple):
    """All can be left out.

    `language` is of e-mail and page, "" for what the invitee's browser and the settings say.
    `inviter` is who invites for the reseller, and `note` what they write: plain text, with `\\n`
    between its lines. `lifetime` is how long the invitation can be accepted each time that it is
    sent; None for the setting. `return_uri` is where the page leads after the answer. `reminders` are
    how many days before its end the invitee is reminded; None for the setting, none if empty.
    """

    language: str = ""
    inviter: str = ""
    note: str = ""
    lifetime: timedelta | None = None
    return_uri: str = ""
    method: DeliveryMethod = DeliveryMethod.EMAIL
    reminders: tuple[int, ...] | None = None

    def without_words(self) -> "InvitationOptions":
        """Returns them without what somebody wrote."""
        return self._replace(inviter="", note="", return_uri="")


NO_OPTIONS = InvitationOptions()
