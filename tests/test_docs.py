"""The examples of the documentation's pages are run word for word, in their order, in one empty folder."""

import re
import shutil
import subprocess

import pytest
from patience import PATIENCE
from shared import DISTIL, environment
from test_readme import ROOT
from topics import read_topic, write_topic

BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SCORES = ("incident_nearest", "incident_similarity", "kind_label", "kind_score", "odd_distance", "odd_novel")
SAID = {
    "explanation/beam.md": [
        "2 ['id', 'merchant', 'embedding', 'model_version']",
        "1 256 minilm@1",
        "bad: {'id': 2, 'reason': None} InputError('the text is null: reason')",
        "handled: {'id': 2, 'reason': None}",
        "['minilm@1', 'minilm@1']",
        "disk full (256,) minilm@1",
        "records 2",
        "window-20260131T120000Z-60s-00000.parquet",
        "window-20260131T120100Z-60s-00000.parquet",
        "window-20260131T120700Z-60s-00000.parquet",
    ],
    "explanation/evaluation.md": ["small.html"],
    "explanation/heads.md": [str(["id", "embedding", "model_version", *_SCORES]), "('kind',) pin"],
}
LAST = {"explanation/evaluation.md": r"would push \d+ files to org/small"}
NEEDS_KAFKA = {"explanation/beam.md"}


EVENT = b'{"id": 1, "reason": "card stolen", "at": "2026-01-31T12:07:05Z"}'


@pytest.mark.server
@pytest.mark.parametrize("page", SAID)
def test_the_examples_run(page, tmp_path, request):
    blocks = BLOCK.findall((ROOT / "docs" / page).read_text(encoding="utf-8"))
    assert blocks
    if blocks[0] == ("sh", DISTIL):  # it was run once for all pages
        shutil.copytree(request.getfixturevalue("minilm").store, tmp_path / "store")
        del blocks[0]
    brokers = {}
    if page in NEEDS_KAFKA:
        kafka = request.getfixturevalue("kafka")
        write_topic(kafka.address, kafka.create_topic("events"), [EVENT])
        for name in ("vectors", "letters"):
            kafka.create_topic(name)
        brokers = {"BROKERS": kafka.address}
    script = ["set -euo pipefail"]
    for language, block in blocks:
        script.append(f"python - <<'END'\n{block}END" if language == "python" else block)
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=tmp_path,
        env={**environment(tmp_path), "PYTHONPATH": str(ROOT), **brokers},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for line in SAID[page]:
        assert line in lines
    assert re.fullmatch(LAST.get(page, ".*"), lines[-1])
    if page in NEEDS_KAFKA:
        [vector] = read_topic(kafka.address, "vectors")
        assert dict(vector.headers()) == {"millstream_id": b"events/0:0"}
