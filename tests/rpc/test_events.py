"""Reading events through the API."""

from typing import Any

import grpc
import pytest
from billing.v1 import event_pb2, event_service_pb2
from google.rpc import error_details_pb2

from server.config import Settings
from server.domain.events import event_id
from server.storage.events import read
from tests.events import Happening, forget_events, happen, series
from tests.rpc.conftest import Api
from tests.rpc.test_calls import refusal
from tests.storage.databases import query

RESELLER, OTHER = "reseller-1", "reseller-2"
PARENT = f"resellers/{RESELLER}"


def names(events: Any) -> list[str]:
    return [each.name for each in events]


def named(*numbers: int, reseller: str = RESELLER) -> list[str]:
    return [f"resellers/{reseller}/events/{event_id(reseller, number)}" for number in numbers]


async def list_events(api: Api, **fields: Any) -> event_service_pb2.ListEventsResponse:
    found: event_service_pb2.ListEventsResponse = await api.events.ListEvents(
        event_service_pb2.ListEventsRequest(**{"parent": PARENT} | fields),
        metadata=api.as_("reader"),
    )
    return found


@pytest.fixture
async def written(api: Api) -> Api:
    """A log of seven events, and another reseller's."""
    await forget_events(api.storage)
    await happen(api.storage, *series(RESELLER, 6), Happening(RESELLER, subject="ann"))
    await happen(api.storage, *series(OTHER, 2))
    return api


async def test_get_event_finds_the_resellers_own_alone(written: Api) -> None:
    (name,) = named(7)
    event: event_pb2.Event = await written.events.GetEvent(
        event_service_pb2.GetEventRequest(name=name), metadata=written.as_("reader")
    )
    assert (event.name, event.type, event.actor.subject) == (name, "access.granted", "ann")
    for wrong in (
        *named(8),
        f"{PARENT}/events/{event_id(OTHER, 1)}",
        f"{PARENT}/events/nonsense",
    ):
        code, reason, _ = await refusal(
            written.events.GetEvent(
                event_service_pb2.GetEventRequest(name=wrong), metadata=written.as_("reader")
            )
        )
        assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")


async def test_lists_are_oldest_first_and_paged(written: Api) -> None:
    page = await list_events(written)
    assert names(page.events) == named(*range(1, 8))
    assert page.next_page_token == ""
    page = await list_events(written, after=event_id(RESELLER, 2), page_size=3)
    assert names(page.events) == named(3, 4, 5)
    page = await list_events(
        written, after=event_id(RESELLER, 2), page_size=3, page_token=page.next_page_token
    )
    assert (names(page.events), page.next_page_token) == (named(6, 7), "")
    # A page that ends with the log has no next one.
    page = await list_events(written, page_size=7)
    assert (len(page.events), page.next_page_token) == (7, "")


async def test_an_event_to_read_on_after_may_be_given_by_its_name(written: Api) -> None:
    (name,) = named(5)
    assert names((await list_events(written, after=name)).events) == named(6, 7)


@pytest.mark.parametrize("after", ["latest", event_id(RESELLER, 7)])
async def test_nothing_comes_after_the_end(written: Api, after: str) -> None:
    page = await list_events(written, after=after)
    assert (names(page.events), page.next_page_token) == ([], "")


async def test_where_few_fit_pages_are_empty_and_go_on(
    written: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "_SCANNED", 3)
    wanted = {"filter": "actor.subject = ann"}
    found, tokens = [], 0
    page = await list_events(written, **wanted)
    found += names(page.events)
    while page.next_page_token:
        page = await list_events(written, page_token=page.next_page_token, **wanted)
        found += names(page.events)
        tokens += 1
    assert (found, tokens) == (named(7), 2)


@pytest.mark.parametrize(
    ("filter_", "count"),
    [
        ('type = "access.granted"', 7),
        ('type = "access.revoked" OR actor.subject = "ann"', 1),
        ("createTime > 2030-01-01T00:00:03Z AND NOT actor.subject = ann", 2),
        (f'customer = "{PARENT}/customers/bcu1"', 0),
        ("customer = bcu1", 0),
        ("type = customer.erased OR type = invitation.bounced", 0),
    ],
)
async def test_a_filter_finds_what_meets_it(written: Api, filter_: str, count: int) -> None:
    assert len((await list_events(written, filter=filter_)).events) == count


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("after", "nonsense"),
        ("after", event_id(OTHER, 1)),
        ("after", event_id(RESELLER, 8)),
        ("after", event_id(RESELLER, 10**12 - 1)),
        ("after", f"{event_id(RESELLER, 1)} "),
        ("after", f"resellers/{RESELLER}/events/"),
        ("after", named(1, reseller=OTHER)[0]),
        ("filter", "type = nonsense"),
        ("filter", f'customer = "resellers/{OTHER}/customers/bcu1"'),
        ("filter", "name = x"),
        ("filter", "type ="),
        ("filter", "createTime > yesterday"),
        ("page_token", "x"),
    ],
)
async def test_what_is_wrong_is_named(written: Api, field: str, value: str) -> None:
    code, reason, status = await refusal(list_events(written, **{field: value}))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELDS_INVALID")
    wrong = error_details_pb2.BadRequest()
    assert status.details[1].Unpack(wrong)
    assert [each.field for each in wrong.field_violations] == [field]


async def test_what_is_kept_no_longer_is_told(written: Api, settings: Settings) -> None:
    url = settings.database
    query(url, "DELETE FROM events WHERE number <= 3 AND reseller = 1")
    query(url, "UPDATE event_logs SET cleared = 3 WHERE reseller = 1")
    page = await list_events(written)
    assert names(page.events) == named(4, 5, 6, 7)
    for after in (0, 1, 2):
        code, reason, status = await refusal(list_events(written, after=event_id(RESELLER, after)))
        assert (code, reason) == (grpc.StatusCode.OUT_OF_RANGE, "EVENTS_GONE")
        info = error_details_pb2.ErrorInfo()
        assert status.details[0].Unpack(info)
        assert info.metadata["oldest"] == event_id(RESELLER, 4)
        page = await list_events(written, after=info.metadata["after"])
        assert names(page.events) == named(4, 5, 6, 7)
