"""Why nobody can listen at an address."""

import socket

import pytest

from files.listening import why_not


def test_a_free_port_has_nothing_against_it() -> None:
    for host in ("127.0.0.1", "localhost", "0.0.0.0", "[::1]"):
        assert why_not(host, 0) == "", host


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert "another program listens there" in why_not("127.0.0.1", port)


@pytest.mark.parametrize("host", ["nowhere.invalid", "a..b", "a" * 64, "x y"])
def test_a_name_that_leads_nowhere(host: str) -> None:
    assert f"no name server knows {host}" in why_not(host, 0)


def test_an_address_of_another_machine() -> None:
    assert why_not("192.0.2.1", 0) == "it is no address of this machine"
