"""What commands print: tables for people, JSON, YAML and CSV for programs."""

import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

# All types that `google.protobuf.Any` may hold in answers must be known.
from billing.v1 import customer_service_pb2 as _customers  # noqa: F401
from billing.v1 import event_pb2 as _events  # noqa: F401
from billing.v1 import invitation_service_pb2 as _invitations  # noqa: F401
from billing.v1 import webhook_pb2 as _webhooks  # noqa: F401
from google.protobuf import empty_pb2 as _empty  # noqa: F401
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console

from client import tables

FORMATS = ("table", "json", "yaml", "csv")
# A column's title, and where its value is in the resource's JSON.
Columns = Mapping[str, str]


class Output:
    """Prints resources in the format that was asked for, each page as it comes."""

    def __init__(self, form: str, console: Console | None = None) -> None:
        self.form = form
        self._console = console or Console(highlight=False, soft_wrap=False)
        if form != "table" and isinstance(sys.stdout, io.TextIOWrapper):
            # Programs read UTF-8, whatever a terminal shows.
            sys.stdout.reconfigure(encoding="utf-8")

    def one(self, resource: Message, columns: Columns) -> None:
        """Prints one resource, whole."""
        content = as_json(resource)
        if self.form == "json":
            _write(json.dumps(content, indent=2, ensure_ascii=False))
        elif self.form == "yaml":
            _write(_yaml(content), end="")
        elif self.form == "csv":
            self.many([[resource]], columns)
        else:
            fields = [(name, value) for name, value in _flat(content) if value not in _EMPTY]
            width = max((len(name) for name, _ in fields), default=0)
            for name, value in fields:
                _write(f"{name:{width}}  {tables.printable(value)}")

    def many(self, pages: Iterable[Sequence[Message]], columns: Columns) -> int:
        """Prints a list page by page; returns how many there were."""
        printed = {"json": self._json, "yaml": self._yaml, "csv": self._csv}.get(self.form)
        count = 0

        def counted() -> Iterator[list[dict[str, Any]]]:
            nonlocal count
            for page in pages:
                count += len(page)
                yield [as_json(each) for each in page]

        if printed:
            printed(counted(), columns)
        else:
            self._table(counted(), columns)
        return count

    def _json(self, pages: Iterator[list[dict[str, Any]]], _: Columns) -> None:
        before = "["
        for resource in (each for page in pages for each in page):
            _write(before + "\n  " + json.dumps(resource, ensure_ascii=False), end="")
            before = ","
        _write("[]" if before == "[" else "\n]")

    def _yaml(self, pages: Iterator[list[dict[str, Any]]], _: Columns) -> None:
        any_rows = False
        for page in pages:
            if page:
                _write(_yaml(page), end="")
                any_rows = True
        if not any_rows:
            _write("[]")

    def _csv(self, pages: Iterator[list[dict[str, Any]]], columns: Columns) -> None:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns.values())
        for page in pages:
            writer.writerows([at(each, path) for path in columns.values()] for each in page)

    def _table(self, pages: Iterator[list[dict[str, Any]]], columns: Columns) -> None:
        if not self._console.is_terminal:
            # For `cut` and `awk`: tabs, no titles, nothing shortened.
            for page in pages:
                for each in page:
                    _write("\t".join(tables.printable(at(each, path)) for path in columns.values()))
            return
        shown = tables.Table(self._console, list(columns))
        for page in pages:
            shown.rows([[at(each, path) for path in columns.values()] for each in page])
        shown.end()


def as_json(resource: Message) -> dict[str, Any]:
    """Returns a resource as the REST API shows it."""
    return MessageToDict(resource, always_print_fields_with_no_presence=True)


def at(resource: Mapping[str, Any], path: str) -> str:
    """Returns the value at a path like `person.tin`; "" where there is none."""
    value: Any = resource
    for part in path.split("."):
        value = value.get(part, "") if isinstance(value, Mapping) else ""
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    return str(value).lower() if isinstance(value, bool) else str(value)


_EMPTY = ("", "[]", "{}")


def _flat(content: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", at({"value": value}, "value")


def _yaml(content: object) -> str:
    # When needed: each command begins a tenth sooner.
    import yaml

    # protobuf makes ordered dicts of what is packed in Any, which YAML would not write.
    plain = json.loads(json.dumps(content))
    return str(yaml.safe_dump(plain, allow_unicode=True, sort_keys=False))


def _write(text: str, end: str = "\n") -> None:
    sys.stdout.write(text + end)
