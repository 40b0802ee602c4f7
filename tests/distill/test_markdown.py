"""Tables in Markdown."""

from distill.markdown import markdown_table


def test_a_row_is_a_line_and_numbers_stand_at_the_right():
    table = markdown_table(["name", "n"], [["a", "1"], ["b", "2"]], numbers_from=1)
    assert table == "| name | n |\n| --- | ---: |\n| a | 1 |\n| b | 2 |\n"
    assert markdown_table(["name", "n"], []) == "| name | n |\n| --- | --- |\n"


def test_no_text_ends_its_cell_or_its_line():
    assert markdown_table(["a"], [["x | y\nz"]]).splitlines()[-1] == "| x \\| y z |"
