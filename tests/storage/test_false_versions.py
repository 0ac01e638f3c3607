"""A database that is not what its version says is refused, with what to do, and left as it is."""

from datetime import timedelta

import pytest

from server.storage import SchemaError, migrate, open_storage
from server.storage.check import check
from server.storage.schema.completeness import lacking
from server.storage.schema.tables import REVISION
from server.storage.sql.connections import Database
from tests.storage.databases import Databases, query
from tests.storage.old_schemas import REVISIONS, upgrade


def _says(url: str, version: str) -> None:
    query(url, "UPDATE alembic_version SET version_num = :version", version=version)


def _refused(url: str, words: str) -> None:
    """Has `migrate` refuse the database with these words, before it tells of any work."""
    before = query(url, "SELECT version_num FROM alembic_version")
    with pytest.raises(SchemaError, match=words) as refused:
        migrate(url)
    assert "nothing was changed" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert query(url, "SELECT version_num FROM alembic_version") == before


@pytest.mark.parametrize("version", ["0001", "0015", REVISIONS[-2]])
def test_a_version_of_the_past_is_not_migrated_again(database_url: str, version: str) -> None:
    _says(database_url, version)
    _refused(database_url, f"at version {version}, but it has all of {REVISION}")
    _says(database_url, REVISION)
    migrate(database_url)
    assert not [each for each in check(database_url) if each.count]


@pytest.mark.parametrize("version", ["0000", "9999", "none"])
def test_a_version_that_nobody_made_is_named(database_url: str, version: str) -> None:
    _says(database_url, version)
    _refused(database_url, f"0001 to {REVISION}, and the database says {version}")


def test_two_versions_are_none(database_url: str) -> None:
    query(database_url, "INSERT INTO alembic_version VALUES ('0027')")
    _refused(database_url, f"says 0027, {REVISION}")


def test_tables_without_a_version_are_no_new_database(database_url: str) -> None:
    query(database_url, "DELETE FROM alembic_version")
    _refused(database_url, "but no version in alembic_version")


@pytest.mark.parametrize(
    ("was", "says"), [("0014", "0016"), ("0020", "0001"), ("0022", "0026"), ("0026", "0027")]
)
def test_a_version_that_another_schema_says_is_found_by_the_migration(
    databases: Databases, was: str, says: str
) -> None:
    url = databases.empty("false")
    upgrade(url, was)
    _says(url, says)
    _refused(url, f"at version {says}, but what is in it is not")
    _says(url, was)
    migrate(url)
    assert query(url, "SELECT version_num FROM alembic_version") == [(REVISION,)]


@pytest.mark.parametrize(
    ("lost", "named"),
    [
        ("ALTER TABLE operations DROP COLUMN origin", r"operations\.origin"),
        ("DROP TABLE log_marks", r"log_marks\.at_s"),
        ("DROP INDEX customers_external_id", "customers_external_id"),
    ],
)
async def test_what_the_newest_version_lacks_is_named(
    database_url: str, lost: str, named: str
) -> None:
    query(database_url, lost)
    _refused(database_url, f"at version {REVISION}, but lacks {named}")
    with pytest.raises(SchemaError, match=named):
        check(database_url)
    with pytest.raises(SchemaError, match=named):
        await open_storage(database_url, idempotency_lifetime=timedelta(days=1))


@pytest.mark.parametrize("revision", REVISIONS)
def test_each_version_can_be_told_from_the_newest(databases: Databases, revision: str) -> None:
    url = databases.empty("each")
    upgrade(url, revision)
    database = Database(url)
    connection = database.connect()
    lacks = lacking(connection.cursor(), is_sqlite=database.is_sqlite)
    connection.close()
    assert bool(lacks) is (revision != REVISION)
