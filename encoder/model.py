"""The static model: a table of token vectors, a tokenizer and a few settings, in a model2vec folder.

The folder holds `model.safetensors` (`embeddings` and, with a quantised vocabulary, `weights` and
`mapping`), `tokenizer.json`, `config.json` and `modules.json`. model2vec and sentence-transformers load what
Millstream writes, and Millstream loads what they write. Two kinds of files are Millstream's own, and the
others ignore them: the compiled tokenizer (`encoder.tokenizer.tables`) and heads (`encoder.heads.files`).
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.arrays.dtypes import LARGEST, largest, unusable
from encoder.arrays.mmap_arrays import map_tensors, write_tensors
from encoder.atomic_files import new_folder
from encoder.errors import ConfigurationError, ModelFormatError
from encoder.heads.files import head_path, pack_head, read_heads, vectors_digest
from encoder.heads.scoring import Head
from encoder.masks import Masks
from encoder.model_files import plain_file, read_json, read_text
from encoder.tokenizer.spec import LARGEST_FILE
from encoder.tokenizer.tables import (
    TABLES_FILE,
    TokenizerTables,
    compile_tokenizer,
    pack_tables,
    read_tables,
)

__all__ = [
    "DEFAULT_MAX_LENGTH",
    "StaticModel",
    "config_with_masks",
    "load_model",
    "packed_tables",
    "save_model",
]

DEFAULT_MAX_LENGTH = 512
"""Tokens used of a text if `config.json` sets no `max_length` (model2vec's default)."""

# Table, tokenizer, settings: model2vec's layout, then the two of sentence-transformers.
_LAYOUTS: tuple[tuple[str, str, str], ...] = (
    ("model.safetensors", "tokenizer.json", "config.json"),
    ("model.safetensors", "tokenizer.json", "config_sentence_transformers.json"),
    (
        "0_StaticEmbedding/model.safetensors",
        "0_StaticEmbedding/tokenizer.json",
        "config_sentence_transformers.json",
    ),
)
_LONGEST_TEXT = 1 << 31  # tokens
_MOST_DIMS = 1 << 14
_SPARE_ROWS = 1 << 12  # that no token has, besides as many as there are tokens
_TABLE_DTYPES = ("float64", "float32", "float16", "int8")


@dataclass(frozen=True)
class StaticModel:
    """A static embedding model in memory.

    Attributes:
        table: `(n_rows, dim)` float64, float32, float16 or int8: the token vectors. The scale that all int8
            rows have in common is not stored because normalising cancels it (model2vec's convention).
        tokenizer_json: the text of `tokenizer.json`.
        config: the settings of `config.json`; the encoder uses `normalize`, `max_length` and `masks`.
        weights: `(n_tokens,)` float, a factor for each token id, or None. An int8 table stays int8 in memory
            if its weights are whole numbers up to 255, as `distill` writes them.
        mapping: `(n_tokens,)` integers, the table's row for each token id, or None if row and id are equal.
        tables: the compiled tokenizer, or None if it is not compiled yet.
        heads: the heads that score its vectors.
        folder: where it was loaded from, or None; errors name it.
    """

    table: NDArray[Any]
    tokenizer_json: str
    config: dict[str, Any] = field(default_factory=dict)
    weights: NDArray[Any] | None = None
    mapping: NDArray[Any] | None = None
    tables: TokenizerTables | None = None
    heads: tuple[Head, ...] = ()
    folder: Path | None = None

    @property
    def where(self) -> str:
        """` in FOLDER` for messages, or nothing."""
        return "" if self.folder is None else f" in {self.folder}"

    @property
    def dim(self) -> int:
        """The number of dimensions."""
        return int(self.table.shape[1])

    @property
    def normalize(self) -> bool:
        """Whether vectors are scaled to length 1."""
        return bool(self.config.get("normalize", False))

    @property
    def max_length(self) -> int | None:
        """The number of tokens used of a text, or None for all."""
        value = self.config.get("max_length", DEFAULT_MAX_LENGTH)
        return None if value is None else int(value)

    @property
    def masks(self) -> Masks:
        """What is masked in texts before they are embedded."""
        return Masks.of_json(self.config.get("masks", ()))

    def with_masks(self, masks: Masks) -> "StaticModel":
        """The same model with other masks.

        Raises:
            ConfigurationError: it has heads, which were fitted to texts with other masks.
        """
        if masks == self.masks:
            return self
        if self.heads:
            raise ConfigurationError(
                f"the model{self.where} masks {self.masks}, and its heads "
                f"({', '.join(head.name for head in self.heads)}) were fitted to such texts: leave `mask` "
                "out, or take a model without heads and fit them again"
            )
        config = {key: value for key, value in self.config.items() if key != "masks"}
        return replace(self, config={**config, **({"masks": list(masks.to_json())} if masks else {})})

    def vectors_digest(self) -> str:
        """A digest of everything that vectors depend on; a head stores it."""
        arrays = (self.table, self.weights, self.mapping)
        return vectors_digest(
            arrays,
            self.tokenizer_json,
            normalize=self.normalize,
            max_length=self.max_length,
            masks=self.masks.to_json(),
        )


def load_model(folder: str | os.PathLike[str]) -> StaticModel:
    """Load a model folder, memory-mapped, so that all processes of a machine share it.

    If the folder has no compiled tokenizer that matches, the tokenizer is compiled in memory.

    Raises:
        ModelFormatError: the folder is missing, is not a static model, or its parts do not match, such as a
            head that was fitted to other vectors.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ModelFormatError(
            f"no model folder at {root}: name a folder with model.safetensors, or a store's URI"
        )
    table_file, tokenizer_file, config_file = (root / part for part in _layout(root))
    config = _config(config_file, root)
    tokenizer_json = read_text(tokenizer_file, root, LARGEST_FILE)
    tensors = _tensors(plain_file(table_file, root))
    try:
        tables = read_tables(root / TABLES_FILE, tokenizer_json) or compile_tokenizer(tokenizer_json)
    except ModelFormatError as error:
        raise ModelFormatError(f"cannot read the model in {root}: {error}") from error
    model = StaticModel(
        table=tensors["table"],
        tokenizer_json=tokenizer_json,
        config=config,
        weights=tensors.get("weights"),
        mapping=tensors.get("mapping"),
        tables=tables,
        folder=root,
    )
    _check(model, table_file, tables.n_tokens)
    heads = read_heads(root, model.vectors_digest, model.dim)
    return replace(model, heads=heads) if heads else model


def _layout(root: Path) -> tuple[str, str, str]:
    """The files of a model folder that hold its table, its tokenizer and its settings."""
    for layout in _LAYOUTS:
        if all((root / part).exists() for part in layout):
            return layout
    raise ModelFormatError(
        f"{root} is not a static model: it must hold model.safetensors, tokenizer.json and config.json"
    )


def _tensors(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a model's safetensors file; the token vectors are named `table`."""
    tensors, _ = map_tensors(path)
    table = next((name for name in ("embeddings", "embedding.weight") if name in tensors), None)
    if table is None:
        raise ModelFormatError(f"{path} holds {sorted(tensors)[:10]}, not 'embeddings' or 'embedding.weight'")
    if tensors[table].dtype.name not in _TABLE_DTYPES:
        raise ModelFormatError(
            f"the table of {path} has type {tensors[table].dtype}: it must be one of "
            f"{', '.join(_TABLE_DTYPES)}"
        )
    return {**tensors, "table": tensors[table]}


def _config(path: Path, root: Path) -> dict[str, Any]:
    """Read the settings; in sentence-transformers' layouts a module says whether vectors are normalised."""
    config = read_json(path, root)
    if not isinstance(config, dict):
        raise ModelFormatError(f"{path} must hold an object")
    if path.name != "config.json":
        modules = path.with_name("modules.json")
        kinds = read_json(modules, root) if modules.exists() else []
        if not (isinstance(kinds, list) and all(isinstance(kind, dict) for kind in kinds)):
            raise ModelFormatError(f"{modules} must hold a list of objects")
        config["normalize"] = any(str(kind.get("type", "")).endswith("Normalize") for kind in kinds)
    limit = config.get("max_length")
    if limit is not None and not (type(limit) is int and 0 <= limit <= _LONGEST_TEXT):
        raise ModelFormatError(
            f"{path} has max_length {limit!r:.50}: it must be a number of tokens up to {_LONGEST_TEXT:,}, or "
            "null"
        )
    try:
        Masks.of_json(config.get("masks", ()))
    except ConfigurationError as error:
        raise ModelFormatError(f"{path} has masks that cannot be used: {error}") from error
    return config


def _check(model: StaticModel, path: Path, n_tokens: int) -> None:
    """Check that table, weights, mapping and tokenizer match; `path` is the file of the arrays."""
    table, mapping, weights = model.table, model.mapping, model.weights
    if table.ndim != 2 or table.size == 0:
        raise ModelFormatError(f"the table of {path} has shape {table.shape}: it must be (n_tokens, dim)")
    if mapping is None and len(table) < n_tokens:
        raise ModelFormatError(
            f"{path} has {len(table)} vectors for {n_tokens} tokens: table and tokenizer do not match"
        )
    # Rows that no token has are read as well, and a few bytes of mapping or of a sparse file make many.
    rows = n_tokens if mapping is None else len(mapping)
    rows, most = max(rows, len(table)), _SPARE_ROWS + 2 * n_tokens
    if rows > most or table.shape[1] > _MOST_DIMS:
        raise ModelFormatError(
            f"{path} has {rows:,} rows of {table.shape[1]:,} numbers for {n_tokens:,} tokens: the limits are "
            f"{most:,} and {_MOST_DIMS:,}"
        )
    if mapping is not None and not (
        mapping.ndim == 1
        and mapping.dtype.kind in "iu"
        and len(mapping) >= max(n_tokens, 1)
        and 0 <= mapping.min() <= mapping.max() < len(table)
    ):
        raise ModelFormatError(f"the token mapping of {path} does not match its tokenizer or its table")
    if weights is not None and (weights.ndim != 1 or len(weights) < n_tokens):
        raise ModelFormatError(f"{path} has weights of shape {weights.shape} for {n_tokens} tokens")
    _check_numbers(model, f"the table of {path}")


def _check_numbers(model: StaticModel, what: str) -> None:
    """Check that all token vectors, times their weights, are numbers that every type of vectors can hold."""
    spans, kind = largest(model.table), "row"
    if model.weights is not None:
        if model.mapping is not None:
            spans = spans[model.mapping]
        n_tokens, kind = min(len(spans), len(model.weights)), "token"
        with np.errstate(invalid="ignore", over="ignore"):
            # As floats first: the magnitude of the lowest integer is no integer of its type.
            weights = np.abs(model.weights[:n_tokens].astype(np.float64))
            spans = np.maximum(spans[:n_tokens] * weights, weights)  # infinity times 0 is no number
    if found := unusable(spans):
        raise ModelFormatError(
            f"{what} holds {found[1]} in the vector of {kind} {found[0]}: numbers must be finite and at most "
            f"{LARGEST:g}; distil the model again, or scale the table down"
        )


def save_model(
    model: StaticModel,
    folder: str | os.PathLike[str],
    *,
    readme: str | None = None,
    more: Mapping[str, str] | None = None,
) -> Path:
    """Write a model folder, whole or not at all.

    Args:
        model: the model.
        folder: a new or empty folder.
        readme: the text of a model card, written as `README.md`.
        more: the texts of further files by name.

    Raises:
        OutputConflict: the folder exists and is not empty.
        ModelFormatError: a token vector is not finite or beyond float16.
        InputError: a head has numbers that are not finite.
    """
    target = Path(folder).absolute()
    _check_numbers(model, f"the table for {target}")
    with new_folder(target) as staging:
        _write(model, staging, readme)
        for name, text in (more or {}).items():
            (staging / name).write_text(text, encoding="utf-8")
    return target


def packed_tables(model: StaticModel) -> dict[str, bytes]:
    """The compiled tokenizer, which lets a folder load fast: its file name and its bytes."""
    tables = model.tables or compile_tokenizer(model.tokenizer_json)
    return {TABLES_FILE: pack_tables(tables, model.tokenizer_json)}


def config_with_masks(model: StaticModel, masks: Masks | None) -> dict[str, bytes]:
    """The settings of a model's folder with other masks, as file name and bytes; empty if none change."""
    if masks is None or model.folder is None or masks == model.masks:
        return {}
    name = _layout(model.folder)[-1]
    config = {**read_json(model.folder / name, model.folder), "masks": list(masks.to_json())}
    return {name: json.dumps(config, indent=2).encode()}


def _write(model: StaticModel, folder: Path, readme: str | None) -> None:
    tensors = {"embeddings": np.ascontiguousarray(model.table)}
    if model.weights is not None:
        tensors["weights"] = np.ascontiguousarray(model.weights)
    if model.mapping is not None:
        tensors["mapping"] = np.ascontiguousarray(model.mapping)
    write_tensors(folder / "model.safetensors", tensors, "embeddings")
    (folder / "tokenizer.json").write_text(model.tokenizer_json, encoding="utf-8")
    for name, data in packed_tables(model).items():
        (folder / name).write_bytes(data)
    for head in model.heads:
        path = folder / head_path(head.name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(pack_head(head, model.vectors_digest()))
    config = {**model.config, "normalize": model.normalize, "max_length": model.max_length}
    config["embedding_dtype"] = model.table.dtype.name
    config.pop("vocabulary_quantization", None)
    if model.mapping is not None:
        config["vocabulary_quantization"] = int(model.table.shape[0])
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    kinds = ["StaticEmbedding", *(["Normalize"] if model.normalize else [])]
    modules = [
        {
            "idx": i,
            "name": str(i),
            "path": "." if i == 0 else f"{i}_{kind}",
            "type": f"sentence_transformers.models.{kind}",
        }
        for i, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules, indent=2), encoding="utf-8")
    if readme is not None:
        (folder / "README.md").write_text(readme, encoding="utf-8")
