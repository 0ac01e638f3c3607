"""Whether DNS vouches for the sender of the e-mails: SPF, DKIM and DMARC."""

import re
from collections.abc import AsyncIterator, Sequence

import aiodns
from aiodns.error import ARES_ENODATA, ARES_ENOTFOUND, DNSError

from server.doctor.finding import Finding, ok, problem, warning
from server.worker.mail.dkim import DkimKey

_TIMEOUT_S = 3.0
_TRIES = 2
# By DNS alone: what else there is must be known to who runs the domain.
_LARGEST_POLICY = "quarantine|reject"


def system_resolver() -> aiodns.DNSResolver:
    """Returns a resolver that asks this machine's name servers. Must be made in the event loop."""
    return aiodns.DNSResolver(timeout=_TIMEOUT_S, tries=_TRIES)


async def examine_sender(
    domain: str, dkim_domain: str, keys: Sequence[DkimKey], resolver: aiodns.DNSResolver
) -> AsyncIterator[Finding]:
    """Yields what DNS says of the sender's domain, and of the keys that sign its e-mails."""
    try:
        yield await _spf(domain, resolver)
        if not keys:
            yield warning(
                "DKIM",
                "e-mails are not signed here",
                "run `billing-server dkim new`, unless your mail server signs them",
            )
        for key in keys:
            yield await _dkim(key, dkim_domain, resolver)
        yield await _dmarc(domain, resolver)
    except DNSError as error:
        yield problem(
            "DNS",
            f"the name servers don't answer: {error.args[-1]}",
            "look at /etc/resolv.conf and at the way to the name servers, then run it again",
        )


async def _spf(domain: str, resolver: aiodns.DNSResolver) -> Finding:
    found = [
        text
        for text in await _texts(domain, resolver)
        if re.match(r"v=spf1( |$)", text, re.IGNORECASE)
    ]
    if not found:
        return problem(
            "SPF",
            f"{domain} has no record",
            f'publish `{domain}. TXT "v=spf1 … -all"` that names the machines of your mail server',
        )
    if len(found) > 1:
        return problem("SPF", f"{domain} has {len(found)} records, so none counts", "join them")
    if re.search(r"(^| )\+?all( |$)", found[0], re.IGNORECASE):
        return problem(
            "SPF", f"{domain} lets all machines send: {found[0]}", "end the record with -all"
        )
    if not re.search(r"(^| )([-~]all|redirect=\S+)( |$)", found[0], re.IGNORECASE):
        return warning(
            "SPF", f"{domain} says nothing of other machines: {found[0]}", "end it with -all"
        )
    return ok("SPF", f"{domain}: {found[0]}")


async def _dkim(key: DkimKey, domain: str, resolver: aiodns.DNSResolver) -> Finding:
    name = f"{key.selector}._domainkey.{domain}"
    found = await _texts(name, resolver)
    advice = f'publish `{name}. TXT "{key.dns_value}"`'
    if not found:
        return problem("DKIM", f"{name} has no record", advice)
    if not any(_tag(text, "p") == _tag(key.dns_value, "p") for text in found):
        return problem("DKIM", f"{name} has another key than the one that signs", advice)
    return ok("DKIM", f"{name} has the key that signs")


async def _dmarc(domain: str, resolver: aiodns.DNSResolver) -> Finding:
    """Looks at the domain, then at those above it, as receivers do."""
    labels = domain.split(".")
    for above in range(max(1, len(labels) - 1)):
        name = f"_dmarc.{'.'.join(labels[above:])}"
        found = [
            text
            for text in await _texts(name, resolver)
            if re.match(r"v\s*=\s*DMARC1\s*(;|$)", text)
        ]
        if len(found) > 1:
            return problem("DMARC", f"{name} has {len(found)} records, so none counts", "keep one")
        if found:
            policy = _tag(found[0], "p").lower()
            if policy == "none":
                return warning(
                    "DMARC",
                    f"{name} has policy none",
                    f"once its reports show that all is signed, raise it to {_LARGEST_POLICY}",
                )
            if not re.fullmatch(_LARGEST_POLICY, policy):
                return problem("DMARC", f"{name} has no policy", "add p=none, quarantine or reject")
            return ok("DMARC", f"{name} has policy {policy}")
    return problem(
        "DMARC",
        f"{domain} has no record",
        f'publish `_dmarc.{domain}. TXT "v=DMARC1; p=none; rua=mailto:dmarc-reports@{domain}"`',
    )


async def _texts(name: str, resolver: aiodns.DNSResolver) -> list[str]:
    """Returns the TXT records of a name; none where there is no such name. Raises DNSError."""
    try:
        result = await resolver.query_dns(name, "TXT")
    except DNSError as error:
        if error.args[0] in (ARES_ENODATA, ARES_ENOTFOUND):
            return []
        raise
    texts = [getattr(record.data, "data", b"") for record in result.answer]
    return [text.decode(errors="replace") for text in texts if text]


def _tag(record: str, name: str) -> str:
    """Returns the value of a tag of a DKIM or DMARC record, without blanks."""
    for part in record.split(";"):
        tag, _, value = part.partition("=")
        if tag.strip().lower() == name:
            return re.sub(r"\s", "", value)
    return ""
