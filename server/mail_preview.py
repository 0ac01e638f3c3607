"""`mail preview`: an invitation's e-mail as it would be sent, for who changes its templates."""

from datetime import timedelta

from server.clock import now
from server.composition.mail import mail_settings
from server.config import Settings
from server.storage.interface import Delivery

_ID = "0" * 17


def preview(settings: Settings, reseller: str, customer: str) -> bytes:
    """Returns an e-mail with a link that leads nowhere; raises SettingsError."""
    _, messages = mail_settings(settings)
    at = now()
    delivery = Delivery(
        operation_id=f"bop{_ID}",
        attempt=1,
        lease_until=at,
        cancel_requested=False,
        invitation_id=f"inv{_ID}",
        email="someone@example.com",
        customer_name=customer,
        reseller_name=reseller,
        expires_at=at + settings.invitation_lifetime,
        link_token="0" * 36,
        first_operation_id=f"bop{_ID}",
        requested_at=at - timedelta(seconds=1),
        number=0,
        bounce_local_part="b-preview",
    )
    return messages.invitation(delivery).content
