"""Which column of a spreadsheet holds which field of a customer."""

import csv
import difflib
from collections.abc import Iterable, Mapping, Sequence

from billing.v1 import customer_pb2

from client.errors import USAGE, ClientError
from client.importing.tables import letter

NAME, EMAIL, EXTERNAL_ID, NOTE = "display_name", "email", "external_id", "note"
_PERSON = tuple(field.name for field in customer_pb2.Person.DESCRIPTOR.fields)
_LABELS = "labels."
# What a column is left out by.
_NONE = "-"


def _plain(header: str) -> str:
    """Returns a header without what people write this way and that."""
    return "".join(each for each in header.casefold() if each.isalnum() or each == ".")


_FIELDS = {
    "name": NAME,
    "displayname": NAME,
    "customername": NAME,
    "email": EMAIL,
    "emailaddress": EMAIL,
    "invitationemail": EMAIL,
    "externalid": EXTERNAL_ID,
    "language": "language_code",
    "languagecode": "language_code",
    "inviter": "inviter_display_name",
    "inviterdisplayname": "inviter_display_name",
    "note": NOTE,
    **{f"person{dot}{_plain(name)}": f"person.{name}" for name in _PERSON for dot in (".", "")},
    # Short, where nothing else is meant by it.
    **{_plain(name): f"person.{name}" for name in _PERSON if name not in ("name", "email")},
}
KNOWN = (
    "name, invitation_email, external_id, "
    + ", ".join(f"person.{name}" for name in _PERSON)
    + ", labels.KEY, language, inviter, note"
)


def field_of(header: str) -> str | None:
    """Returns the field that a header names, as a path like `person.tin`."""
    plain = _plain(header)
    for before in (_LABELS, "label."):
        if plain.startswith(before) and len(plain) > len(before):
            # Keys of labels are what follows the first point, as it is but for its case.
            return _LABELS + header.partition(".")[2].strip().lower()
    return _FIELDS.get(plain)


class Columns:
    """The fields of a table's columns."""

    def __init__(self, header: Sequence[str], given: Mapping[str, str]) -> None:
        """`given` has fields by headers, beside those that headers name; raises ClientError."""
        self._header = [title or letter(at) for at, title in enumerate(header)]
        chosen = {_plain(title): self._given(title, field) for title, field in given.items()}
        if missing := [t for t in given if _plain(t) not in {_plain(each) for each in header}]:
            raise ClientError(
                f"--columns: there is no column {', '.join(map(repr, missing))}; there are "
                f"{', '.join(map(repr, filter(None, header)))}",
                USAGE,
            )
        # A field for each column, None for what is not used.
        self.fields = [
            chosen[_plain(title)] if _plain(title) in chosen else field_of(title)
            for title in header
        ]
        self._unused = [
            at
            for at, field in enumerate(self.fields)
            if field is None and header[at] and _plain(header[at]) not in chosen
        ]
        for field in {field for field in self.fields if field}:
            if self.fields.count(field) > 1:
                twice = [self.title(at) for at, each in enumerate(self.fields) if each == field]
                raise ClientError(f"these columns are for the same: {' and '.join(twice)}", USAGE)
        if missing := [name for name in (NAME, EMAIL) if name not in self.fields]:
            names = {NAME: "name", EMAIL: "invitation_email"}
            raise ClientError(
                f"there is no column for {' and for '.join(names[each] for each in missing)}; there "
                f"are {', '.join(map(repr, filter(None, header)))}: say which it is, as "
                f"--columns HEADER={names[missing[0]]}",
                USAGE,
            )

    @staticmethod
    def _given(title: str, said: str) -> str | None:
        field = None if said == _NONE else field_of(said)
        if field is None and said != _NONE:
            raise ClientError(
                f"--columns: {title!r} can't be {said!r}; the fields are {KNOWN}, and {_NONE} for none",
                USAGE,
            )
        return field

    def title(self, at: int) -> str:
        """Returns how people find a column: `column C (person.tin)`."""
        name = self._header[at]
        return f"column {letter(at)} ({name})" if name != letter(at) else f"column {name}"

    def unused(self) -> str:
        """Names the columns that are not used, and what may be meant by them; "" if all are."""
        names = []
        for at in self._unused:
            near = difflib.get_close_matches(_plain(self._header[at]), _FIELDS, n=1, cutoff=0.8)
            names.append(self.title(at) + (f": is it {_FIELDS[near[0]]}?" if near else ""))
        return ", ".join(names)

    def of_field(self, path: str, why: str = "") -> str:
        """Returns the title of the column of a field that the service names, and says `why`."""
        path = path.removeprefix("customer.")
        found = [at for at, field in enumerate(self.fields) if field == path]
        # Of labels it names the key in its words.
        found += [
            at
            for at, field in enumerate(self.fields)
            if field
            and field.startswith(f"{path}.")
            and field.removeprefix(f"{path}.") in why.split()
        ]
        return self.title(found[0]) if found else path

    def values(self, cells: Sequence[str]) -> dict[str, str]:
        """Returns what a row says, by field."""
        return {
            # Alt and Enter makes lines in a cell; only a note may have them.
            field: cell if field == NOTE else " ".join(cell.split("\n"))
            for field, cell in zip(self.fields, cells, strict=False)
            if field and cell
        }


def parse_given(said: Iterable[str]) -> dict[str, str]:
    """Returns fields by headers, of `HEADER=FIELD,…`; quoted where a header has a comma."""
    given = {}
    for each in (pair for words in said for pair in next(csv.reader([words]), [])):
        header, equals, field = each.rpartition("=")
        if not equals or not header.strip() or not field.strip():
            raise ClientError(f"--columns: say {each!r} as HEADER=FIELD", USAGE)
        given[header.strip()] = field.strip()
    return given
