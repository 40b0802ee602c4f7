"""How many texts a second millstream.js encodes in Node, beside the encoder in Python and model2vec.

    python tests/benchmarks/browser.py [--turns 5] [--seconds 2] [--most 20000] [--core N] [--json FILE]

All run by turns, each on one pinned core, with the same int8 table of 256 dimensions; medians are shown. The
goal is 100,000 texts of 10 tokens a second in Node; exit code 1 says that it was missed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Programs here are named like packages. This tree's packages come first, then `benchmarks` of its tests.
sys.path = [str(ROOT), *(p for p in sys.path if Path(p) != Path(__file__).parent), str(ROOT / "tests")]
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from benchmarks.speed.tables import distilled, other_table
from benchmarks.speed.texts import load_texts

KINDS = ("10 tokens", "log lines")
GOAL = 100_000  # texts of 10 tokens a second, in Node


def rate(run, texts, seconds):
    """Texts a second."""
    run(texts)
    start, n = time.perf_counter(), 0
    while (spent := time.perf_counter() - start) < seconds:
        run(texts)
        n += len(texts)
    return n / spent


def in_node(folder, texts, seconds):
    """Texts a second in a process of Node."""
    module = ROOT / "deploy/browser/millstream.js"
    program = Path(__file__).with_suffix(".mjs")
    url = f"{Path(folder).absolute().as_uri()}/"
    shown = subprocess.run(
        ["node", program, module, url, texts, str(seconds)], check=True, capture_output=True, text=True
    )
    return float(shown.stdout)


def measure(options):
    from model2vec import StaticModel
    from tokenizers import Tokenizer

    from encoder import Encoder

    folder = ROOT / "build/bench"
    folder.mkdir(parents=True, exist_ok=True)
    model = str(other_table(distilled(folder), folder, "int8", 256))
    os.sched_setaffinity(0, {options.core})  # Node's processes inherit it
    texts_of = load_texts({}, Tokenizer.from_file(f"{model}/tokenizer.json"), options.most)
    encode, peer = Encoder.load(model, threads=1).encode, StaticModel.from_pretrained(model).encode
    results = {}
    for kind in KINDS:
        texts = texts_of[kind]
        file = folder / "browser.json"
        file.write_text(json.dumps(texts), "utf-8")
        rates = {"Node": [], "Python": [], "model2vec": []}
        for _ in range(options.turns):
            rates["Node"].append(in_node(model, file, options.seconds))
            rates["Python"].append(rate(encode, texts, options.seconds))
            rates["model2vec"].append(rate(peer, texts, options.seconds))
        results[kind] = {name: statistics.median(found) for name, found in rates.items()}
        for name, found in results[kind].items():
            print(f"{kind:10} {name:10} {found:12,.0f} texts/s", flush=True)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--most", type=int, default=20_000, help="texts of a kind")
    parser.add_argument("--core", type=int, default=min(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = measure(options)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2), "utf-8")
    sys.exit(results[KINDS[0]]["Node"] < GOAL)


if __name__ == "__main__":
    main()
