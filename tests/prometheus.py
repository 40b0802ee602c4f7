"""A real Prometheus that scrapes one worker: `with prometheus(worker, port, folder) as server: …`."""

import json
import subprocess
import urllib.parse
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

import yaml
from downloads import needed
from patience import PATIENCE, wait_for

__all__ = ["ADVICE", "prometheus"]

ROOT = Path(__file__).parents[1]
ADVICE = "apt-get install --no-install-recommends prometheus"


class Prometheus:
    """Asks a running server.

    Args:
        port: of it.
    """

    def __init__(self, port):
        self._url = f"http://127.0.0.1:{port}/api/v1/"

    def get(self, path, **parameters):
        """The data of an answer."""
        with urllib.request.urlopen(
            f"{self._url}{path}?{urllib.parse.urlencode(parameters)}", timeout=PATIENCE
        ) as answer:
            return json.load(answer)["data"]

    def series(self, query):
        """The series that a query gives now, those that are no number left out."""
        return [one for one in self.get("query", query=query)["result"] if one["value"][1] != "NaN"]

    def wait_for_series(self, query):
        """Wait until a query gives series."""
        self.wait(lambda: self.series(query), query)

    def wait(self, ready, what):
        """Wait until `ready` gives something that is true; that."""

        def look():
            with suppress(OSError):  # it does not answer yet
                return ready()

        return wait_for(look, what, pause=0.3)


@contextmanager
def prometheus(worker, port, folder):
    """Run a server on a port, with deploy/monitoring's configuration; it scrapes the worker's port, often."""
    program = needed("prometheus", ADVICE)
    config = yaml.safe_load((ROOT / "deploy/monitoring/prometheus.yaml").read_text())
    config["global"] = {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "1s"}
    config["rule_files"] = [str(ROOT / "deploy/monitoring" / name) for name in config["rule_files"]]
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{worker}"]
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(program, f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data"),
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        server = Prometheus(port)
        server.wait(lambda: server.get("status/buildinfo"), "Prometheus")
        yield server
    finally:
        process.kill()
        process.wait()
