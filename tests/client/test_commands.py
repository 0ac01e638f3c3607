"""Each kind of resource, through the commands."""

import csv
import io
import json
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import click
import pytest
import yaml
from standardwebhooks import Webhook

from client.cli import cli
from tests.client.conftest import Run


def invite(dev: Run, *more: str) -> dict[str, Any]:
    address = f"{uuid.uuid4().hex}@example.com"
    words = ("customers", "invite", "--name", "Horns", "--email", address, "-o", "json", *more)
    done = dev(*words)
    assert done.code == 0, done.err
    return {**done.json, "address": address}


def test_an_invitation_is_followed_to_its_end(dev: Run) -> None:
    operation = invite(dev, "--wait", "--person", "tin=7707083893")
    assert operation["done"]
    customer = dev(
        "customers", "get", operation["response"]["name"].rsplit("/", 1)[1], "-o", "json"
    ).json
    assert customer["email"] == operation["address"]
    assert customer["person"]["tin"] == "7707083893"
    waited = dev("operations", "wait", operation["name"], "-o", "json")
    assert waited.json["response"]["name"] == customer["name"]


def test_customers_are_created_changed_suspended_and_deleted(dev: Run) -> None:
    words = ("--name", "Horns", "--external-id", uuid.uuid4().hex, "--label", "tier=gold")
    made = dev("customers", "create", *words, "--label", "region=msk", "-o", "json").json
    assert (made["state"], made["labels"]) == ("ACTIVE", {"tier": "gold", "region": "msk"})
    changes = ("--name", "Hooves", "--person", "tin=7707083893", "--label", "region=")
    changed = dev("customers", "update", made["name"], *changes, "-o", "json").json
    assert (changed["displayName"], changed["person"]) == (
        "Hooves",
        {**changed["person"], "tin": "7707083893"},
    )
    assert changed["labels"] == {"tier": "gold"}
    assert changed["externalId"] == made["externalId"]
    states = {
        "suspend": "SUSPENDED",
        "activate": "ACTIVE",
        "delete": "DELETED",
        "undelete": "ACTIVE",
    }
    for action, state in states.items():
        assert dev("customers", action, made["name"], "-o", "json").json["state"] == state
        if action == "delete":
            listed = dev("customers", "list", "--show-deleted", "-o", "csv").out
            assert made["name"] in listed
    emptied = dev("customers", "update", made["name"], "--external-id", "", "-o", "json").json
    assert emptied["externalId"] == ""
    assert dev("customers", "update", made["name"]).code == 2
    refused = dev("customers", "undelete", made["name"])
    assert (refused.code, len(refused.err.splitlines())) == (1, 1)


def test_customers_are_found_and_sorted(dev: Run) -> None:
    mark = uuid.uuid4().hex
    for name in ("B", "A"):
        words = ("customers", "create", "--name", f"{name} {mark}", "--label", f"run={mark[:20]}")
        assert dev(*words).code == 0
    words = ("customers", "list", "--filter", f"labels.run = {mark[:20]}", "-o", "json")
    listed = dev(*words, "--order-by", "create_time").json
    assert [each["displayName"] for each in listed] == [f"B {mark}", f"A {mark}"]
    refused = dev("customers", "list", "--filter", "colour = red")
    assert (refused.code, len(refused.err.splitlines())) == (1, 1)


def test_a_link_is_handed_over_by_the_reseller(dev: Run) -> None:
    invitation = invite(dev, "--no-email")["metadata"]["invitation"]
    link = dev("invitations", "link", invitation, "-o", "json").json
    assert link["uri"].startswith("http")
    got = dev("invitations", "get", invitation, "-o", "json").json
    assert got["delivery"]["state"] == "LINK_ONLY"


def test_the_same_key_invites_once(dev: Run) -> None:
    address, key = f"{uuid.uuid4().hex}@example.com", str(uuid.uuid4())
    words = ("customers", "invite", "--name", "H", "--email", address, "--idempotency-key", key)
    names = {dev(*words, "-o", "json").json["name"] for _ in range(2)}
    assert len(names) == 1


def test_invitations_are_sent_again_and_taken_back(dev: Run) -> None:
    invitation = invite(dev, "--wait")["metadata"]["invitation"]
    assert dev("invitations", "get", invitation, "-o", "json").json["state"] == "PENDING"
    assert dev("invitations", "revoke", invitation, "-o", "json").json["state"] == "REVOKED"
    refused = dev("invitations", "resend", invitation)
    assert refused.code == 1
    assert len(refused.err.splitlines()) == 1


def test_lists_stream_all_pages_in_every_format(dev: Run) -> None:
    for _ in range(3):
        invite(dev)
    listed = dev("customers", "list", "--limit", "3", "-o", "json").json
    assert len(listed) == 3
    assert yaml.safe_load(dev("customers", "list", "--limit", "2", "-o", "yaml").out) == listed[:2]
    rows = list(
        csv.DictReader(io.StringIO(dev("customers", "list", "--limit", "3", "-o", "csv").out))
    )
    assert [row["name"] for row in rows] == [each["name"] for each in listed]
    lines = dev("customers", "list", "--limit", "3").out.splitlines()
    assert [line.split("\t")[0] for line in lines] == [each["name"] for each in listed]
    assert dev("invitations", "list", "--filter", "state = EXPIRED", "-o", "json").json == []


@pytest.mark.parametrize(
    "words",
    ["customers list", "invitations list", "operations list", "events list", "accounts list"],
)
def test_each_kind_is_the_same_in_yaml_as_in_json(dev: Run, words: str) -> None:
    invite(dev, "--wait")
    listed = dev(*words.split(), "--limit", "2", "-o", "json").json
    assert listed
    assert yaml.safe_load(dev(*words.split(), "--limit", "2", "-o", "yaml").out) == listed
    # One column for each title, also where the value has commas and lines.
    columns = list(csv.reader(io.StringIO(dev(*words.split(), "-o", "csv").out)))
    assert len({len(row) for row in columns}) == 1


def test_an_operation_in_yaml(dev: Run) -> None:
    name = invite(dev)["name"]
    shown = yaml.safe_load(dev("operations", "wait", name, "-o", "yaml").out)
    assert (shown["name"], shown["response"]["state"]) == (name, "ACCEPTANCE_REQUIRED")


def test_events_are_listed_and_watched_from_one_on(dev: Run) -> None:
    invite(dev)
    events = dev("events", "list", "-o", "json").json
    assert len(events) > 1
    after = events[-2]["name"].rsplit("/", 1)[1]
    watched = dev("events", "watch", "--after", after, "--limit", "1", "-o", "json")
    assert json.loads(watched.out)["name"] == events[-1]["name"]


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """A receiver on this machine, and what it got."""
    got: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hook", got
        server.shutdown()


def test_events_are_forwarded_as_webhooks_send_them(
    dev: Run, receiver: tuple[str, list[tuple[dict[str, str], bytes]]]
) -> None:
    invite(dev)
    url, got = receiver
    done = dev("events", "watch", "--after", "", "--limit", "1", "--forward-to", url)
    assert done.code == 0
    secret = next(word for word in done.err.split() if word.startswith("whsec_")).rstrip(":")
    [(headers, body)] = got
    said = Webhook(secret).verify(body, headers)
    assert said["id"] == headers["webhook-id"] == said["data"]["name"].rsplit("/", 1)[1]
    assert int(said["sequence"]) == 1
    assert said["type"] == f"billing.{said['data']['type']}.v1"


def test_webhooks_are_made_changed_and_deleted(dev: Run) -> None:
    made = dev("webhooks", "create", "https://example.com/hook", "-o", "json").json
    assert made["secret"].startswith("whsec_")
    changed = dev("webhooks", "update", made["name"], "--disable", "-o", "json").json
    assert changed["state"] == "DISABLED"
    assert made["name"] in dev("webhooks", "list").out
    assert dev("webhooks", "delete", made["name"]).code == 0
    assert dev("webhooks", "get", made["name"]).code == 1


def test_accounts_are_listed(dev: Run) -> None:
    accounts = dev("accounts", "list", "--limit", "1", "-o", "json").json
    assert dev("accounts", "get", accounts[0]["id"], "-o", "json").json == accounts[0]


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


@pytest.mark.parametrize("words", list(commands(cli)), ids=" ".join)
def test_each_command_explains_itself(run: Run, words: tuple[str, ...]) -> None:
    done = run(*words, "--help")
    assert done.code == 0
    command: click.Command = cli
    for word in words:
        assert isinstance(command, click.Group)
        command = command.commands[word]
    assert [
        each.name for each in command.params if isinstance(each, click.Option) and not each.help
    ] == []
    if isinstance(command, click.Group):
        # The first sentence of each stands beside its name, whole.
        assert "..." not in done.out.split("Commands:")[1]
        return
    assert f"billing {' '.join(words)}" in done.out.split("Example", 1)[1]


def test_roles_are_given_and_taken(dev: Run) -> None:
    words = ("accounts", "access-bindings")
    subject = f"userAccount:{uuid.uuid4().hex}"
    row = f"billing.accounts.viewer,{subject.replace(':', ',')}"
    for action in ("add", "remove"):
        done = dev(*words, action, "--role", "viewer", "--subject", subject, "-o", "json").json
        assert done["done"]
        assert done["metadata"]["@type"].endswith("UpdateAccessBindingsMetadata")
        listed = dev(*words, "list", "-o", "csv").out.splitlines()
        assert listed[0] == "roleId,subject.type,subject.id"
        assert (row in listed) == (action == "add")
    # Lists of operations have them too.
    assert dev("operations", "list", "--limit", "1", "-o", "json").json[0]["done"]
    wrong = dev(*words, "add", "--role", "viewer", "--subject", "somebody")
    assert wrong.code == 2
    assert "serviceAccount:ID" in wrong.err
    boss = dev(*words, "add", "--role", "boss", "--subject", subject)
    assert boss.code != 0
    assert "role_id" in boss.err
