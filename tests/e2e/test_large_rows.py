"""Rows that an earlier release let in, larger than any text may be today, through the real Envoy."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import grpc
import httpx
import pytest
from billing.v1 import customer_service_pb2, customer_service_pb2_grpc

from tests.service import Service

HUGE = "<" * 1_000_000  # in JSON six characters each
COUNT = 5
INSERT = """
INSERT INTO customers (n, id, reseller, state, name, person, created_at, modified_at, invitation)
SELECT max(c.n) + 1, ?, r.n, 2, ?, '{}', ?, ?, 0 FROM resellers r, customers c WHERE r.id = ?
GROUP BY r.n
"""


@pytest.fixture
def stored(service: Service) -> Iterator[list[str]]:
    """IDs of customers with huge names, newer than all others."""
    service.invite()
    ids = [f"bcu{number:017}" for number in range(COUNT)]
    at = 4_000_000_000_000_000
    with closing(sqlite3.connect(service.var / "billing.db", timeout=30)) as database:
        with database:
            database.executemany(INSERT, [(id_, HUGE, at, at, service.resellerId) for id_ in ids])
        yield ids
        with database:
            database.executemany("DELETE FROM customers WHERE id = ?", [(id_,) for id_ in ids])


def test_the_list_goes_on_over_rest(service: Service, stored: list[str]) -> None:
    for path, ids in (
        (f"/v1/resellers/{service.resellerId}/customers?", "name"),
        (f"/billing/v1/customers?resellerId={service.resellerId}&", "id"),
    ):
        seen: list[str] = []
        token = ""
        while token or not seen:
            answer = httpx.get(
                f"{service.rest}{path}pageToken={token}", headers=service.headers, timeout=30
            )
            assert answer.status_code == 200, answer.text[:300]
            page = answer.json()
            seen += [each[ids].rpartition("/")[2] for each in page["customers"]]
            token = page["nextPageToken"]
        assert seen[:COUNT] == stored[::-1]
        assert len(seen) > COUNT


def test_the_list_goes_on_over_grpc(service: Service, stored: list[str]) -> None:
    with grpc.insecure_channel(service.grpc) as channel:
        stub = customer_service_pb2_grpc.CustomerServiceStub(channel)
        seen: list[str] = []
        token = ""
        while token or not seen:
            page = stub.ListCustomers(
                customer_service_pb2.ListCustomersRequest(
                    parent=f"resellers/{service.resellerId}", page_token=token
                ),
                metadata=service.metadata,
            )
            assert page.customers
            seen += [each.name.rpartition("/")[2] for each in page.customers]
            token = page.next_page_token
    assert seen[:COUNT] == stored[::-1]
