"""What docs/operators/failover.md says to set is what is drilled."""

import re

import yaml

from tests.failover.cluster import DCS
from tests.failover.database_routes import HAPROXY
from tests.failover.pgbouncer import INI
from tests.service import ROOT

_PAGE = (ROOT / "docs" / "operators" / "failover.md").read_text()
# Of a drill's small disks alone.
_SMALL = {"wal_keep_size", "min_wal_size", "max_wal_size", "shared_buffers"}
_OWN = ("bind ", "server ", "{servers}")


def _block(begins: str) -> str:
    """Returns the block of code with a line that begins so."""
    blocks = re.findall(r"```\w*\n(.*?)```", _PAGE, re.DOTALL)
    (found,) = (each for each in blocks if re.search(f"^{re.escape(begins)}", each, re.MULTILINE))
    return str(found)


def test_patroni_is_set_as_the_page_says() -> None:
    drilled = {
        **DCS,
        "postgresql": {
            **DCS["postgresql"],
            "parameters": {
                name: value
                for name, value in DCS["postgresql"]["parameters"].items()
                if name not in _SMALL
            },
        },
    }
    assert yaml.safe_load(_block("ttl:")) == drilled


def test_haproxy_is_set_as_the_page_says() -> None:
    page, drilled = (
        [line.strip() for line in each.splitlines() if not line.strip().startswith(_OWN)]
        for each in (_block("listen leader"), HAPROXY)
    )
    assert [line for line in page if line] == [line for line in drilled if line]


def test_pgbouncer_is_set_as_the_page_says() -> None:
    lines = [line for line in _block("; pgbouncer.ini").splitlines() if "=" in line]
    assert INI.strip().splitlines()[-len(lines) :] == lines
