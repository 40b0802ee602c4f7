"""Models are tried in a process of their own: a sound one passes, and what another does there stays there."""

import sys

import numpy as np
import pytest
import tiny_tokenizers

from encoder import trial
from encoder.errors import ModelFormatError, TransientError
from encoder.heads.scoring import Prototypes
from encoder.model import StaticModel, save_model
from encoder.trial import TrialLimits, try_model

HEAD = Prototypes("near", ("disk",), np.full((1, 8), 0.3, np.float32), 0.5)


@pytest.fixture
def folder(tmp_path):
    tokenizer = tiny_tokenizers.named("only trained")
    table = np.random.default_rng(0).normal(size=(tokenizer.get_vocab_size(), 8)).astype(np.float32)
    model = StaticModel(table, tokenizer.to_str(), {"normalize": True}, heads=(HEAD,))
    return save_model(model, tmp_path / "model")


@pytest.fixture
def child_does(monkeypatch):
    """Children run a program in place of the use of the model."""

    def does(program):
        before, main, after = trial._PROGRAM.rpartition("main()")
        change = f"import encoder.trial; encoder.trial._use = lambda _: exec({program!r}); "
        monkeypatch.setattr(
            trial, "_PROGRAM", before + change.replace("{", "{{").replace("}", "}}") + main + after
        )

    return does


@pytest.mark.slow
def test_a_sound_model_passes_from_any_folder(folder, tmp_path, monkeypatch):
    (tmp_path / "encoder.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    try_model(folder)


@pytest.mark.slow
def test_a_damaged_model_is_refused_with_its_reason(folder):
    (folder / "config.json").write_text("[]")
    with pytest.raises(ModelFormatError, match=f"failed its trial: {folder}/config.json must hold an object"):
        try_model(folder)


@pytest.mark.slow
def test_numbers_that_are_not_finite_are_refused(folder, child_does):
    child_does(
        "import numpy as np; from encoder.trial import _check_finite; _check_finite([np.array([np.nan])])"
    )
    with pytest.raises(ModelFormatError, match="failed its trial: it gives numbers that are not finite"):
        try_model(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import os; os.kill(os.getpid(), 11)", r"killed the process that tried it \(signal 11\)"),
        ("while True: pass", r"killed the process that tried it \(signal (9|24): it needed too much"),
        ("bytearray(8 << 30)", "failed its trial: MemoryError"),
        ("raise RuntimeError('of another kind')", "failed its trial: RuntimeError: of another kind"),
        ("import os; os._exit(3)", "failed its trial: nothing"),
    ],
)
def test_a_model_that_harms_its_process_is_refused(program, reason, folder, child_does):
    child_does(program)
    with pytest.raises(ModelFormatError, match=f"{folder} {reason}"):
        try_model(folder, TrialLimits(cpu_seconds=5))


def test_a_trial_that_does_not_end_says_nothing_of_the_model(folder, child_does):
    child_does("import time; time.sleep(1000)")
    with pytest.raises(TransientError, match=r"did not end in 0\.5 s"):
        try_model(folder, TrialLimits(seconds=0.5))


def test_a_process_that_cannot_start_says_nothing_of_the_model(folder, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(TransientError, match="no process could be started"):
        try_model(folder)
