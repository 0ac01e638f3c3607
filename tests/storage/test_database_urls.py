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
