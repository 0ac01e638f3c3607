"""envoy.yaml: made from the protos alone, the same each time, and runnable as it stands."""

import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from gateway.__main__ import main
from gateway.config import bootstrap
from gateway.http_rules import DescriptorSet, Rule
from gateway.route_parts import ANONYMOUS_STREAMS_CLUSTER, CLUSTER, STREAMS_CLUSTER
from gateway.settings import GatewaySettings
from gateway.shares import FILTER, LINE_HEADER

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def descriptors() -> DescriptorSet:
    return DescriptorSet.read(ROOT / "gen" / "descriptors.pb")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like the project's, without anything that a run leaves."""
    for name in ("contract", "gateway", "gen", "envoy.yaml"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_envoy_takes_the_configuration_by_hand(checkout: Path) -> None:
    made = CliRunner().invoke(main, ["certificates"], catch_exceptions=False)
    assert made.exit_code == 0, made.output
    envoy = Path(sys.executable).with_name("envoy")
    subprocess.run([envoy, "--mode", "validate", "-c", "envoy.yaml"], check=True, timeout=60)


def test_it_names_no_path_of_a_machine() -> None:
    assert str(Path.home()) not in (ROOT / "envoy.yaml").read_text()
    assert "site-packages" not in (ROOT / "envoy.yaml").read_text()


def test_all_declared_services_are_served_and_no_other(descriptors: DescriptorSet) -> None:
    """All that proto/ declares and Google's operations, nothing else that was imported."""
    declared = {"google.longrunning.Operations"}
    for file in (ROOT / "proto").rglob("*.proto"):
        text = file.read_text()
        (package,) = re.findall(r"^package ([\w.]+);", text, re.MULTILINE)
        declared |= {
            f"{package}.{name}" for name in re.findall(r"^service (\w+)", text, re.MULTILINE)
        }
    assert set(descriptors.services) == declared


@pytest.mark.parametrize(
    ("upstreams", "kind"),
    [
        (["127.0.0.1:1", "[::1]:2", "unix:/a/b"], "STATIC"),
        (["billing-1:50051", "127.0.0.1:1"], "STRICT_DNS"),
    ],
)
def test_each_upstream_is_an_endpoint(
    descriptors: DescriptorSet, upstreams: list[str], kind: str
) -> None:
    settings = GatewaySettings(upstreams=upstreams)
    tree = bootstrap(
        ROOT,
        descriptors,
        settings,
        Path("/dev/null"),
        Path("admin.sock"),
        None,
        None,
        Path("transcoded.pb"),
    )
    for cluster in tree["static_resources"]["clusters"]:
        assert cluster["type"] == kind
        (locality,) = cluster["load_assignment"]["endpoints"]
        assert len(locality["lb_endpoints"]) == len(upstreams)


def test_admin_is_its_owners_alone(descriptors: DescriptorSet) -> None:
    settings = GatewaySettings(address="0.0.0.0")
    tree = bootstrap(
        ROOT,
        descriptors,
        settings,
        Path("/dev/null"),
        Path("admin.sock"),
        None,
        None,
        Path("transcoded.pb"),
    )
    assert tree["admin"]["address"] == {"pipe": {"path": "admin.sock", "mode": 0o600}}


def test_nothing_of_a_caller_can_be_in_a_route_name() -> None:
    """They are logged."""
    (listener, _) = yaml.safe_load((ROOT / "envoy.yaml").read_text())["static_resources"][
        "listeners"
    ]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    names = [route["name"] for route in manager["route_config"]["virtual_hosts"][0]["routes"]]
    assert all("%" not in name for name in names)


@pytest.mark.parametrize(
    ("template", "pattern", "variables"),
    [
        ("/a/b", "/a/b", []),
        ("/a.b:c", r"/a\.b:c", []),
        ("/a/{id}", "/a/[^/:]+", ["id"]),
        ("/a/{id}:go", "/a/[^/:]+:go", ["id"]),
        ("/a/*/{b.c=d/*}", "/a/[^/:]+/d/[^/:]+", ["b.c"]),
        ("/v1/{name=operations/**}", "/v1/operations/[^/:]+(?:/[^/:]+)*", ["name"]),
        ("/v1/{name=operations}", "/v1/operations", ["name"]),
    ],
)
def test_path_templates_become_patterns_and_variables(
    template: str, pattern: str, variables: list[str]
) -> None:
    rule = Rule("GET", template, "")
    assert (rule.pattern, rule.variables) == (pattern, variables)


@pytest.mark.parametrize("command", [[], ["generate"], ["certificates"]])
def test_each_command_has_help(command: list[str]) -> None:
    shown = CliRunner().invoke(main, [*command, "--help"])
    assert shown.exit_code == 0
    assert "Usage:" in shown.output


def test_who_waits_for_an_answer_is_never_idle() -> None:
    """While memory is short Envoy cuts idle times to seconds: an Invite's outcome would be unknown."""
    text = (ROOT / "envoy.yaml").read_text()
    found: dict[str, set[tuple[str, str | None]]] = defaultdict(set)

    def look(value: object) -> None:
        if isinstance(value, dict):
            action = value.get("route", {})
            if isinstance(action, dict) and "cluster" in action:
                found[action["cluster"]].add((value["name"], action.get("idle_timeout")))
            for each in value.values():
                look(each)
        elif isinstance(value, list):
            for each in value:
                look(each)

    look(yaml.safe_load(text))
    assert {name for name, _ in found[STREAMS_CLUSTER]} >= {
        "GET /v1/{parent=resellers/*}/events:watch",
        "/billing.v1.EventService/WatchEvents",
    }
    assert {name for name, _ in found[CLUSTER]} >= {
        "POST /billing/v1/customers:invite",
        "/yandex.cloud.billing.v1.CustomerService/Invite",
    }
    assert {idle for name in (STREAMS_CLUSTER, CLUSTER) for _, idle in found[name]} == {"0s"}


def test_streams_of_strangers_take_no_places_of_calls() -> None:
    text = (ROOT / "envoy.yaml").read_text()
    places = {
        # Its line is told from call to call.
        "/grpc.health.v1.Health/Check": LINE_HEADER,
        "/grpc.health.v1.Health/Watch": ANONYMOUS_STREAMS_CLUSTER,
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": ANONYMOUS_STREAMS_CLUSTER,
    }
    (virtual_host, *_) = next(_virtual_hosts(yaml.safe_load(text)))
    for path, cluster in places.items():
        routes = [
            route["route"].get("cluster", route["route"].get("cluster_header"))
            for route in virtual_host["routes"]
            if "route" in route and path.startswith(route["match"].get("prefix", "nothing"))
        ]
        assert routes[0] == cluster


def test_all_that_envoy_answers_itself_counts_for_an_address(descriptors: DescriptorSet) -> None:
    """Each request takes memory until its end, whoever answers it."""
    settings = GatewaySettings(cors_origins=["https://app.example"])
    tree = bootstrap(
        *(ROOT, descriptors, settings, Path("/dev/null"), Path("admin.sock"), None, None),
        Path("transcoded.pb"),
    )
    uncounted = {
        route["name"]
        for hosts in _virtual_hosts(tree)
        for host in hosts
        for route in host["routes"]
        if "direct_response" in route and FILTER not in route["typed_per_filter_config"]
    }
    assert uncounted == set()


def _virtual_hosts(value: Any) -> Iterator[list[dict[str, Any]]]:
    if isinstance(value, dict):
        if "virtual_hosts" in value:
            yield value["virtual_hosts"]
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _virtual_hosts(each)
