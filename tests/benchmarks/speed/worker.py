"""One system in a process of its own: reads commands as JSON lines, answers each with one.

    python -P worker.py SYSTEM MODEL_FOLDER

A system's own environment holds nothing but that system, so everything else is imported where it is used.

- `{"do": "prepare", "texts": FILE, "seconds": S, "turns": T}`: reads the texts (one a line), and prepares for
  each of T turns other ones, in the form that the system wants, as many as it does in about S seconds; says
  how many a turn has: `{"texts": n, "bytes": n}`.
- `{"do": "run"}`: does the texts of the next turn; answers `{"seconds": s}`.
- `{"do": "answer", "texts": FILE, "to": FILE}`: what comes out for all texts: ids as JSON, vectors as `.npy`.
"""

import itertools
import json
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

BATCH = 10_000  # texts that a system is given at a time
SAMPLE = 2_000


class System(NamedTuple):
    """A system that is measured.

    Attributes:
        prepare: texts as list of str → what `run` takes; not measured.
        run: one batch; measured.
        answer: the output of `run` as a list of lists of ids, or as an array of vectors.
    """

    prepare: Any
    run: Any
    answer: Any = lambda found: found


def millstream(folder):
    """Arrow strings to vectors in one array that is used again, as a pipeline does it."""
    import pyarrow as pa

    from encoder import Encoder

    encoder = Encoder.load(folder, threads=1)
    room = encoder.encode([""] * BATCH)
    return System(pa.array, lambda texts: encoder.encode(texts, out=room), lambda found: found.copy())


def millstream_tokenise(folder):
    import pyarrow as pa

    from encoder import Encoder

    encoder = Encoder.load(folder, threads=1)
    return System(pa.array, encoder.tokenise, split)


def split(found):
    """Ids one behind the other, and where each text's begin, as lists."""
    ids, offsets = found
    return [ids[first:last].tolist() for first, last in itertools.pairwise(offsets)]


def model2vec(folder):
    from model2vec import StaticModel

    model = StaticModel.from_pretrained(folder)
    return System(list, lambda texts: model.encode(texts, use_multiprocessing=False))


def sentence_transformers(folder):
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    torch.set_num_threads(1)
    model = SentenceTransformer(modules=[StaticEmbedding.from_model2vec(folder)], device="cpu")
    return System(
        list,
        lambda texts: model.encode(
            texts, batch_size=1024, normalize_embeddings=True, show_progress_bar=False
        ),
    )


def tokenizers(folder):
    """Ids by the library; the fastest call of the installed version."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    if not hasattr(tokenizer, "encode_batch_fast"):  # 1.0
        encode = tokenizer.encode_batch
        return System(
            list,
            lambda texts: [
                one.ids_array
                for one in encode(texts, add_special_tokens=False, padding=None, truncation=None)
            ],
            lambda found: [ids.tolist() for ids in found],
        )
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return System(
        list, lambda texts: [one.ids for one in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
    )


def tokie(folder):
    """From a file to ids, without a str of Python: its fastest way. The file is in memory."""
    import tempfile

    from tokie import Tokenizer

    tokenizer = Tokenizer.from_json(f"{folder}/tokenizer.json")
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    held = []  # until the process ends

    def prepare(texts):
        held.append(tempfile.NamedTemporaryFile(dir=memory))  # noqa: SIM115 - as above
        held[-1].write("\n".join(texts).encode())
        held[-1].flush()
        return held[-1].name

    return System(prepare, lambda file: tokenizer.encode_files([file], separator=b"\n"), split)


def pooling(folder):
    """The mean of known ids' rows, text by text, and the scaling to length 1: a loop of NumPy."""
    import numpy as np
    from safetensors.numpy import load_file

    table = load_file(f"{folder}/model.safetensors")["embeddings"]
    ids = tokenizers(folder)

    def run(batch):
        vectors = np.zeros((len(batch), table.shape[1]), np.float32)
        for row, tokens in enumerate(batch):
            if len(tokens):
                vectors[row] = table[tokens].mean(axis=0)
        return vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-32)

    return System(lambda texts: [np.array(row, np.int64) for row in ids.run(texts)], run)


SYSTEMS = {
    "millstream": millstream,
    "millstream tokenise": millstream_tokenise,
    "model2vec": model2vec,
    "sentence-transformers": sentence_transformers,
    "tokenizers": tokenizers,
    "tokie": tokie,
    "NumPy": pooling,
}


def read(file):
    return Path(file).read_text("utf-8").split("\n")


def batches(system, texts):
    return [system.prepare(texts[first : first + BATCH]) for first in range(0, len(texts), BATCH)]


def seconds(system, prepared):
    begin = time.perf_counter()
    for batch in prepared:
        system.run(batch)
    return time.perf_counter() - begin


def prepare(system, texts, wanted, n_turns):
    """For each turn as many texts as take about the wanted seconds; those of an only turn are done once."""
    sample = batches(system, texts[:SAMPLE])
    seconds(system, sample)  # compiles, fills caches
    rate = min(SAMPLE, len(texts)) / seconds(system, sample)
    count = min(max(100, int(wanted * rate)), max(1, len(texts) // n_turns))
    starts = range(0, n_turns * count, count)
    turns = [batches(system, texts[first : first + count]) for first in starts]
    if n_turns == 1:
        seconds(system, turns[0])
    size = sum(len(text.encode()) for text in texts[: n_turns * count]) / n_turns
    return itertools.cycle(turns), {"texts": count, "bytes": size}


def answer(system, texts, file):
    """Write what the system gives; says nothing but that it is there."""
    found = [system.answer(system.run(batch)) for batch in batches(system, texts)]
    if isinstance(found[0], list):
        Path(file).write_text(json.dumps([ids for batch in found for ids in batch]))
        return
    import numpy as np

    np.save(file, np.concatenate([np.asarray(batch, np.float32) for batch in found]))


def main(name, folder):
    replies, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    system, turns = SYSTEMS[name](folder), iter(())
    for line in sys.stdin:
        command = json.loads(line)
        reply = {}
        if command["do"] == "prepare":
            texts = read(command["texts"])
            turns, reply = prepare(system, texts, command["seconds"], command["turns"])
        elif command["do"] == "run":
            reply = {"seconds": seconds(system, next(turns))}
        else:
            answer(system, read(command["texts"]), command["to"])
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
