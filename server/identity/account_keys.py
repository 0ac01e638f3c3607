"""Keys of service accounts, and the files in which the official SDKs expect them."""

from datetime import datetime

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from server.domain import ids
from server.domain.access import AccountKey

_ALGORITHM = "RSA_2048"


def new_account_key(account_id: str, now: datetime) -> tuple[AccountKey, dict[str, str]]:
    """Makes a key pair; returns the half to keep, and the content of the account's key file."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public_pem = (
        private.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )
    private_pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    key = AccountKey(ids.new_id(ids.KEY), account_id, _ALGORITHM, public_pem, now)
    return key, {
        "id": key.id,
        "service_account_id": account_id,
        "created_at": now.isoformat().replace("+00:00", "Z"),
        "key_algorithm": _ALGORITHM,
        "public_key": public_pem,
        "private_key": private_pem,
    }
