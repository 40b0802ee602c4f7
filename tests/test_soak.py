"""The table of `make soak`: rows of scenarios that were not run stay."""

from soak import known_rows, write_table

ROW = ["20", "118800", "0", "0", "0", "0", "21", "2026-01-01"]


def test_the_table_keeps_the_rows_of_other_scenarios_and_the_text(tmp_path):
    path = tmp_path / "faults.md"
    path.write_text("# Faults\n\nWhat was done.\n")
    write_table(path, {"SIGTERM": ROW})
    write_table(path, known_rows(path) | {"kill -9": ["1", *ROW[1:]]})
    assert known_rows(path) == {"kill -9": ["1", *ROW[1:]], "SIGTERM": ROW}
    text = path.read_text()
    assert text.startswith("# Faults\n\nWhat was done.\n\n| scenario | faults |")
    assert text.index("| kill -9 |") < text.index("| SIGTERM |")
