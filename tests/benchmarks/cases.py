"""Known cases: the rate and the recall of the search, beside NumPy, faiss, hnswlib and usearch.

    python tests/benchmarks/cases.py [--model FOLDER --texts FILE] [--sizes 10000,100000] [--systems NAMES]
        [--rounds 5] [--json FILE]

Texts are the different lines of a file, shuffled: the first 4,096 are searched for among the next 10,000 or
more. Without a model, vectors are made up. All systems run one after the other in each round, in one process
with one thread; rates are medians of CPU time. Recall is the share of records whose nearest case was
found. What is not installed is skipped: `pip install faiss-cpu hnswlib usearch` into an environment of your
own. The graphs of hnswlib and usearch take minutes to build from 100,000 cases on; --systems leaves systems
out.

Pin it to one core with `taskset -c 1`. Exit code 1 says that a goal was missed.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # before NumPy is loaded
    os.environ.setdefault(name, "1")

ROOT = Path(__file__).parents[2]
# Programs here are named like packages. This tree's packages come first.
sys.path = [str(ROOT), *(p for p in sys.path if Path(p) != Path(__file__).parent)]

import numpy as np

from distill.heads.case_cells import FEW, in_cells
from encoder.encoder import Encoder
from encoder.heads.vector_index import Index

GOALS = {10_000: 100_000, 100_000: 25_000, 1_000_000: 5_000}  # records a second
EXACT_GOALS = {10_000: 20_000}
LEAST_RECALL = 0.98
RECORDS = 4096
EXTRA = 1e-6  # rounding of float32


def made_up(n, dim=256):
    """Vectors of length 1 around many centres; their first axes vary most."""
    random = np.random.default_rng(0)
    spread = np.arange(1, dim + 1, dtype=np.float32) ** -0.4
    centres = random.standard_normal((2000, dim), np.float32) * spread
    found = random.standard_normal((n, dim), np.float32) * spread
    found *= 0.7
    found += centres[random.integers(0, len(centres), n)]
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def read(model, texts, n):
    lines = list(dict.fromkeys(line for line in texts.read_text("utf-8").split("\n") if line))
    if len(lines) < n:
        raise SystemExit(f"{texts} has {len(lines):,} different lines, and {n:,} are needed: give --sizes")
    np.random.default_rng(0).shuffle(lines)
    return Encoder.load(model, threads=1).encode(lines[:n])


def ours(index):
    def search(vectors):
        found = np.empty((len(vectors), 1), np.int32), np.empty((len(vectors), 1), np.float32)
        index.search(vectors, *found)
        return found[0][:, 0]

    return search


def millstream(cases):
    rows = cases.astype(np.float16)
    if len(rows) <= FEW:
        return {"millstream": ours(Index(rows))}
    order, cells = in_cells(rows)
    fast = ours(Index(rows[order], cells))
    return {"millstream": lambda vectors: order[fast(vectors)], "millstream, exact": ours(Index(rows))}


def numpy(cases):
    def search(vectors):
        some = [vectors[k : k + 256] @ cases.T for k in range(0, len(vectors), 256)]
        return np.concatenate([products.argmax(axis=1) for products in some])

    return {"NumPy": search}


def faiss(cases):
    import faiss

    faiss.omp_set_num_threads(1)
    dim, cells = cases.shape[1], round(len(cases) ** 0.5)
    flat = faiss.IndexFlatIP(dim)
    index = faiss.index_factory(dim, f"IVF{cells},Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(cases[: 64 * cells])
    for one in (flat, index):
        one.add(cases)
    index.nprobe = max(1, cells // 10)
    return {
        "faiss flat": lambda vectors: flat.search(vectors, 1)[1][:, 0],
        "faiss IVF, a tenth of the cells": lambda vectors: index.search(vectors, 1)[1][:, 0],
    }


def hnswlib(cases):
    import hnswlib

    index = hnswlib.Index("ip", cases.shape[1])
    index.init_index(len(cases), M=32, ef_construction=200)
    index.add_items(cases, num_threads=1)
    index.set_ef(100)
    return {"hnswlib": lambda vectors: index.knn_query(vectors, 1, num_threads=1)[0][:, 0].astype(np.int64)}


def usearch(cases):
    from usearch.index import Index as Graph

    index = Graph(ndim=cases.shape[1], metric="ip", dtype="f16", connectivity=32, expansion_add=200)
    index.add(np.arange(len(cases)), cases, threads=1)
    index.expansion_search = 100
    return {"usearch": lambda vectors: index.search(vectors, 1, threads=1).keys[:, 0].astype(np.int64)}


SYSTEMS = {one.__name__: one for one in (millstream, numpy, faiss, hnswlib, usearch)}


def measure(vectors, cases, systems, rounds):
    """Records a second, `(rounds,)` of each system, and its recall; or why it was skipped."""
    ways, skipped = {}, {}
    for name in systems:
        try:
            ways |= SYSTEMS[name](cases)
        except ImportError:
            skipped[name] = "not installed"
    rates = {name: np.empty(rounds) for name in ways}
    for way in ways.values():
        way(vectors[:8])
    found = {}
    for k in range(rounds):
        for name, way in ways.items():
            start = time.process_time()
            found[name] = way(vectors)
            rates[name][k] = len(vectors) / (time.process_time() - start)
    reached = {name: np.einsum("nd,nd->n", vectors, cases[rows]) for name, rows in found.items()}
    best = np.max(list(reached.values()), axis=0)
    exact = reached.get("millstream, exact", best if "NumPy" in reached or len(cases) <= FEW else None)
    if exact is None:
        raise SystemExit("recall needs an exact search: name millstream or numpy in --systems")
    recall = {name: float((products >= exact - EXTRA).mean()) for name, products in reached.items()}
    return {name: (float(np.median(each)), recall[name]) for name, each in rates.items()}, skipped


def missed(size, found):
    """The goals that were missed."""
    rate, recall = found.get("millstream", (np.inf, 1.0))
    if rate < GOALS.get(size, 0):
        yield f"{size:,} cases: {rate:,.0f} records/s, and the goal is {GOALS[size]:,}"
    if recall < LEAST_RECALL:
        yield f"{size:,} cases: a recall of {recall:.3f}, and the goal is {LEAST_RECALL}"
    exact, _ = found.get("millstream, exact", (rate, 1.0))
    if exact < EXACT_GOALS.get(size, 0):
        yield f"{size:,} cases, exactly: {exact:,.0f} records/s, and the goal is {EXACT_GOALS[size]:,}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, help="a model folder")
    parser.add_argument("--texts", type=Path, help="a file of texts, one a line")
    parser.add_argument("--sizes", default="10000,100000", help="numbers of cases")
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="which systems to measure")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if (options.model is None) != (options.texts is None):
        parser.error("--model and --texts belong together")
    sizes, systems = [int(one) for one in options.sizes.split(",")], options.systems.split(",")
    if unknown := set(systems).difference(SYSTEMS):
        parser.error(f"there is no system {min(unknown)!r}: choose from {', '.join(SYSTEMS)}")
    n = RECORDS + max(sizes)
    vectors = made_up(n) if options.model is None else read(options.model, options.texts, n)
    results, goals = {}, []
    for size in sizes:
        cases = vectors[RECORDS : RECORDS + size].astype(np.float16).astype(np.float32)
        found, skipped = measure(vectors[:RECORDS], cases, systems, options.rounds)
        print(f"{size:,} cases of {vectors.shape[1]} dimensions")
        for name, (rate, recall) in found.items():
            products = (
                "" if "," in name or len(cases) > FEW else f"{rate * cases.size / 1e9:8.0f} G products/s"
            )
            print(f"  {name:32}{rate:12,.0f} records/s  recall {recall:.4f}{products}")
        for name, reason in skipped.items():
            print(f"  {name:32}skipped: {reason}")
        goals += missed(size, found)
        results[size] = {"systems": found, "skipped": skipped}
    print(*(f"missed: {one}" for one in goals), sep="\n")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"sizes": results, "missed": goals}))
    return int(bool(goals))


if __name__ == "__main__":
    sys.exit(main())
