"""What is said of the sender's DNS, by a real name server with few records."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import cast

import aiodns
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from server.doctor.finding import Finding, Level
from server.doctor.sender_dns import examine_sender
from server.worker.mail.dkim import DkimKey

KEY = DkimKey("2026-11", Ed25519PrivateKey.generate())
SIGNED = "2026-11._domainkey.example.org"
GOOD = {
    "example.org": ["some=thing", "v=spf1 mx -all"],
    SIGNED: [KEY.dns_value],
    "_dmarc.example.org": ["v=DMARC1; p=reject"],
}
Records = Mapping[str, list[str]]


class _NameServer(asyncio.DatagramProtocol):
    def __init__(self, records: Records | None) -> None:
        self._records = records

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        answer = dns.message.make_response(query)
        name = query.question[0].name
        if self._records is None:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif texts := self._records.get(name.to_text(omit_final_dot=True)):
            strings = [
                " ".join(f'"{text[at : at + 200]}"' for at in range(0, len(text), 200))
                for text in texts
            ]
            answer.answer.append(
                dns.rrset.from_text(name, 60, dns.rdataclass.IN, dns.rdatatype.TXT, *strings)
            )
        else:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        self._transport.sendto(answer.to_wire(), address)


@asynccontextmanager
async def resolving(records: Records | None) -> AsyncIterator[aiodns.DNSResolver]:
    """Gives a resolver that asks a name server with these records; None: it always fails."""
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _NameServer(records), ("127.0.0.1", 0)
    )
    port = transport.get_extra_info("sockname")[1]
    resolver = aiodns.DNSResolver([f"127.0.0.1:{port}"], timeout=2.0, tries=1)
    try:
        yield resolver
    finally:
        await resolver.close()
        transport.close()


async def examined(records: Records | None, **keys: DkimKey) -> dict[str, Finding]:
    async with resolving(records) as resolver:
        found = examine_sender("example.org", "example.org", [*keys.values()], resolver)
        return {each.subject: each async for each in found}


async def test_a_domain_with_all_records_has_no_problem() -> None:
    found = await examined(GOOD, key=KEY)
    assert {each.level for each in found.values()} == {Level.OK}
    assert set(found) == {"SPF", "DKIM", "DMARC"}


@pytest.mark.parametrize(
    ("changes", "subject", "level", "text"),
    [
        ({"example.org": ["v=spf10 mx"]}, "SPF", Level.PROBLEM, "has no record"),
        ({"example.org": ["v=spf1 mx -all", "v=spf1 a -all"]}, "SPF", Level.PROBLEM, "2 records"),
        ({"example.org": ["v=spf1 mx +all"]}, "SPF", Level.PROBLEM, "all machines"),
        ({"example.org": ["v=spf1 all"]}, "SPF", Level.PROBLEM, "all machines"),
        ({"example.org": ["v=spf1 mx ?all"]}, "SPF", Level.WARNING, "says nothing"),
        ({"example.org": ["v=spf1 redirect=_spf.example.org"]}, "SPF", Level.OK, "redirect"),
        ({SIGNED: []}, "DKIM", Level.PROBLEM, "has no record"),
        ({SIGNED: ["v=DKIM1; k=ed25519; p="]}, "DKIM", Level.PROBLEM, "has another key"),
        ({SIGNED: [f"v=DKIM1; k=ed25519; x={KEY.dns_value[-9:]}"]}, "DKIM", Level.PROBLEM, "another"),
        ({"_dmarc.example.org": []}, "DMARC", Level.PROBLEM, "has no record"),
        ({"_dmarc.example.org": ["v=DMARC1; p=none"]}, "DMARC", Level.WARNING, "policy none"),
        ({"_dmarc.example.org": ["v=DMARC1; rua=x"]}, "DMARC", Level.PROBLEM, "no policy"),
        ({"_dmarc.example.org": ["v=DMARC1; p=reject", "v=DMARC1; p=none"]}, "DMARC", Level.PROBLEM, "2 records"),
    ],
)  # fmt: skip
async def test_records_that_are_missing_or_wrong_are_told(
    changes: Records, subject: str, level: Level, text: str
) -> None:
    found = await examined({**GOOD, **changes}, key=KEY)
    assert found[subject].level is level
    assert text in found[subject].text
    assert bool(found[subject].advice) is (level is not Level.OK)
    others = [each.level for name, each in found.items() if name != subject]
    assert others == [Level.OK] * 2


async def test_the_policy_of_the_domain_above_counts() -> None:
    records = {"_dmarc.example.org": ["v=DMARC1; p=quarantine"]}
    async with resolving(records) as resolver:
        found = [
            each async for each in examine_sender("mail.example.org", "example.org", [], resolver)
        ]
    assert found[-1].text == "_dmarc.example.org has policy quarantine"


async def test_a_missing_key_and_a_missing_name_server_are_told() -> None:
    assert (await examined(GOOD))["DKIM"].level is Level.WARNING
    found = await examined(None, key=KEY)
    assert list(found) == ["DNS"]
    assert found["DNS"].level is Level.PROBLEM
