"""Signs deliveries as https://www.standardwebhooks.com says, with its own library."""

from collections.abc import Sequence
from datetime import UTC, datetime

from standardwebhooks import Webhook


def signed_headers(
    secrets: Sequence[str], event_id: str, sent_at: datetime, body: str
) -> dict[str, str]:
    """Returns the three headers of a delivery. `secrets` are `whsec_…`, the newest first.

    While an old secret still holds there are two, and a signature by each.
    """
    # The library takes aware times for naive ones.
    at = sent_at.astimezone(UTC)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(
            Webhook(secret).sign(event_id, at, body) for secret in secrets
        ),
    }
