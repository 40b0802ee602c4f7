"""Alerts and dashboard: made of metrics that are there, and asked of a real Prometheus with a real worker."""

import itertools
import json
import re
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus import prometheus
from servers import free_ports
from topics import unique, write_topic

from pipelines.worker.telemetry.metrics import WorkerMetrics

MONITORING = Path(__file__).parents[2] / "deploy/monitoring"
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text())
[GROUP] = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]
ALERTS = {rule["alert"]: rule for rule in GROUP["rules"]}
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
SUFFIXES = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "gauge": [""]}
_TEXTS = ("paid in lisbon", None)


def named(expression):
    return set(re.findall(r"\b(?:millstream|process)_\w+", expression))


def known():
    """The names that a worker's /metrics can have."""
    families = WorkerMetrics().registry.collect()
    return {family.name + suffix for family in families for suffix in SUFFIXES[family.type]}


def test_alerts_and_dashboard_are_made_of_metrics_that_there_are():
    expressions = [*QUERIES, *(rule["expr"] for rule in ALERTS.values())]
    assert len(expressions) > 30
    for expression in expressions:
        assert named(expression) <= known() | {"up"}, expression
    [job] = [one for one in DASHBOARD["templating"]["list"] if one["name"] == "job"]
    assert named(job["query"]) <= known()


def test_every_alert_says_what_to_do():
    for rule in ALERTS.values():
        assert rule["annotations"]["summary"].count("$labels.job") == 1
        assert len(rule["annotations"]["runbook"]) > 100
        assert rule["labels"]["severity"] in ("warning", "critical")


def test_every_alert_is_tested():
    cases = yaml.safe_load((MONITORING / "alerts_test.yaml").read_text())["tests"]
    samples = [
        sample["labels"]
        for case in cases
        for test in case["promql_expr_test"]
        for sample in test.get("exp_samples", [])
    ]
    assert {re.search(r'alertname="(\w+)"', labels)[1] for labels in samples} == set(ALERTS)


def test_grafanas_own_types_know_every_field_of_the_dashboard():
    plugins.register_default_plugins()
    back = json.loads(json.dumps(Dashboard.from_json(DASHBOARD), cls=JSONEncoder))
    assert list(left_out(DASHBOARD, back)) == []
    assert list(left_out({"title": "a", "titel": "b"}, back)) == ["/title", "/titel"]


def left_out(wanted, found, path=""):
    """Where something is in the first and not the same in the second."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key, value in wanted.items():
            yield from left_out(value, found.get(key), f"{path}/{key}")
    elif isinstance(wanted, list) and isinstance(found, list):
        for i, (one, other) in enumerate(itertools.zip_longest(wanted, found)):
            yield from left_out(one, other, f"{path}/{i}")
    elif wanted != found:
        yield path


def test_panels_do_not_overlap():
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


@pytest.mark.server
def test_the_rules_are_rules_and_fire_when_they_should(promtool):
    assert f"{len(ALERTS)} rules found" in promtool("check", "rules", MONITORING / "alerts.yaml")
    assert "SUCCESS" in promtool("test", "rules", MONITORING / "alerts_test.yaml")
    promtool("check", "config", MONITORING / "prometheus.yaml")


def soon(expression):
    """An expression over seconds instead of minutes."""
    short = re.sub(
        r"\[(\d+)m(?::1m)?\]",
        lambda found: f"[{max(4, int(found[1]))}s{':1s' * (':' in found[0])}]",
        expression,
    )
    return short.replace("$__rate_interval", "4s").replace("$job", ".*")


def always(expression):
    """An alert's expression that gives series when its comparisons are false as well."""
    return re.sub(r"(==|>) (?=\d)", r"\1 bool ", expression).replace(" unless ", " and ")


@contextmanager
def writing(address, topic):
    """Write records all the time, one in two of them without a text."""
    over = threading.Event()

    def write():
        for i in itertools.count():
            if over.wait(0.05):
                return
            values = [json.dumps({"id": i, "text": text}).encode() for text in _TEXTS]
            write_topic(address, topic, values)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.fixture
def scraped(kafka, model, worker, tmp_path):
    """A Prometheus that scrapes a worker that works."""
    names = [unique(name) for name in ("in", "out", "dead")]
    for name in names:
        kafka.create_topic(name, 2)
    port, own = free_ports(2)
    worker(
        *("--brokers", kafka.address, "--group", unique("group"), "--input", names[0]),
        *("--model", model, "--output", f"topic:{names[1]}", "--output", f"parquet:{tmp_path}/out"),
        *("--fields", "id:int64,text:string", "--dead-letters", f"topic:{names[2]}"),
        *("--listen", f"127.0.0.1:{port}", "--max-dead-letters", "100%", "--seconds-per-file", "1"),
        *("--property", "statistics.interval.ms=500"),
    )
    with writing(kafka.address, names[0]), prometheus(port, own, tmp_path) as server:
        server.wait_for_series("millstream_commits_total > 2")
        server.wait_for_series("millstream_lag_records")
        yield server


@pytest.mark.server
def test_every_query_gives_series_and_every_alert_is_evaluated(scraped):
    assert scraped.series("millstream_nothing") == []
    for expression in QUERIES:
        scraped.wait_for_series(soon(expression))
    for rule in ALERTS.values():
        scraped.wait_for_series(always(soon(rule["expr"])))

    def health():
        [group] = scraped.get("rules")["groups"]
        found = {rule["name"]: rule["health"] for rule in group["rules"]}
        return None if "unknown" in found.values() else found

    assert scraped.wait(health, "rules with their health") == dict.fromkeys(ALERTS, "ok")
