"""The model in a report: the program that runs it there, and its files, if they are wanted in the page."""

import base64
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from encoder.browser_files import browser_folder
from encoder.errors import ConfigurationError
from encoder.model import StaticModel

__all__ = ["has_model", "model_files", "page_with_model", "program", "runs_in_browser"]

_RUNS = {"model": "WordPiece", "normalizer": "BertNormalizer", "pre_tokenizer": "BertPreTokenizer"}
_FILES = ("config.json", "tokenizer.json", "model.safetensors")
_MODEL = re.compile(r'<script type="text/plain" class="model" data-path="([^"]*)">[^<]*</script>\n')
_NEXT = '<script type="application/json" id="data">'
_MAY_FETCH = "; connect-src 'self'"


def runs_in_browser(model: StaticModel) -> bool:
    """Whether `millstream.js` knows the model's tokenizer, and the model masks nothing."""
    tokenizer = json.loads(model.tokenizer_json)
    known = all((tokenizer.get(part) or {}).get("type") == kind for part, kind in _RUNS.items())
    return known and not model.masks


def program() -> str:
    """Return the program of the section in which the model runs: a JavaScript module."""
    own = files("distill.report") / "live.js"
    sources = [browser_folder() / "millstream.js", browser_folder() / "vectors.js", own]
    return "\n".join(source.read_text(encoding="utf-8") for source in sources)


def model_files(folder: Path) -> dict[str, bytes]:
    """Read what a page needs of a model folder, by path."""
    heads = sorted(folder.glob("heads/*.safetensors"))
    paths = [folder / name for name in _FILES] + heads
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def has_model(page: str) -> bool:
    """Whether a report holds its model."""
    return _MODEL.search(page) is not None


def page_with_model(page: str, model: Mapping[str, bytes]) -> str:
    """Put a model's files into its report, beside those that it holds; the page then fetches nothing.

    Args:
        page: the report.
        model: the files by path.

    Raises:
        ConfigurationError: the report has no section for a model.
    """
    if 'id="live"' not in page:
        raise ConfigurationError(
            "the report cannot hold its model: the tokenizer is not BERT's WordPiece, the model has masks, "
            "or an older release made the report"
        )
    kept = [found[0] for found in _MODEL.finditer(page) if found[1] not in model]
    new = [
        f'<script type="text/plain" class="model" data-path="{path}">'
        f"{base64.b64encode(data).decode()}</script>\n"
        for path, data in model.items()
    ]
    before, mark, after = _MODEL.sub("", page).replace(_MAY_FETCH, "", 1).rpartition(_NEXT)
    return "".join([before, *kept, *new, mark, after])
