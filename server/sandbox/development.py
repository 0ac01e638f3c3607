"""Who may call what `billing-server dev` starts, as the processes that it starts tell each other."""

import json
from dataclasses import dataclass
from pathlib import Path

# The compiled protos of the contract and of the sandbox's own service.
SANDBOX_PROTOS = Path("gen", "sandbox.pb")


@dataclass(frozen=True)
class Development:
    """One service account, which owns one reseller, and its token."""

    subject_id: str
    reseller_id: str
    token: str


def run_file(var: Path) -> Path:
    """Returns the file in which a run tells programs where it is reached, as long as it runs."""
    return var / "dev.json"


def mail_server(var: Path) -> str:
    """Returns whom a run in this folder hands its e-mails to, host:port; "" where there is none."""
    try:
        return str(json.loads(run_file(var).read_bytes())["smtp"]).removeprefix("smtp://")
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def identity_file(var: Path) -> Path:
    """Returns the file that holds a `Development`."""
    return var / "keys" / "dev.json"


def account_key_file(var: Path) -> Path:
    """Returns the file with the service account's key, for SDKs."""
    return var / "keys" / "dev-service-account.json"


def read_identity(var: Path) -> Development | None:
    """Returns who may call, None before the first run."""
    file = identity_file(var)
    return Development(**json.loads(file.read_text())) if file.exists() else None
