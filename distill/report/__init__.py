"""The HTML report and the model card of a model version.

The report is one self-contained page. `page` renders it from the evaluations: `histogram` computes the
variance over dimensions and the token weights over frequencies, `groups` and `projection` the map of records,
`neighbours` the lists of nearest records, and `charts` the coordinates of the drawings. `vocabulary` renders
the page of a model without evaluations. `head_sections` adds the heads to a report or a model card.
`live` is the section in which the model runs, and puts the model's files into the page.

The page is published, so it contains no text of the user's records unless they ask for it.
"""

from distill.report.live import model_files, page_with_model
from distill.report.page import render_report
from distill.report.vocabulary import render_word_report

__all__ = ["model_files", "page_with_model", "render_report", "render_word_report"]
