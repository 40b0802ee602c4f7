"""However a model folder is damaged or forged, it gives vectors or one of our errors."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import mutants
import pytest
from amounts import amount
from patience import PATIENCE

from encoder.errors import __all__ as ours

PROGRAM = Path(mutants.__file__)
BATCH = 1000  # mutants of one process


def _run(bases, first, last, scratch):
    """The outcomes of mutants by number; one that ended the process has its signal."""
    found = {}
    while first < last:
        log = scratch / f"{first}.jsonl"
        with log.open("w") as out, (scratch / f"{first}.err").open("w") as err:
            command = [sys.executable, PROGRAM, bases, str(first), str(last)]
            code = subprocess.run(
                command, stdout=out, stderr=err, timeout=8 * PATIENCE, check=False
            ).returncode
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        found |= {line["end"]: line["found"] for line in lines if "end" in line}
        if code == 0:
            return found
        assert lines, (scratch / f"{first}.err").read_text()[-2000:]
        first = lines[-1]["begin"]
        found[first] = f"ENDED the process with {code}"
        first += 1
    return found


@pytest.mark.slow
def test_no_mutant_of_a_model_folder_harms_its_process(tmp_path, record_property):
    mutants.write_bases(tmp_path / "bases")
    found, total = {}, amount(300, 20_000)
    for first in range(0, total, BATCH):
        found |= _run(tmp_path / "bases", first, min(first + BATCH, total), tmp_path)
    kinds = Counter(outcome.partition(":")[0] for outcome in found.values())
    record_property("outcomes", json.dumps(kinds))
    assert len(found) == total
    assert set(kinds) <= {"vectors", *ours}, {
        n: o for n, o in found.items() if o[:1].isupper() and " " in o[:8]
    }
    assert (
        min(kinds["vectors"], kinds["ModelFormatError"]) > total / 10
    )  # they are neither all alike nor all broken
