"""The compose file, read by the library that Docker Compose reads it with, which needs no engine."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from downloads import KAFKA_VERSION, compose, kafka_jars

pytestmark = pytest.mark.slow  # the library is built once
DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.fixture(scope="module")
def services():
    done = subprocess.run(
        [compose(), "-format", "json", "compose.yaml"],
        cwd=DEPLOY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["services"]


def test_files_that_it_names_are_there(services):
    build = services["worker"]["build"]
    assert (Path(build["context"]) / build["dockerfile"]).samefile(DEPLOY / "image/Dockerfile")
    binds = [
        Path(volume["source"])
        for service in services.values()
        for volume in service.get("volumes", [])
        if volume["type"] == "bind"
    ]
    there = [path for path in binds if path.is_relative_to(DEPLOY)]
    assert all(path.exists() for path in there)
    assert [path for path in binds if path not in there] == [DEPLOY.parent / "store"]  # the user's


def test_the_worker_reads_its_options(services, started_plan):
    plan = started_plan(services["worker"]["command"])
    assert plan.settings.brokers == "kafka:9092"
    assert plan.settings.instance
    assert plan.settings.listen == "0.0.0.0:9108"
    made = services["topics"]["command"][-1]
    assert all(f" {topic}" in made for topic in plan.written_topics)


def test_the_worker_has_no_rights_and_time_to_end(services):
    worker = services["worker"]
    assert worker["read_only"] is True
    assert worker["cap_drop"] == ["ALL"]
    assert int(worker["stop_grace_period"].removesuffix("s")) > 10


def test_prometheus_and_grafana_find_their_files(services):
    config = yaml.safe_load((DEPLOY / "monitoring/prometheus.yaml").read_text())
    mounted = {v["target"]: Path(v["source"]) for s in services.values() for v in s.get("volumes", [])}
    folder = Path("/etc/prometheus")
    assert all(str(folder / name) in mounted for name in config["rule_files"])
    assert f"--config.file={folder}/prometheus.yaml" in services["prometheus"]["command"]
    [target] = config["scrape_configs"][0]["static_configs"][0]["targets"]
    assert target == f"worker:{services['worker']['ports'][0]['target']}"
    provisioning = mounted["/etc/grafana/provisioning"]
    [provider] = yaml.safe_load((provisioning / "dashboards/millstream.yaml").read_text())["providers"]
    assert f"{provider['options']['path']}/dashboard.json" in mounted
    [source] = yaml.safe_load((provisioning / "datasources/prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"


def test_the_broker_understands_its_configuration(services, tmp_path):
    service = services["kafka"]
    assert service["image"].endswith(f":{KAFKA_VERSION}")
    lines = [
        f"{name.removeprefix('KAFKA_').lower().replace('_', '.')}={value}"
        for name, value in service["environment"].items()
    ]
    (tmp_path / "server.properties").write_text("\n".join([*lines, f"log.dirs={tmp_path}/data"]))
    tool = ["kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c", "server.properties"]
    done = subprocess.run(
        ["java", "-cp", f"{kafka_jars()}/*", *tool], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
