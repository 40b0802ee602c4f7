"""pandas: `embed(df, REF, text="message")`.

>>> import pandas as pd
>>> from pipelines.dataframes.pandas import embed
>>> events = pd.DataFrame({"message": ["card declined at the gate", None]})
>>> embed(events, "models/minilm", "message").columns.to_list()
['message', 'embedding', 'model_version']
"""

from collections.abc import Sequence

import pyarrow as pa

from encoder.arrays.dtypes import Dtype
from encoder.errors import InputError
from encoder.store.signing.trust import Trusted
from pipelines.dataframes.arrow import ArrowEmbedder
from pipelines.dataframes.extras import extra
from pipelines.enrich import Layout
from pipelines.enrich.model_version import ModelVersion
from pipelines.records.bad_rows import one_line

with extra("pandas"):
    import pandas as pd

__all__ = ["embed"]


def embed(
    frame: pd.DataFrame,
    model: str | ModelVersion,
    text: str = "text",
    *,
    vectors: Layout = "list",
    dtype: Dtype = "float32",
    heads: Sequence[str] | None = None,
    threads: int | None = None,
    trust: Trusted = None,
) -> pd.DataFrame:
    """A new frame with the columns `embedding` and `model_version` and the scores of heads.

    They are Arrow columns (`pd.ArrowDtype`), views of what the encoder wrote; the other columns and the index
    stay as they are. A row whose text is missing has missing values in all of them.

    Args:
        frame: the frame; only the columns of the text are converted.
        model: a REF or a `ModelVersion`.
        text: a column or a template, as for `ArrowEmbedder`.
        vectors: `list` or `binary`, as for `ArrowEmbedder`.
        dtype: the type of the vectors' elements.
        heads: names of the heads whose scores are added, or None for all that the model has.
        threads: the most threads; None for `MILLSTREAM_THREADS`, or all cores.
        trust: the public keys that may sign the version of a REF, as for `ArrowEmbedder`.

    Raises:
        TemplateError: the template cannot be parsed, or the frame lacks one of its columns.
        InputError: a column of the text has values of several types.
        MillstreamError: the model does not exist or cannot be loaded, lacks a head, or adds a column that the
            frame has.
        MissingExtra: pandas is not installed.
    """
    embedder = ArrowEmbedder(
        model, text, keep=(), vectors=vectors, dtype=dtype, heads=heads, threads=threads, trust=trust
    )
    embedder.check_names([str(name) for name in frame.columns])
    wanted = [name for name in frame.columns if embedder.reads(str(name))]
    try:
        texts = pa.Table.from_pandas(frame[wanted], preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InputError(
            f"a column of the text has values of several types ({one_line(error)}): convert it, "
            "as with astype(str)"
        ) from error
    kinds = {one.name: one.type for one in texts.schema}
    embedder.schema(pa.schema([(str(name), kinds.get(name, pa.null())) for name in frame.columns]))
    added = embedder(texts)
    columns = {
        name: pd.Series(pd.arrays.ArrowExtensionArray(added[name]), index=frame.index)
        for name in added.column_names
    }
    return frame.assign(**columns)
