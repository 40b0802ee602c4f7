"""What drift costs the worker, and what it finds: false alarms and new kinds of records on real data.

    python tests/benchmarks/drift.py [--rounds 15] [--only cost|found|order] [--json FILE]

Cost is CPU time of this thread, with and without drift by turns: batches of 2,000 payments of 181 bytes of
JSON are decoded, embedded and encoded as the worker does it, without a broker. Found are 5 % of the lines of
another system among the lines of one, of spam among messages, of one intent that the baseline did not see, in
windows of records that the baseline did not see either; false alarms are windows without them. Records are
shuffled.

Order measures false alarms of streams in their own order, which come in runs and bursts: baselines are
consecutive records from several places, windows consecutive records of the rest, each half over the next.
"""

import argparse
import csv
import json
import os
import statistics
import sys
import tempfile
import time
import zipfile
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path = [*(entry for entry in sys.path if Path(entry) != Path(__file__).parent), str(ROOT / "tests")]
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from benchmarks.speed.materials import LOGHUB, int8_model
from benchmarks.worker import TEMPLATE, event
from plans import plan_of

from distill.heads import DriftRecords, fit_drift
from encoder import Encoder
from encoder.model import load_model
from pipelines.enrich.drift import DriftWindow
from pipelines.enrich.drift_sums import baseline_of
from pipelines.enrich.model_follower import FollowedModel
from pipelines.records.template import TextTemplate

GOAL = 0.03  # of the worker's CPU time
BATCH = 2000
DATA = LOGHUB.parent
SHARE = 0.05
SYSTEMS = ("Android", "Apache", "BGL", "HDFS", "Hadoop", "Linux", "OpenSSH", "Zookeeper")
EVENTS = DATA / "events/covenant_dcom_iertutil_dll_hijack.zip"


def with_baseline(model, texts):
    """The model with a baseline of texts."""
    encoder = Encoder(model, threads=1)
    head, _ = fit_drift("usual", DriftRecords.of(encoder, texts))
    return Encoder(replace(model, heads=(head,)), threads=1)


def cost(model, rounds):
    """CPU seconds of a batch without drift, and what drift adds, as a share; medians of rounds."""
    import pyarrow as pa

    from pipelines.sinks.kafka import record_encoder
    from pipelines.worker.decode import PlainValues, RecordDecoder

    values = [event(i) for i in range(20 * BATCH)]
    template = TextTemplate.parse(TEMPLATE)
    records = pa.RecordBatch.from_pylist([json.loads(value) for value in values[:5000]])
    encoder = with_baseline(model, template.apply(records).to_pylist())
    plan = plan_of("topic:out", text=TEMPLATE, format="msgpack", vectors="binary", dtype="float16")
    decode, encode = RecordDecoder(plan, None, PlainValues(plan, None)), record_encoder("msgpack", None)
    window = DriftWindow(encoder, baseline_of(encoder.heads.heads), template)
    followed = FollowedModel(encoder, "minilm@1", 1, 0.0)
    shares, seconds = [], []
    for _ in range(rounds):
        spent = [0.0, 0.0]
        for first in range(0, len(values), BATCH):
            began = time.thread_time()
            enriched = decode(values[first : first + BATCH], followed)
            encode(enriched.records, enriched.batch.column("embedding"), enriched.label, enriched.scores)
            middle = time.thread_time()
            window.add(enriched.texts)
            spent[0] += middle - began
            spent[1] += time.thread_time() - middle
        shares.append(spent[1] / spent[0])
        seconds.append(spent[0] / len(values) * BATCH)
    return {"batch_seconds": statistics.median(seconds), "share": statistics.median(shares)}


def lines(system):
    with (DATA / f"loghub/{system}/{system}_2k.log_structured.csv").open(newline="") as file:
        return [row["Content"] for row in csv.DictReader(file)]


def materials():
    """For each case the usual texts, the new ones, the size of the baseline, and that of windows."""
    for k, system in enumerate(SYSTEMS):
        other = SYSTEMS[(k + 1) % len(SYSTEMS)]
        yield f"{system}, then {other}", lines(system), lines(other), 1200, 800
    ham, spam = ([text for kind, text in messages() if (kind == "ham") == usual] for usual in (True, False))
    yield "messages, then spam", ham, spam, 2800, 2000
    rows = [json.loads(row) for row in (DATA / "eval/banking77/train.jsonl").read_text("utf-8").splitlines()]
    intents = np.random.default_rng(7).permutation(sorted({row["label"] for row in rows}))
    usual = [row["text"] for row in rows if row["label"] in set(intents[7:])]
    for intent in intents[:7]:
        new = [row["text"] for row in rows if row["label"] == intent]
        yield f"70 intents, then {intent}", usual, new, 6500, 2000


def found(model, windows, splits=4):
    """Shares of windows of the usual texts, and of those with new ones, that have a drift above 1."""
    template = TextTemplate.parse("text")
    for name, usual, new, n_baseline, size in materials():
        alarms = {"false": [], "found": []}
        for seed in range(splits):
            random = np.random.default_rng(seed)
            order = random.permutation(len(usual))
            encoder = with_baseline(model, [usual[row] for row in order[:n_baseline]])
            window = DriftWindow(encoder, baseline_of(encoder.heads.heads), template)
            for _ in range(windows):
                chosen = random.choice(order[n_baseline:], size, replace=False).tolist()
                texts = [usual[row] for row in chosen]
                alarms["false"].append(drift_of(window, texts))
                n_new = int(SHARE * size)
                texts[:n_new] = [new[row] for row in random.choice(len(new), n_new)]
                alarms["found"].append(drift_of(window, texts))
        yield {
            "name": name,
            "records": size,
            "windows": len(alarms["false"]),
            **{kind: float(np.mean(np.array(drifts) > 1)) for kind, drifts in alarms.items()},
            "median": {kind: float(np.median(drifts)) for kind, drifts in alarms.items()},
        }


def messages():
    """The kinds and texts of short messages, in their order."""
    rows = (DATA / "fraud/SMSSpamCollection").read_text("utf-8").splitlines()
    return [row.split("\t", 1) for row in rows]


def streams():
    """For each stream its texts in their order, the size of the baseline, and sizes of windows."""
    for system in SYSTEMS:
        yield system, lines(system), 1200, (100, 400)
    yield "messages", [text for _, text in messages()], 3000, (500, 1000)
    with zipfile.ZipFile(EVENTS) as files, files.open(files.namelist()[0]) as file:
        events = [json.loads(line).get("Message") for line in file]
    yield "Windows events", [text for text in events if text], 20_000, (500, 2000)


def in_order(model, places):
    """Shares of consecutive windows of a stream that have a drift above 1."""
    template = TextTemplate.parse("text")
    for name, texts, n_baseline, sizes in streams():
        drifts = {size: [] for size in sizes}
        for first in np.linspace(0, len(texts) - n_baseline, places).astype(int).tolist():
            stop = first + n_baseline
            encoder = with_baseline(model, texts[first:stop])
            window = DriftWindow(encoder, baseline_of(encoder.heads.heads), template)
            for size in sizes:
                for begin, end in ((0, first), (stop, len(texts))):
                    for k in range(begin, end - size + 1, size // 2):
                        drifts[size].append(drift_of(window, texts[k : k + size]))
        for size, some in drifts.items():
            yield {
                "name": name,
                "records": size,
                "windows": len(some),
                "false": float(np.mean(np.array(some) > 1)),
                "largest": max(some),
            }


def drift_of(window, texts):
    import pyarrow as pa

    window.begin()
    window.add_texts(pa.array(texts))
    return window.drift().shift.drift


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=15)
    options.add_argument("--windows", type=int, default=50)
    options.add_argument("--places", type=int, default=4, help="baselines of each stream in order")
    options.add_argument("--only", choices=["cost", "found", "order"])
    options.add_argument("--model", type=Path)
    options.add_argument("--json", type=Path)
    options = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = load_model(options.model or int8_model(Path(folder) / "model"))
        report = {"load": os.getloadavg()[0]}
        if options.only in (None, "cost"):
            report["cost"] = cost(model, options.rounds)
            print(f"a batch of {BATCH:,}: {report['cost']['batch_seconds'] * 1e3:.2f} ms, ", end="")
            print(f"drift {report['cost']['share']:.2%} of it, load {report['load']:.1f}")
        if options.only in (None, "order"):
            report["order"] = []
            for one in in_order(model, options.places) if DATA.exists() else ():
                report["order"].append(one)
                print(
                    f"{one['name']:20} in order, {one['windows']:4} windows of {one['records']:5,}: false "
                    f"alarms {one['false']:.1%}, largest drift {one['largest']:.1f}",
                    flush=True,
                )
        if options.only in (None, "found"):
            if not DATA.exists():
                print(f"no real data in {DATA}: nothing is said of false alarms and finds")
            report["found"] = []
            for one in found(model, options.windows) if DATA.exists() else ():
                report["found"].append(one)
                print(
                    f"{one['name']:46} {one['records']:5,} records: false alarms {one['false']:.1%}, "
                    f"found {one['found']:.0%}, median drift {one['median']['found']:.1f}",
                    flush=True,
                )
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=2))
    return int("cost" in report and report["cost"]["share"] > GOAL)


if __name__ == "__main__":
    sys.exit(main())
