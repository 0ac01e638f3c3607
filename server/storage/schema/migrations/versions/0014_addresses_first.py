"""All invitations to an address are found, whoever's they are: its e-mails are limited by them."""

from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.drop_index("invitations_by_email", "invitations")
    op.create_index(
        "invitations_by_email", "invitations", ["email_key", "reseller_id", "created_at", "id"]
    )
