"""Alerts and the dashboard ask for metrics that exist, and each alert has its page."""

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.service import ROOT

RULES = ROOT / "deploy/prometheus/rules.yaml"
DASHBOARD = ROOT / "deploy/grafana/billing.json"
METRICS = ROOT / "docs/operators/metrics.md"
RUNBOOKS = ROOT / "docs/operators/runbooks"
PAGES = "https://docs.example.com/billing/operators/runbooks/"


def alerts() -> list[dict[str, dict[str, str]]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def known() -> set[str]:
    """The metrics that the docs list; a test of theirs compares them with what processes tell."""
    return set(re.findall(r"^\| `(billing_[a-z_]+)` \|", METRICS.read_text(), re.MULTILINE))


@pytest.mark.parametrize("file", [RULES, DASHBOARD], ids=lambda file: file.name)
def test_the_metrics_that_are_asked_for_exist(file: Path) -> None:
    text = file.read_text()
    if file is DASHBOARD:
        panels = json.loads(text)["panels"]
        text = "\n".join(target["expr"] for panel in panels for target in panel.get("targets", []))
    asked = set(re.findall(r"\bbilling_[a-z_]+?(?=_bucket\b|\b)", text))
    assert len(asked) > 5
    assert asked - known() == set()


def test_each_alert_leads_to_a_page_that_names_it() -> None:
    assert len(alerts()) > 8
    for alert in alerts():
        url = alert["annotations"]["runbook_url"]
        page = RUNBOOKS / f"{url.removeprefix(PAGES).rstrip('/')}.md"
        assert f"`{alert['alert']}`" in page.read_text()
        assert f"`{alert['alert']}`" in (RUNBOOKS / "index.md").read_text()
