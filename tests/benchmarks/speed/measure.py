"""A case: its systems take turns, round by round, on the same core and the same texts."""

import statistics
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from benchmarks.speed.cases import ASCII
from benchmarks.speed.checks import check_ids, largest_difference, library_ids, same_ids
from benchmarks.speed.processes import OWN_ENVIRONMENTS, Worker, environment

__all__ = ["Entry", "entries", "measure"]

_CHECKED = 1_000  # texts


class Entry(NamedTuple):
    """A system in a case.

    Attributes:
        name: as the report shows it.
        does: the whole, or the part of the work that it does.
        program: its name in `worker`.
        model: the model's folder.
        python: of its own environment, if it has one.
        skipped: why it is not measured, if it is not.
        texts: the kind of its texts, if they are not the case's.
    """

    name: str
    does: str
    program: str
    model: str
    python: Path | None = None
    skipped: str | None = None
    texts: str | None = None


def entries(case, own, float32, folder):
    """The systems of a case.

    Args:
        case: the case.
        own: the model's folder.
        float32: the folder of the same model with a float32 table, which sentence-transformers asks for.
        folder: where the environments are.
    """
    yield Entry("millstream", "whole", "millstream", own)
    yield Entry(f"model2vec {version('model2vec')}", "whole", "model2vec", own)
    if case.group == "languages":
        yield Entry(ASCII, "whole, of ASCII sentences", "millstream", own, texts="ASCII sentences")
    if case.group != "main":
        return
    yield Entry("millstream, its ids", "tokenising only", "millstream tokenise", own)
    name = f"sentence-transformers {version('sentence-transformers')}"
    yield Entry(name, "whole, float32 table", "sentence-transformers", float32)
    yield Entry(f"tokenizers {version('tokenizers')}", "tokenising only", "tokenizers", own)
    for requirement in OWN_ENVIRONMENTS:
        program, number = requirement.split("==")
        python = environment(folder, requirement)
        why = None if python else "not measured: not installed here, see --environments"
        yield Entry(f"{program} {number}", "tokenising only", program, own, python, why)
    yield Entry(f"NumPy {version('numpy')}", "pooling only, of known ids, text by text", "NumPy", own)


def measure(case, systems, texts, scratch, options):
    """Check and measure a case.

    Returns:
        The facts of the texts, and for each system its figures: records/s (median and best of the rounds),
        MB/s, ns/token, seconds of each round.
    """
    facts, ids, unknown = describe(texts[case.texts], systems[0].model)
    sample = write(scratch / "sample", texts[case.texts][:_CHECKED])
    check_ids(systems[0].model, texts[case.texts][:_CHECKED], ids, unknown)
    found = {entry.name: {"does": entry.does, "skipped": entry.skipped} for entry in systems}
    workers = {}
    try:
        for entry in systems:
            if not entry.skipped:
                workers[entry] = Worker(entry.program, entry.model, entry.python)
        for name, agreement in compare(case, workers, (ids, unknown), sample, scratch).items():
            found[name] |= agreement
        for entry, worker in workers.items():
            file = write(scratch / "texts", texts[entry.texts or case.texts])
            turns = options.rounds if case.fresh else 1
            prepared = worker(do="prepare", texts=file, seconds=options.seconds, turns=turns)
            found[entry.name] |= {**prepared, "seconds": []}
        for _ in range(options.rounds):
            for entry, worker in workers.items():
                found[entry.name]["seconds"].append(worker(do="run")["seconds"])
    finally:
        for worker in workers.values():
            worker.close()
    tokens_per_byte = facts["tokens_per_text"] / facts["bytes_per_text"]
    for entry in workers:
        found[entry.name] |= figures(found[entry.name], tokens_per_byte)
    return {"case": vars(case), "name": case.name, **facts, "systems": found}


def write(file, texts):
    file.write_text("\n".join(texts), "utf-8")
    return str(file)


def describe(texts, model):
    """How many and how large the texts are, and what `library_ids` says of the first ones."""
    ids, unknown = library_ids(model, texts[:_CHECKED])
    n_bytes = sum(len(text.encode()) for text in texts[:_CHECKED])
    n_tokens = sum(map(len, ids))
    facts = {"bytes_per_text": n_bytes / len(ids), "tokens_per_text": n_tokens / len(ids)}
    return {"texts": len(texts), **facts}, ids, unknown


def compare(case, workers, library, sample, scratch):
    """What the systems give for a sample of the texts: name → shares and differences."""
    agreement = {}
    ours, theirs = list(workers)[:2]
    for entry in (ours, theirs):
        workers[entry](do="answer", texts=sample, to=str(scratch / f"{entry.program}.npy"))
    difference = largest_difference(case, *(scratch / f"{entry.program}.npy" for entry in (ours, theirs)))
    agreement[ours.name] = {"largest_difference": difference}
    for entry, worker in workers.items():
        if entry.does == "tokenising only":
            worker(do="answer", texts=sample, to=str(scratch / "ids"))
            agreement[entry.name] = {"same_ids": same_ids(scratch / "ids", *library)}
    return agreement


def figures(run, tokens_per_byte):
    median, best = statistics.median(run["seconds"]), min(run["seconds"])
    return {
        "records_per_second": run["texts"] / median,
        "best": run["texts"] / best,
        "mb_per_second": run["bytes"] / median / 1e6,
        "ns_per_token": median * 1e9 / (run["bytes"] * tokens_per_byte),
    }
