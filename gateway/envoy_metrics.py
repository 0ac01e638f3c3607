"""Envoy's metrics by Prometheus's conventions: what each is, `_total` behind counters, base units.

https://prometheus.io/docs/practices/naming/
"""

import re
from collections.abc import Iterator

# What those who watch for the certificate's end ask for, in place of Envoy's own in days.
_CERTIFICATE_DAYS = "envoy_server_days_until_first_cert_expiring"
_CERTIFICATE = "billing_certificate_remaining_seconds"
_DAY_S = 86_400
# Units that are none of the base units; what counts something that is no counter.
_UNCONVENTIONAL = re.compile(r"_(ms|days)(_|$)")
_NAMES = re.compile(r"^# TYPE (\S+)", re.MULTILINE)
_OF_COUNTERS = ("_total", "_count")


def by_conventions(text: str) -> str:
    """Returns Envoy's text format without what has no name by the conventions."""
    return "".join(f"{line}\n" for line in _lines(text))


def _lines(text: str) -> Iterator[str]:
    name = kept = ""
    known = set(_NAMES.findall(text))
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ", 3)
            kept = _kept(name, kind, known)
            if kept == _CERTIFICATE:
                yield f"# HELP {kept} Until the end of the first certificate to end, in whole days."
            elif kept:
                yield f"# HELP {kept} Envoy's statistic {name}."
            if kept:
                yield f"# TYPE {kept} {kind}"
        elif kept == _CERTIFICATE:
            sample, _, days = line.rpartition(" ")
            yield f"{kept}{sample.removeprefix(name)} {int(float(days)) * _DAY_S}"
        elif kept and line.startswith(name):
            yield f"{kept}{line.removeprefix(name)}"


def _kept(name: str, kind: str, known: set[str]) -> str:
    """Returns the name of a metric by the conventions, "" where there is none.

    What has the name of another's total is the same by the answers' codes.
    """
    if name == _CERTIFICATE_DAYS:
        return _CERTIFICATE
    if _UNCONVENTIONAL.search(name) or (kind == "gauge" and name.endswith(_OF_COUNTERS)):
        return ""
    if kind != "counter" or name.endswith("_total"):
        return name
    return f"{name}_by_code_total" if f"{name}_total" in known else f"{name}_total"
