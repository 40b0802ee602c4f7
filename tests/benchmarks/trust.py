"""What trust costs: milliseconds to resolve the latest version of a store, with and without a trusted key.

    python tests/benchmarks/trust.py [--rounds 200] [--json FILE]

The store is a folder with ten signed versions. Both ways of reading alternate in one process; the medians
and the 99th percentiles are shown. The goal is that trust adds less than 20 ms to a load; exit code 1 says
that it was missed. Nothing is verified per record, so records cost nothing.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Programs here are named like packages. This tree's packages come first, then `benchmarks` of its tests.
sys.path = [str(ROOT), *(p for p in sys.path if Path(p) != Path(__file__).parent), str(ROOT / "tests")]

import numpy as np
from tiny_tokenizers import named

from encoder.model import StaticModel, save_model
from encoder.store.signing.keys import LocalSigner, new_key
from encoder.store.signing.trust import Trust
from encoder.store.store import ModelStore

GOAL = 20.0  # ms that trust may add


def measure(rounds):
    with tempfile.TemporaryDirectory() as scratch:
        private, public = new_key(Path(scratch) / "release")
        tokenizer = named("uncased")
        table = np.random.default_rng(0).standard_normal((tokenizer.get_vocab_size(), 256), np.float32)
        model = save_model(
            StaticModel(table, tokenizer.to_str(), {"normalize": True}), Path(scratch) / "model"
        )
        uri, signer = str(Path(scratch) / "store" / "minilm"), LocalSigner.read(private)
        first = ModelStore.open(uri, trust=()).publish(model, signer=signer)
        for _ in range(9):
            ModelStore.open(uri, trust=()).extend(first, {}, signer=signer)
        trusts = {"without trust": (), "with trust": Trust.of(public)}
        times = {name: np.empty(rounds) for name in trusts}
        for k in range(rounds):
            for name, trust in trusts.items():
                start = time.perf_counter()
                assert ModelStore.open(uri, trust=trust).manifest().version == 10
                times[name][k] = (time.perf_counter() - start) * 1e3
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = {
        name: {"median_ms": float(np.median(each)), "p99_ms": float(np.percentile(each, 99))}
        for name, each in measure(options.rounds).items()
    }
    added = figures["with trust"]["median_ms"] - figures["without trust"]["median_ms"]
    for name, each in figures.items():
        print(f"{name:<14} median {each['median_ms']:6.2f} ms  99 % {each['p99_ms']:6.2f} ms")
    print(f"trust adds {added:.2f} ms; the goal is less than {GOAL:.0f} ms")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({**figures, "added_ms": added, "goal_ms": GOAL}, indent=2) + "\n")
    sys.exit(added >= GOAL)


if __name__ == "__main__":
    main()
