"""What a running service counts, as Prometheus would read it."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from gateway.envoy_metrics import by_conventions
from tests.service import ROOT, Service, eventually, running

# https://prometheus.io/docs/practices/naming/, as far as promtool looks: base units, no type in names.
_UNITS = re.compile(
    r"_(milliseconds?|minutes?|hours?|ms|us|kib|mib|percent|kilobytes|megabytes)(_|$)"
)
INVITE = "yandex.cloud.billing.v1.CustomerService.Invite"


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that has sent an e-mail and refused two calls."""
    with running(tmp_path_factory.mktemp("watched") / "var") as service:
        service.finished(service.invite()["id"])
        for headers in (service.headers, {}):
            url = f"{service.rest}/billing/v1/customers:invite"
            assert httpx.post(url, json={}, headers=headers).status_code >= 400
        yield service


def monitored(log: Path) -> str | None:
    """Returns where a process tells of itself, by its log."""
    found = re.search(r"/metrics.* at (127\.0\.0\.1:\d+)", log.read_text())
    return f"http://{found[1]}" if found else None


def addresses(service: Service) -> dict[str, str]:
    """Returns where the gateway and the server tell of themselves."""
    logs = {"gateway": service.output, "server": service.var / "logs" / "server-0.log"}
    return {role: monitored(log) or "" for role, log in logs.items()}


def scraped(service: Service, role: str) -> str:
    answer = httpx.get(f"{addresses(service)[role]}/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return answer.text


def families(text: str) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(text: str, name: str, **labels: str) -> float | None:
    """Returns a sample's value, None where there is none."""
    for family in families(text).values():
        for sample in family.samples:
            if sample.name == name and sample.labels.items() >= labels.items():
                return sample.value
    return None


def test_calls_are_counted_by_method_and_code(watched: Service) -> None:
    text = scraped(watched, "server")
    for code, count in (("OK", 1), ("INVALID_ARGUMENT", 1), ("UNAUTHENTICATED", 1)):
        assert value(text, "billing_calls_total", method=INVITE, code=code) == count
    assert value(text, "billing_call_duration_seconds_count", method=INVITE) == 3
    took = value(text, "billing_call_duration_seconds_sum", method=INVITE)
    assert took
    assert 0 < took < 60
    health = value(text, "billing_calls_total", method="grpc.health.v1.Health.Check", code="OK")
    assert health


def test_what_else_a_server_does_is_counted(watched: Service) -> None:
    text = scraped(watched, "server")
    assert value(text, "billing_mails_total", outcome="sent") == 1
    assert value(text, "billing_mail_delay_seconds_count") == 1
    assert value(text, "billing_events_total", type="customer.invited") == 1
    assert value(text, "billing_events_total", type="invitation.sent") == 1
    assert value(text, "billing_tokens_checked_total", outcome="accepted") == 1
    assert value(text, "billing_build_info", role="server") == 1
    for name in (
        "billing_database_batch_requests_count",
        "billing_database_transaction_duration_seconds_count",
        "billing_event_loop_delay_seconds_count",
        "process_resident_memory_bytes",
    ):
        assert value(text, name), name
    for name in (
        "billing_calls_in_work",
        "billing_calls_refused_total",
        "billing_database_queued_requests",
        "billing_lists_waiting",
        "billing_webhook_attempts_total",
        "billing_webhooks_failing",
        "billing_work_in_progress",
    ):
        assert value(text, name) == 0, name


def test_what_waits_to_be_sent_is_told(watched: Service) -> None:
    def sent() -> bool:
        text = scraped(watched, "server")
        return value(text, "billing_mail_oldest_unsent_age_seconds") == 0

    assert eventually(sent)
    assert value(scraped(watched, "server"), "billing_event_oldest_undelivered_age_seconds") == 0


def test_the_gateway_tells_of_envoy_too(watched: Service) -> None:
    text = scraped(watched, "gateway")
    assert value(text, "billing_build_info", role="gateway") == 1
    assert value(text, "envoy_http_downstream_rq_total", envoy_http_conn_manager_prefix="http")
    assert value(text, "billing_certificate_remaining_seconds")


@pytest.mark.parametrize("role", ["gateway", "server"])
def test_names_keep_the_conventions(watched: Service, role: str) -> None:
    text = scraped(watched, role)
    ours = [each for each in families(text).values() if not each.name.startswith("envoy_")]
    assert ours
    for family in ours:
        assert family.documentation, family.name
        assert re.fullmatch(r"(billing|process|python)(_[a-z]+)+", family.name)
        assert not _UNITS.search(family.name), family.name
        assert not re.search(r"_(counter|gauge|histogram|total)(_|$)", family.name), family.name
        if family.type in ("gauge", "histogram"):
            assert not family.name.endswith("_count"), family.name
    if shutil.which("promtool"):
        done = subprocess.run(
            ["promtool", "check", "metrics"],
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_envoys_metrics_keep_the_conventions_too() -> None:
    made = by_conventions(
        "# TYPE envoy_cluster_upstream_rq counter\n"
        'envoy_cluster_upstream_rq{code="200"} 3\n'
        "# TYPE envoy_cluster_upstream_rq_total counter\n"
        "envoy_cluster_upstream_rq_total{} 5\n"
        "# TYPE envoy_cluster_upstream_rq_retry counter\n"
        "envoy_cluster_upstream_rq_retry{} 1\n"
        "# TYPE envoy_http_downstream_rq_total counter\n"
        "envoy_http_downstream_rq_total{} 4\n"
        "# TYPE envoy_http_downstream_rq_time histogram\n"
        'envoy_http_downstream_rq_time_bucket{le="1"} 1\n'
        "envoy_http_downstream_rq_time_sum{} 2.5\n"
        "# TYPE envoy_cluster_membership_total gauge\n"
        "envoy_cluster_membership_total{} 2\n"
        "# TYPE envoy_server_initialization_time_ms histogram\n"
        "envoy_server_initialization_time_ms_sum{} 4\n"
        "# TYPE envoy_server_days_until_first_cert_expiring gauge\n"
        "envoy_server_days_until_first_cert_expiring{} 2\n"
    )
    assert [line for line in made.splitlines() if not line.startswith("#")] == [
        'envoy_cluster_upstream_rq_by_code_total{code="200"} 3',
        "envoy_cluster_upstream_rq_total{} 5",
        "envoy_cluster_upstream_rq_retry_total{} 1",
        "envoy_http_downstream_rq_total{} 4",
        'envoy_http_downstream_rq_time_bucket{le="1"} 1',
        "envoy_http_downstream_rq_time_sum{} 2.5",
        "billing_certificate_remaining_seconds{} 172800",
    ]
    assert (
        "# HELP envoy_http_downstream_rq_time Envoy's statistic envoy_http_downstream_rq_time."
        in made
    )


def test_every_metric_is_in_the_table(watched: Service) -> None:
    page = (ROOT / "docs" / "operators" / "metrics.md").read_text()
    told = set(re.findall(r"^\| `(billing_\w+)`", page, re.MULTILINE))
    found = set()
    for role in ("gateway", "server"):
        for family in families(scraped(watched, role)).values():
            suffix = "_total" if family.type == "counter" else ""
            if family.name.startswith("billing_"):
                found.add(family.name + suffix)
    # Errors have no value until there is one.
    assert told == found | {"billing_database_errors_total"}


def test_nothing_personal_is_told(watched: Service) -> None:
    for role in ("gateway", "server"):
        text = scraped(watched, role)
        assert "example.com" not in text
        assert watched.resellerId not in text
        assert watched.token not in text


def test_names_that_callers_choose_are_counted_as_one(watched: Service) -> None:

    with grpc.insecure_channel(watched.grpc) as channel:
        for name in ("/a.B/C", "/d.E/F"):
            call: Any = channel.unary_unary(name)
            with pytest.raises(grpc.RpcError):
                call(b"")
    answer = eventually(
        lambda: value(scraped(watched, "server"), "billing_calls_total", method="unknown")
    )
    assert answer == 2


def test_envoys_own_port_stays_closed(watched: Service) -> None:
    config = json.loads((watched.var / "envoy" / "envoy.json").read_text())
    assert list(config["admin"]["address"]) == ["pipe"]
