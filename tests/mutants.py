"""Damaged and forged model folders of every kind, and a process that loads them within limits.

    python tests/mutants.py BASES FIRST LAST

writes the mutants with these numbers, one after the other, from the folders in BASES (`write_bases`). Each is
loaded and encodes `TEXTS`. A number makes the same mutant each time. The program writes a line before and
after each one; memory and time are bounded, so a mutant that exceeds them ends the process with a signal.
"""

import hashlib
import json
import os
import random
import resource
import shutil
import signal
import socket
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

SECONDS = 10  # of computing, for one mutant
BYTES = 1 << 30
DIM = 8
TEXTS = [
    *(
        "",
        " ",
        "\x00",
        "\ufffd",
        "\U0010ffff",
        "a",
        "▁",
        "Ġ",
        "é",
        "e\u0301\u0327",
        "中文",
        "İ",
        "ﷺ",
        "\u200b",
    ),
    *("card declined", "Card DECLINED, twice!", "  spaces   and\ttabs\n\nlines\r\n", "it's 12345 67"),
    *("[MASK] card", "<s> card </s>", "<|endoftext|>", "[ MASK ]<mail>##", "[UNK]", "<unk>", "``quotes''"),
    *("a" * 5000, "ab" * 300, "▁" * 700, " " * 3000, "é" * 600, "中" * 600, "1" * 600, "!" * 700, "<" * 500),
    "Jun 14 15:16:01 combo sshd(pam_unix)[19939]: authentication failure; logname= uid=0 euid=0",
    "\U0001f3f3\ufe0f\u200d\U0001f308" + "x" * 100 + "é" * 100,
]
NUMBERS = [0, -1, 1, 7, 0.5, 1 << 31, (1 << 32) - 1, 1 << 63, -(1 << 63), 10**30, 1e300, -1e300]
VALUES = [None, True, False, *NUMBERS, "", "a", "▁", "\x00", "\ud800", "x" * 3000]
VALUES += [[], [[]], {}, {"a": 1}, [1, "a"]]
PARTS = [
    {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"},
    {"type": "Replace", "pattern": {"String": ""}, "content": "▁"},
    {"type": "Replace", "pattern": {"Regex": "(a+)+$|(a*)*b"}, "content": ""},
    {"type": "Replace", "pattern": {"Regex": ""}, "content": "x"},
    {"type": "Prepend", "prepend": ""},
    {"type": "Precompiled", "precompiled_charsmap": "AAAA"},
    {"type": "Precompiled", "precompiled_charsmap": "/////w=="},
    {"type": "Precompiled", "precompiled_charsmap": "BAAAAP////9hAGIA"},
    {"type": "Nmt"},
    {"type": "Strip", "strip_left": True, "strip_right": True},
    {"type": "StripAccents"},
    {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    {"type": "Metaspace", "replacement": "_", "prepend_scheme": "always", "split": True},
    {"type": "Split", "pattern": {"Regex": "(a+)+b|(x*)*y"}, "behavior": "Isolated", "invert": False},
    {"type": "Split", "pattern": {"String": ""}, "behavior": "Removed", "invert": True},
    {"type": "FixedLength", "length": 0},
    {"type": "Digits", "individual_digits": True},
    {"type": "UnicodeScripts"},
    {"type": "CharDelimiterSplit", "delimiter": "a"},
    {"type": "Whitespace"},
]


def write_bases(folder):
    """Write a sound model of every kind: tokenizers, types of tables, weights, mapping and heads."""
    import pretokenizers
    import tiny_tokenizers

    from encoder.heads.cases import Cases, Strings
    from encoder.heads.groups import Groups
    from encoder.heads.scoring import Classifier, Novelty, Prototypes, unit_vectors
    from encoder.heads.vector_index import Cells
    from encoder.model import StaticModel, save_model

    kinds = [
        *((tiny_tokenizers, name) for name in ("only trained", "Unigram", "byte-level BPE", "WordLevel")),
        *((tiny_tokenizers, name) for name in ("BPE with Metaspace", "added words", "BERT in parts")),
        *((pretokenizers, name) for name in ("GPT-2", "Qwen", "Llama 3", "ModernBERT", "XLM-R, precompiled")),
        *(
            (pretokenizers, name)
            for name in ("potion, multilingual", "Unigram, added", "Llama 2", "Unigram, never")
        ),
        *((pretokenizers, name) for name in ("Llama 2, no bytes", "dropout")),
    ]
    rng = np.random.default_rng(5)

    def floats(*shape):
        return rng.normal(size=shape).astype(np.float32)

    curve = np.array([-1, 1], np.float32), np.array([0.1, 0.9], np.float32)
    two, own = Strings.of(["disk full", "user <*>"]), np.arange(2, dtype=np.int32)
    near = unit_vectors(floats(2, DIM)).astype(np.float16)
    cases = unit_vectors(floats(3, DIM)).astype(np.float16)
    heads = (
        Groups("event", two, two, own.astype(np.int64), two, two, two, own, two, own, DIM, near, 0.5),
        Classifier("fraud", ("ham", "spam"), floats(2, DIM), floats(2)),
        Classifier("iso", ("x", "y"), floats(2, DIM), floats(2), "isotonic", False, (curve, curve)),
        Cases(
            "known",
            Strings.of(["1", "2", "3"]),
            ("fan", "disk"),
            np.array([0, 1, 1], np.int32),
            cases,
            0.5,
            cells=Cells(cases[:2], np.array([0, 1, 3])),
        ),
        Novelty("odd", floats(4, DIM), floats(4), floats(3), 2.5),
        Prototypes("near", ("fan", "disk"), floats(2, DIM), 0.5),
    )
    for place, (module, name) in enumerate(kinds):
        tokenizer = (
            tiny_tokenizers._word_piece(letters=False) if name == "added words" else module.named(name)
        )
        if name == "added words":
            tokenizer.add_tokens(["card"])
        n_tokens = max(tokenizer.get_vocab().values()) + 1
        table, weights, mapping = floats(n_tokens, DIM), None, None
        if place % 4 == 1:
            table = table.astype(np.float16)
        elif place % 4 == 2:
            table, weights = rng.integers(-127, 128, (n_tokens, DIM), np.int8), rng.integers(0, 255, n_tokens)
            weights = weights.astype(np.float32)
        elif place % 4 == 3:
            weights, mapping = np.abs(floats(n_tokens)), rng.integers(0, n_tokens, n_tokens)
        config = {"normalize": place % 3 > 0, "max_length": None if place % 5 == 0 else 512}
        model = StaticModel(table, tokenizer.to_str(), config, weights, mapping, heads=heads[: place % 7])
        save_model(model, folder / f"{place:02d}")


class Mutator:
    """Changes a model folder by a few random steps."""

    def __init__(self, folder, number):
        self.folder = folder
        self.random = random.Random(number)

    def change(self):
        """Change it. What takes the place of a file comes last: a step after it would follow links out."""
        for _ in range(self.random.choice((1, 1, 1, 2, 3))):
            steps = (
                self.bytes,
                self.length,
                self.json,
                self.json,
                self.json,
                self.header,
                self.array,
                self.array,
            )
            step = self.random.choice((*steps, self.ids, self.part, self.tables, self.tables))
            try:
                step(self.random.choice(self._files()))
            except Exception:  # noqa: BLE001 - whatever an earlier step left
                continue
        if self.random.random() < 0.06:
            self.file(self.random.choice(self._files()))

    def _files(self):
        return [path for path in sorted(self.folder.rglob("*")) if path.is_file()]

    def bytes(self, path):
        data = bytearray(path.read_bytes())
        for _ in range(self.random.choice((1, 1, 4, 30))):
            top = len(data) - 1 if self.random.random() < 0.5 else min(len(data) - 1, 400)
            data[self.random.randint(0, top)] = self.random.randint(0, 255)
        path.write_bytes(data)

    def length(self, path):
        data = path.read_bytes()
        at = self.random.randint(0, len(data))
        more = self.random.choice((b"", b"", b"\0", b"x" * 1000, data))
        path.write_bytes(data[:at] + more)

    def json(self, _):
        """Replace, remove or repeat a value anywhere in a JSON file."""
        path = self.folder / self.random.choice(
            ("tokenizer.json", "tokenizer.json", "config.json", "modules.json")
        )
        value = json.loads(path.read_text())
        self._value(value)
        text = json.dumps(value).replace('"BOMB"', self.random.choice(("[" * 100_000, '{"a":' * 100_000)))
        path.write_text(text)

    def _value(self, value):
        r, seen = self.random, value
        while True:
            keys = list(seen) if isinstance(seen, dict) else list(range(len(seen)))
            key = r.choice(keys)
            if isinstance(seen[key], dict | list) and seen[key] and r.random() < 0.75:
                seen = seen[key]
                continue
            choice = r.random()
            if choice < 0.6:
                seen[key] = r.choice(VALUES)
            elif choice < 0.75:
                del seen[key]
            elif choice < 0.8:
                seen[key] = "BOMB"
            elif isinstance(seen, list):
                seen.insert(key, seen[r.choice(keys)])
            else:
                seen[r.choice(("a", "type", "content", "x" * 2000, "ab"))] = seen[key]
            return

    def ids(self, _):
        """Give tokens other ids, and add tokens."""
        path = self.folder / "tokenizer.json"
        spec, r = json.loads(path.read_text()), self.random
        top = r.choice((3, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 40, -1))
        vocabulary = spec["model"]["vocab"]
        if isinstance(vocabulary, dict) and r.random() < 0.6:
            vocabulary[r.choice([*vocabulary, "new"])] = r.choice((top, len(vocabulary), 0))
        elif r.random() < 0.3:
            vocabulary += [["new", r.choice((-1.0, 1e300, -1e300))]] if isinstance(vocabulary, list) else []
        flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "special"), r.random() < 0.2)
        for content in r.sample(("card", "a", "", "<x>", "x" * 900, "é", " ", "[MASK]"), r.randint(1, 4)):
            spec["added_tokens"].append(
                {"id": top, "content": content, "normalized": r.random() < 0.5, **flags}
            )
        if r.random() < 0.1:
            spec["added_tokens"] += [
                {"id": k, "content": f"a{'a' * (k % 900)}{k}", "normalized": False, **flags}
                for k in range(3000)
            ]
        path.write_text(json.dumps(spec))

    def part(self, _):
        """Put a strange part into the rules."""
        path = self.folder / "tokenizer.json"
        spec, r = json.loads(path.read_text()), self.random
        key, inner = r.choice((("normalizer", "normalizers"), ("pre_tokenizer", "pretokenizers")))
        parts = [r.choice(PARTS)] * r.choice((1, 1, 2, 40))
        parts.insert(r.randint(0, len(parts)), spec[key])
        spec[key] = {"type": "Sequence", inner: [part for part in parts if part]}
        path.write_text(json.dumps(spec))

    def header(self, _):
        """Forge the header of a safetensors file."""
        path, r = self.random.choice(sorted(self.folder.rglob("*.safetensors"))), self.random
        data = path.read_bytes()
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + size])
        name = r.choice([name for name in header if name != "__metadata__"])
        kind = r.randrange(4)
        if kind == 0:
            header[name]["data_offsets"][r.randrange(2)] = r.choice((0, -1, 1 << 40, len(data), 8, 1 << 64))
        elif kind == 1:
            header[name]["shape"] = r.choice(([], [0], [-1, -1], [1 << 32, 1 << 32], [0, 1 << 62], [1] * 70))
        elif kind == 2:
            header[name]["dtype"] = r.choice(("F64", "BF16", "I8", "BOOL", "U64", "I64", "F16", "F8_E4M3"))
        else:
            self._value(header)
        text = json.dumps(header).encode()
        length = r.choice((len(text), len(text), len(text) + 1, 0, (1 << 64) - 1, 1 << 40))
        path.write_bytes(length.to_bytes(8, "little") + text + data[8 + size :])

    def array(self, _):
        """Change numbers, type or length of an array of the model or of a head."""
        from safetensors.numpy import load, save

        paths = [path for path in sorted(self.folder.rglob("*.safetensors")) if "tables" not in path.name]
        path, r = self.random.choice(paths), self.random
        data = path.read_bytes()
        size = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + size]).get("__metadata__")
        arrays = load(data)
        name = r.choice([*arrays, "weights", "mapping"]) if "model" in path.name else r.choice([*arrays])
        if name not in arrays:
            n = len(arrays["embeddings"])
            arrays[name] = np.ones(n, np.float32) if name == "weights" else np.arange(n, dtype=np.int64)
        self._array(arrays, name)
        path.write_bytes(save({k: np.ascontiguousarray(v) for k, v in arrays.items()}, metadata))

    def _array(self, arrays, name):
        r, array = self.random, arrays[name].copy()
        kind = r.randrange(6)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if kind == 0:
                array = array[: r.choice((0, 1, len(array) // 2, len(array) - 1))]
            elif kind == 1:
                array = np.resize(array, r.choice(((1,), (len(array) + 5000, *array.shape[1:]), (3, 3), ())))
            elif kind == 2:
                array = array.astype(r.choice("fdebhiqQHB?"))
            elif array.size:
                flat, n = array.reshape(-1), r.choice((1, 1, 5, array.size))
                values = [0, -1, 1, 1e-40, -1e-45, 3e38, -65504, 7e4, 1e300, np.nan, np.inf, -np.inf]
                values = [*values, 1 << 62, -(1 << 63), *(flat.size + k for k in (-1, 0, 1))]
                value = np.array(r.choice(values)).astype(array.dtype)
                flat[[r.randrange(flat.size) for _ in range(n)]] = value
        arrays[name] = array

    def tables(self, _):
        """Forge the compiled tokenizer, its checksums included, so that only its contents can betray it."""
        from safetensors.numpy import load, save

        from encoder.tokenizer import tables

        path, r = self.folder / tables.TABLES_FILE, self.random
        data = path.read_bytes()
        size = int.from_bytes(data[:8], "little")
        facts = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["millstream"])
        arrays = load(data)
        del facts["sha256"]
        facts["tokenizer"] = hashlib.sha256((self.folder / "tokenizer.json").read_bytes()).hexdigest()
        choice = r.random()
        if choice < 0.3:
            facts[r.choice(("n_tokens", "median_token_length"))] = r.choice(NUMBERS)
        elif choice < 0.4:
            self._value(facts)
        elif choice < 0.5:
            arrays.clear()
            facts["lengths"] = {}
        elif choice < 0.95 and arrays:
            self._array(arrays, r.choice([*arrays]))
        arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        facts["sha256"] = tables._digest(arrays, facts)
        path.write_bytes(save(arrays, {"millstream": json.dumps(facts, sort_keys=True)}))

    def file(self, path):
        """Put something else in the place of a file."""
        kind = self.random.randrange(7)
        data = self.random.choice(self._files()).read_bytes()
        path.unlink()
        if kind == 0:
            os.mkfifo(path)
        elif kind == 1:
            path.mkdir()
        elif kind == 2:
            path.symlink_to(
                self.random.choice(("/dev/zero", "/etc/passwd", "/proc/self/mem", "nowhere", path))
            )
        elif kind == 3:
            path.write_bytes(data)
        elif kind == 4:
            with socket.socket(socket.AF_UNIX) as listening:
                listening.bind(str(path))
        elif kind == 5:
            with path.open("wb") as file:
                file.write(data)
                file.truncate(self.random.choice((1 << 20, 1 << 36)))


def try_one(folder):
    """Load a folder and encode `TEXTS`.

    Returns:
        "vectors", or the name of Millstream's error and its message.

    Raises:
        AssertionError: a vector, a score or an id is not what it must be.
    """
    from encoder.encoder import Encoder
    from encoder.errors import MillstreamError

    try:
        encoder = Encoder.load(folder, threads=1)
    except MillstreamError as error:
        message = str(error)
        assert str(folder) in message, f"the error does not name its file: {message}"
        assert "\n" not in message[:2000] == message, f"not one line: {message[:3000]}"
        return f"{type(error).__name__}: {message.replace(str(folder), '')[:160]}"
    found = "vectors"
    for texts in ([text for text in TEXTS if len(text) < 600], TEXTS):
        try:
            ids = encoder.tokenise(texts).ids
            assert ids.size == 0 or 0 <= ids.min() <= ids.max() < len(encoder._table), "an id has no row"
            vectors = encoder.encode(texts)
            for dtype in ("float16", "int8", "binary"):
                assert np.isfinite(encoder.encode(texts, dtype=dtype)).all(), f"{dtype} is not finite"
            assert np.isfinite(vectors).all(), "vectors are not finite"
            for outcome in encoder.heads(vectors, texts):
                assert all(np.isfinite(part).all() for part in outcome), "scores are not finite"
        except MillstreamError as error:
            found = f"{type(error).__name__}: {str(error)[:160]}"
    return found


def main(bases, first, last):
    from encoder.warm import warm_kernels

    folders = sorted(Path(bases).iterdir())
    warm_kernels()
    for folder in folders:
        try_one(folder)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    lines = Path("/proc/self/status").read_text().splitlines()
    used = next(int(line.split()[1]) for line in lines if line.startswith("VmData")) << 10
    resource.setrlimit(resource.RLIMIT_DATA, (used + BYTES, used + BYTES))
    for number in range(first, last):
        with tempfile.TemporaryDirectory() as scratch:
            folder = shutil.copytree(folders[number % len(folders)], Path(scratch) / "model")
            print(json.dumps({"begin": number}), flush=True)
            mutator = Mutator(folder, number)
            mutator.change()
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            begin = sum(os.times()[:2])
            try:
                found = try_one(folder)
            except BaseException as error:  # noqa: BLE001 - what it is, is the finding
                found = f"ESCAPED {type(error).__name__}: {error!s:.300}"
            signal.setitimer(signal.ITIMER_PROF, 0)
            seconds = round(sum(os.times()[:2]) - begin, 2)
            print(json.dumps({"end": number, "found": found, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
