"""Filters of lists: the part of https://google.aip.dev/160 that our lists need."""

import re
from collections.abc import Collection

from server.domain.errors import BillingError, invalid_field

_TERM = re.compile(
    r"\s*(?P<field>[a-z_]+)\s*=\s*"
    r"""(?:"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>(?:[^'\\]|\\.)*)'|(?P<bare>[^\s"'()=]+))\s*"""
)
_AND = re.compile(r"AND\s")
_ESCAPED = re.compile(r"\\(.)")


def parse_filter(text: str, fields: Collection[str]) -> dict[str, str]:
    """Returns the values in `field = value AND other = "value"`, by field.

    Values may be quoted; each field may stand once. Raises FIELDS_INVALID.
    """
    found: dict[str, str] = {}
    at = 0
    while text[at:].strip():
        term = _TERM.match(text, at)
        if not term or term["field"] not in fields or term["field"] in found:
            raise invalid_filter(f"Must be terms like {_terms(fields)}, joined by AND.")
        quoted = term["double"] or term["single"] or ""
        found[term["field"]] = term["bare"] or _ESCAPED.sub(r"\1", quoted)
        at = term.end()
        joined = _AND.match(text, at)
        if joined:
            at = joined.end()
        if bool(joined) is not bool(text[at:].strip()):
            raise invalid_filter("Terms must be joined by AND.")
    return found


def invalid_filter(description: str) -> BillingError:
    """Returns the refusal of a filter."""
    return invalid_field("filter", description)


def _terms(fields: Collection[str]) -> str:
    return " or ".join(f'{field} = "…"' for field in fields)
