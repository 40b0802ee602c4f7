"""How long one text and a few texts take, beside the peers, on the same table: microseconds a call.

    python tests/benchmarks/latency.py [--calls 2000] [--core N] [--json FILE]

One process pinned to one core calls all systems in turn with str, as a service has them, each 20 times in a
row; the median and the 99th percentile of the calls are shown. The goal is 15 µs for
`encoder.encode("card payment refused")`; exit code 1 says that it was missed.
"""

import argparse
import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Programs here are named like packages. This tree's packages come first, then `benchmarks` of its tests.
sys.path = [str(ROOT), *(p for p in sys.path if Path(p) != Path(__file__).parent), str(ROOT / "tests")]
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from benchmarks.speed.tables import distilled, other_table

SHORT = "card payment refused"
LINE = (
    "Jun 14 15:16:01 combo sshd(pam_unix)[19939]: authentication failure; logname= uid=0 euid=0 tty=NODEVssh"
)
INPUTS = {
    f'"{SHORT}"': SHORT,
    f"a log line, {len(LINE)} bytes": LINE,
    "1 in a list": [SHORT],
    "8 in a list": [f"{SHORT} {k}" for k in range(8)],
    "64 in a list": [f"{SHORT} {k}" for k in range(64)],
}
GOAL = 15.0  # µs, for the first
IN_A_ROW = 20


def systems(models):
    """Name → a function of the texts."""
    from model2vec import StaticModel
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    from encoder import Encoder

    static = SentenceTransformer(modules=[StaticEmbedding.from_model2vec(models["float32"])], device="cpu")
    return {
        "millstream int8": Encoder.load(models["int8"]).encode,
        "millstream float32": Encoder.load(models["float32"]).encode,
        "model2vec int8": StaticModel.from_pretrained(models["int8"]).encode,
        "model2vec float32": StaticModel.from_pretrained(models["float32"]).encode,
        "sentence-transformers float32": lambda texts: static.encode(texts, show_progress_bar=False),
    }


def measure(options):
    folder = ROOT / "build/bench"
    folder.mkdir(parents=True, exist_ok=True)
    base = distilled(folder)
    runs = systems({dtype: str(other_table(base, folder, dtype, 256)) for dtype in ("int8", "float32")})
    os.sched_setaffinity(0, {options.core})
    results = {}
    for kind, texts in INPUTS.items():
        times = {name: [] for name in runs}
        for turn in range(options.calls // IN_A_ROW + 1):
            for name, run in runs.items():
                for _ in range(IN_A_ROW):
                    begin = time.perf_counter_ns()
                    run(texts)
                    if turn:  # the first is a warm-up
                        times[name].append((time.perf_counter_ns() - begin) / 1000)
        results[kind] = {
            name: {"p50": float(np.percentile(some, 50)), "p99": float(np.percentile(some, 99))}
            for name, some in times.items()
        }
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = measure(options)
    for kind, systems_ in results.items():
        print(f"\n{kind:33}{'p50, µs':>12}{'p99, µs':>12}{'x model2vec':>13}")
        for name, found in systems_.items():
            peer = systems_["model2vec int8" if "int8" in name else "model2vec float32"]["p50"]
            print(f"{name:33}{found['p50']:12.1f}{found['p99']:12.1f}{peer / found['p50']:13.1f}")
    packages = ("model2vec", "sentence-transformers", "tokenizers", "numba", "numpy", "pyarrow")
    versions = {package: version(package) for package in packages}
    print("\n" + ", ".join(f"{package} {number}" for package, number in versions.items()))
    found = results[next(iter(INPUTS))]["millstream int8"]["p50"]
    print(f"goal: {GOAL:.0f} µs for one short text, found {found:.1f}: {'met' if found < GOAL else 'missed'}")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"versions": versions, "microseconds": results}, indent=2))
    return int(found >= GOAL)


if __name__ == "__main__":
    sys.exit(main())
