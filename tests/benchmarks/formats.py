"""The formats of the worker's messages: what one thread decodes and encodes, without a broker or a model.

    python tests/benchmarks/formats.py [--rounds 25] [--json FILE]

The events are those of `worker.py`: 181 bytes as JSON, about 90 as Avro and Protobuf. Vectors have 256
numbers. A round runs each case once on 1,000 records, one case after the other; the best round of each
counts, in seconds of CPU time, so that other work on the machine does not.
"""

import argparse
import importlib.util
import io
import json
import sys
import time
from pathlib import Path

sys.path = [entry for entry in sys.path if Path(entry) != Path(__file__).parent]  # named like packages
ROOT = Path(__file__).parents[2]
N, DIM = 1000, 256


def events():
    """`worker.py`, whose name is that of nothing to import."""
    spec = importlib.util.spec_from_file_location("worker_benchmark", Path(__file__).with_name("worker.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cases(server):
    """What is measured: names, and functions that deal with `N` records."""
    import fastavro
    import numpy as np
    import pyarrow as pa

    from pipelines.enrich.columns import VectorFormat
    from pipelines.enrich.enrichment import EnrichedBatch
    from pipelines.formats.avro.reader import AvroReader
    from pipelines.formats.messages import decode_objects
    from pipelines.formats.protobuf.reader import ProtobufReader
    from pipelines.formats.schema_registry import FramedDecoder
    from pipelines.kafka.registry import open_registry
    from pipelines.sinks.encoding.avro_records import AvroFromAvro, AvroFromColumns
    from pipelines.sinks.kafka import record_encoder

    made = events()
    as_json = [made.event(i) for i in range(N)]
    as_avro, as_protobuf = (list(map(make(server), range(N))) for make in (made.as_avro, made.as_protobuf))
    registry = open_registry(server.url, {})
    avro = FramedDecoder("AVRO", registry.schema, AvroReader)
    protobuf = FramedDecoder(
        "PROTOBUF", open_registry(server.url, {}, serialized=True).schema, ProtobufReader
    )
    records = decode_objects(as_json, "json").records
    assert records == avro(as_avro).records == protobuf(as_protobuf).records

    halves = VectorFormat("binary", "float16")
    floats = VectorFormat("list", "float32")
    numbers = np.random.default_rng(0).normal(size=(N, DIM))
    columns = pa.RecordBatch.from_pylist(records)

    def batch(vectors):
        column = vectors.column(numbers.astype(vectors.dtype))
        both = pa.RecordBatch.from_arrays(
            [*columns.columns, column, pa.array(["minilm@1"] * N)],
            names=[*columns.schema.names, "embedding", "model_version"],
        )
        return EnrichedBatch(
            np.arange(N), [dict(record) for record in records], both, "minilm@1", [], as_avro
        )

    def messagepack(of):
        encode = record_encoder("msgpack", None)
        return lambda: encode(of.records, of.batch["embedding"], of.label)

    def passed_on(vectors, fields=None):
        topic = f"{vectors.layout}-{len(fields or ())}"
        encode, of = AvroFromAvro(registry, [topic], fields, vectors, pa.schema([])), batch(vectors)
        return lambda: encode(of)

    anew, of_columns = (
        AvroFromColumns(registry, ["new"], columns.schema, halves, pa.schema([])),
        batch(halves),
    )
    added = [
        {"name": "embedding", "type": {"type": "array", "items": "float"}},
        {"name": "model_version", "type": "string"},
    ]
    schema = fastavro.parse_schema({**made.AVRO, "fields": [*made.AVRO["fields"], *added]})
    lists = numbers.astype(np.float32).tolist()

    def alone():
        for record, vector in zip(records, lists, strict=True):
            whole = {**record, "embedding": vector, "model_version": "minilm@1"}
            fastavro.schemaless_writer(io.BytesIO(), schema, whole)

    return {
        "decode JSON": lambda: decode_objects(as_json, "json"),
        "decode Protobuf": lambda: protobuf(as_protobuf),
        "decode Avro": lambda: avro(as_avro),
        "MessagePack, float16 as bytes": messagepack(batch(halves)),
        "MessagePack, array of float": messagepack(batch(floats)),
        "Avro from Avro, float16 as bytes": passed_on(halves),
        "Avro from Avro, array of float": passed_on(floats),
        "Avro from Avro with --fields": passed_on(halves, ["id", "merchant", "reason"]),
        "Avro from columns": lambda: anew(of_columns),
        "fastavro alone, array of float": alone,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT / "tests"))
    from registry import schema_registry

    best = {}
    with schema_registry() as server:
        measured = cases(server)
        for _ in range(options.rounds):
            for name, case in measured.items():
                begin = time.process_time()
                case()
                best[name] = min(best.get(name, float("inf")), time.process_time() - begin)
    rates = {name: N / seconds for name, seconds in best.items()}
    for name, rate in rates.items():
        print(f"{name:34}{rate / 1000:8,.0f} k records/s")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(rates, indent=2))


if __name__ == "__main__":
    main()
