"""Signatures of e-mails, verified by another implementation than the one that made them."""

import json
import os
import subprocess
from typing import Any

import pytest

from tests.clients.environments import command
from tests.worker.test_dkim import E_MAILS, KEYS, RECORDS, SIGNER

# The first run installs the package.
pytestmark = pytest.mark.timeout(600)


def verified(content: bytes) -> list[dict[str, Any]]:
    words, env = command("mailauth", "verify")
    done = subprocess.run(
        words,
        input=content,
        env={**os.environ, **env, "RECORDS": json.dumps(RECORDS)},
        capture_output=True,
        check=True,
        timeout=60,
    )
    results: list[dict[str, Any]] = json.loads(done.stdout)
    return results


@pytest.mark.parametrize("content", E_MAILS.values(), ids=E_MAILS)
def test_each_signature_is_verified(content: bytes) -> None:
    assert verified(SIGNER.signed(content)) == [
        {
            "algorithm": key.algorithm.decode(),
            "selector": key.selector,
            "domain": "example.com",
            "result": "pass",
        }
        for key in KEYS
    ]


def test_a_changed_body_is_noticed() -> None:
    changed = SIGNER.signed(E_MAILS["plain"]).replace(b"Acme", b"Evil")
    assert [each["result"] for each in verified(changed) if each["result"] == "pass"] == []
