"""What names no database is refused without quoting it."""

import pytest

from server.storage.sql.database_urls import driver_url


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "is no URL"),
        ("hunter2", "is no URL"),
        ("postgresql://billing:hunter2@db:port/billing", "is no URL"),
        ("postgresql://billing:hunter2@[::1/billing", "is no URL"),
        ("mysql://billing:hunter2@db/billing", "only sqlite:// and postgresql:// are known"),
        (
            "postgresql://db/billing?ssl_mode=hunter2",
            "a parameter behind [?] that PostgreSQL does not",
        ),
        ("postgresql://a:1,b:2/billing?sslmod=hunter2", "a parameter behind [?]"),
        (f"postgresql://billing:hunter2@{'a' * 64}.internal/billing", "its host is no name"),
        ("postgresql://billing:hunter2@db..internal/billing", "its host is no name"),
        ("postgresql://billing:hunter2@a,b c/billing", "its host is no name"),
        ("postgresql:///billing?host=a..b&password=hunter2", "its host is no name"),
        ("postgresql://db/billing?port=hunter2", "hosts and ports that don't go together"),
        ("postgresql://a,b/billing?port=5433", "like host1:5432,host2:5432"),
        ("postgresql:///billing?host=a&host=b&port=1", "like host1:5432,host2:5432"),
        ("sqlite://", "needs a file"),
        ("sqlite:////var/lib/billing.db?mode=hunter2", "nothing may follow"),
    ],
)
def test_what_names_no_database_is_refused(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        driver_url(url)
    assert "hunter2" not in str(caught.value)


def test_parameters_of_postgresql_are_kept() -> None:
    url = driver_url("postgresql://a:1,b:2/billing?sslmode=verify-full&connect_timeout=3")
    assert url.query["sslmode"] == "verify-full"
    assert url.query["host"] == ("a:1", "b:2")


@pytest.mark.parametrize(
    "place",
    [
        "db.internal",
        "db.internal.:5433",
        "bücher.example",
        "10.0.0.5",
        "[::1]:5432",
        "/billing?host=/run/postgresql",
        "/billing?host=@abstract",
        "/billing",
        "/billing?host=a:1&host=b:2",
        "/billing?host=a,b&port=1,2",
    ],
)
def test_places_that_can_be_looked_up_are_taken(place: str) -> None:
    driver_url(f"postgresql://{place}{'' if '/' in place else '/billing'}")
