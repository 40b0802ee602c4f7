"""The report: one HTML page about one version, published with it, that needs nothing but itself.

`page.py` puts it together from what was measured (`distill.evaluation`): `spread.py` says how vectors spread
over their dimensions and the tokens' weights over their frequencies, `groups.py` and `projection.py` make the
map of records, `neighbours.py` the lists side by side, `drawings.py` the coordinates of what is drawn.
`template.html`, `style.css` and `script.js` are its looks. `words.py` writes the page where there is nothing
to measure on.

Records are the user's own and the page is published, so it holds none of their text unless it is told to.
"""

from distill.report.page import render_report
from distill.report.vocabulary import render_word_report

__all__ = ["render_report", "render_word_report"]
