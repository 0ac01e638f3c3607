"""Which server of a PostgreSQL is asked first."""

import pytest

from server.storage.sql.connections import Database
from server.storage.sql.postgres_servers import PostgresServers


def test_a_server_that_kept_silent_is_left_out_for_a_while() -> None:
    now_s = 0.0
    servers = PostgresServers({"host": "a,b,c", "port": "1,2,3"}, lambda: now_s)
    a, b, c = ("a", 1), ("b", 2), ("c", 3)
    assert servers._order() == [a, b, c]
    servers._kept_silent(a)
    assert servers._order() == [b, c]
    servers._found(c)
    assert servers._order() == [c, b]
    now_s = 2.0
    assert servers._order() == [c, a, b]
    for each in (a, b, c):
        servers._kept_silent(each)
    assert servers._order() == [c, a, b]


def test_a_server_that_goes_on_keeping_silent_is_asked_ever_less_often() -> None:
    """Many threads find it at once, and count once."""
    now_s = 0.0
    servers = PostgresServers({"host": "a,b", "port": "1"}, lambda: now_s)
    a, b = ("a", 1), ("b", 1)
    left_out_s = []
    for _ in range(4):
        begins_s = now_s
        for _ in range(5):
            servers._kept_silent(a)
        while servers._order() == [b]:
            now_s += 1.0
        left_out_s.append(now_s - begins_s)
    assert left_out_s == [2.0, 4.0, 8.0, 10.0]
    servers._found(a)
    servers._kept_silent(a)
    now_s += 2.0
    assert servers._order() == [a, b]


@pytest.mark.parametrize(
    ("url", "order"),
    [
        ("postgresql://u:p@db/billing", [("db", 5432)]),
        ("postgresql://u:p@a:1,b:2,c/billing", [("a", 1), ("b", 2), ("c", 5432)]),
        ("postgresql://a,b/billing?sslmode=require", [("a", 5432), ("b", 5432)]),
        ("postgresql://u@/billing?host=a:1&host=b:2", [("a", 1), ("b", 2)]),
        ("postgresql://u@/billing?host=/run/postgresql", [("/run/postgresql", 5432)]),
    ],
)
def test_an_address_names_one_server_or_several(url: str, order: list[tuple[str, int]]) -> None:
    servers = Database(url).servers
    assert servers._order() == order
    assert servers.parameters["dbname"] == "billing"
    # Of several it is the one that takes writes.
    writes = {"target_session_attrs": "read-write"}.items() <= servers.parameters.items()
    assert writes == (len(order) > 1)


def test_through_a_pooler_no_session_is_counted_on() -> None:
    database = Database("postgresql://u@pooler/billing", pooled=True)
    assert "options" not in database.servers.parameters
    assert database.servers.parameters["prepare_threshold"] is None
    assert database.listened is None
    listened = Database(
        "postgresql://u@pooler/billing", pooled=True, listen_url="postgresql://u@a,b/billing"
    ).listened
    assert listened
    assert listened._order() == [("a", 5432), ("b", 5432)]
