"""millstream.js gives the ids of `tokenizers`, and the vectors and scores of the encoder in Python."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tiny_tokenizers
from amounts import amount
from javascript import BROWSER, DENO, MODULE, TEXTS, check, in_node, model, needs_node, saved
from unicode_texts import LONG_PARTS, many

from encoder import Encoder
from encoder.arrays.mmap_arrays import write_tensors
from encoder.heads.cases import Cases, Strings
from encoder.heads.scoring import Classifier, Novelty, Prototypes
from encoder.model import StaticModel, save_model
from encoder.store.store import ModelStore

BERT = [*tiny_tokenizers.KERNEL, "not cleaned", "prefix of letters", "no prefix", "unknown is a word"]
BERT += ["words of 1000", "unknown is punctuation", "added and normalised", "added words", "added symbols"]
OTHERS = ["BERT in parts", "Unigram", "byte-level BPE", "BPE with Metaspace", "WordLevel"]

pytestmark = needs_node


@pytest.mark.slow
@pytest.mark.parametrize("name", BERT)
def test_unicode_texts_give_the_ids_of_tokenizers(name, tmp_path):
    random, count = np.random.default_rng(len(name)), amount(200, 200_000)
    texts = [*TEXTS, *many(count, random), *many(count, random, anywhere=True)]
    texts += [f"a {part * n} b" for part in LONG_PARTS for n in (6, 7, 8, 99, 100, 101, 127, 128, 999, 1001)]
    static = model(name, max_length=None)
    [found] = in_node(tmp_path, {"source": saved(tmp_path / "model", static), "texts": texts})
    check(found, static, texts)


@pytest.mark.slow
def test_texts_from_all_of_unicode_give_the_ids_of_tokenizers(tmp_path):
    random, count = np.random.default_rng(0), amount(5_000, 200_000)
    texts = [*many(count, random), *many(count, random, anywhere=True)]
    static = model()
    [found] = in_node(tmp_path, {"source": saved(tmp_path / "model", static), "texts": texts})
    check(found, static, texts)


@pytest.mark.slow
def test_every_character_gives_the_ids_of_tokenizers(tmp_path):
    codes = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000][:: amount(97, 1)]
    texts = [f"a{chr(code)}b {chr(code)}\u0301\u0316 {chr(code)}" for code in codes]
    static = model("uncased, accents kept")
    [found] = in_node(tmp_path, {"source": saved(tmp_path / "model", static), "texts": texts})
    check(found, static, texts)


@pytest.mark.parametrize("max_length", [0, 1, 2, 7, None])
def test_texts_are_cut_by_characters_then_by_tokens(max_length, tmp_path):
    texts = ["card " * n + "☃ 中é[MASK] " * n + "\U0001d538" * n for n in range(30)]
    static = model("uncased", max_length=max_length)
    [found] = in_node(tmp_path, {"source": saved(tmp_path / "model", static), "texts": texts})
    check(found, static, texts)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int8"])
@pytest.mark.parametrize("normalize", [True, False])
def test_every_type_of_table_gives_the_vectors_of_python(dtype, normalize, tmp_path):
    plain = model(dtype=dtype, normalize=normalize)
    n_tokens, random = len(plain.table), np.random.default_rng(1)
    weights = random.integers(1, 256, n_tokens).astype(np.float32)
    shared = StaticModel(
        plain.table[:100],
        plain.tokenizer_json,
        plain.config,
        weights=random.random(n_tokens).astype(np.float16),
        mapping=random.integers(0, 100, n_tokens),
    )
    weighted = StaticModel(plain.table, plain.tokenizer_json, plain.config, weights=weights)
    models = [plain, weighted, shared]
    jobs = [{"source": saved(tmp_path / str(k), static), "texts": TEXTS} for k, static in enumerate(models)]
    for found, static in zip(in_node(tmp_path, *jobs), models, strict=True):
        check(found, static, TEXTS)


def heads(dim):
    random = np.random.default_rng(3)

    def rows(n):
        return random.standard_normal((n, dim)).astype(np.float32)

    curve = (np.array([-1, 0, 0, 2], np.float32), np.array([0.1, 0.3, 0.6, 0.9], np.float32))
    bias, labels = random.standard_normal(3).astype(np.float32), ("fraud", "ham", "spam")
    far = (
        random.standard_normal(5).astype(np.float32) + 9
    )  # squared distances of a fitted head are as far from 0
    return (
        Classifier("isotonic", labels, rows(3), bias, "isotonic", curves=(curve,) * 3),
        Classifier("kind", labels, rows(3), bias),
        Classifier("sigmoid", labels, rows(3), bias, "sigmoid"),
        Classifier("tags", labels, rows(3), bias, "sigmoid", multi_label=True),
        Novelty("novel", rows(5), far, np.ones(4, np.float32), 17.0),
        Prototypes("near", ("a", "b"), rows(2) / 4, 0.5),
    )


@pytest.mark.parametrize("normalize", [True, False])
def test_heads_give_the_scores_of_python(normalize, tmp_path):
    plain = model(normalize=normalize)
    table = plain.table / 40  # vectors that are not normalised would magnify their rounding in scores
    static = StaticModel(table, plain.tokenizer_json, plain.config, heads=heads(plain.dim))
    source, names = saved(tmp_path / "model", static), [head.name for head in static.heads]
    [found] = in_node(tmp_path, {"source": source, "options": {"heads": names}, "texts": TEXTS})
    encoder = Encoder.load(tmp_path / "model")
    outcomes = dict(zip(encoder.heads.names, encoder.heads(encoder.encode(TEXTS)), strict=True))
    scores = found["scores"]
    for name in ("isotonic", "kind", "sigmoid"):
        expected, labels = outcomes[name], ("fraud", "ham", "spam")
        assert [one["label"] for one in scores[name]] == [labels[k] for k in expected.label]
        np.testing.assert_allclose([one["score"] for one in scores[name]], expected.score, rtol=1e-5)
    tags = [[one[label] for one in scores["tags"]] for label in ("fraud", "ham", "spam")]
    np.testing.assert_allclose(tags, outcomes["tags"].scores, rtol=1e-5)
    near = outcomes["near"]
    assert [one["nearest"] for one in scores["near"]] == [
        (("a", "b")[k] if k >= 0 else None) for k in near.nearest
    ]
    np.testing.assert_allclose([one["similarity"] for one in scores["near"]], near.similarity, atol=1e-6)
    assert [one["novel"] for one in scores["novel"]] == outcomes["novel"].novel.tolist()
    distances = [one["distance"] for one in scores["novel"]]
    np.testing.assert_allclose(distances, outcomes["novel"].distance, rtol=1e-5)


def test_tokens_are_explained_by_the_lengths_of_their_vectors(tmp_path):
    static = model()
    [found] = in_node(tmp_path, {"source": saved(tmp_path / "model", static), "texts": ["card declined"]})
    ids, _, vectors = Encoder(static).encode_tokens(["card declined"])
    tokens = [tiny_tokenizers.named("uncased").id_to_token(int(i)) for i in ids]
    [explained] = found["explained"]
    assert [one["token"] for one in explained] == tokens
    lengths = np.linalg.norm(vectors, axis=1)
    np.testing.assert_allclose([one["weight"] for one in explained], lengths, rtol=1e-5)


@pytest.mark.parametrize("name", OTHERS)
def test_other_tokenizers_are_refused_by_name(name, tmp_path):
    [found] = in_node(tmp_path, {"source": saved(tmp_path / "model", model(name))})
    assert re.fullmatch("ModelError: the tokenizer is .*: only BERT's WordPiece works here", found["error"])
    assert json.loads(model(name).tokenizer_json)["model"]["type"] in found["error"]


@pytest.mark.slow
def test_a_model_is_read_by_range_over_http(site, tmp_path):
    address, parts = site
    static = model(dim=64)
    save_model(static, tmp_path / "model")
    size = (tmp_path / "model" / "model.safetensors").stat().st_size
    for source in (f"{address}/model/", f"{address}/model"):
        [found] = in_node(tmp_path, {"source": source, "texts": TEXTS})
        check(found, static, TEXTS)
    assert parts[0] == "model.safetensors 0-4096"
    assert parts[1].endswith(f"-{size}")


@pytest.mark.slow
def test_a_version_in_a_store_is_checked_against_its_manifest(site, tmp_path):
    address, _ = site
    plain = model()
    static = StaticModel(plain.table, plain.tokenizer_json, plain.config, heads=heads(plain.dim))
    save_model(static, tmp_path / "model")
    manifest = ModelStore.open(str(tmp_path / "store" / "minilm")).publish(tmp_path / "model")
    source = f"{address}/store/minilm/v/00000001.json"
    [found] = in_node(tmp_path, {"source": source, "texts": TEXTS})
    check(found, static, TEXTS)
    assert sorted(found["scores"]) == sorted(head.name for head in static.heads)
    table = next(file for file in manifest.files if file.path == "model.safetensors")
    blob = tmp_path / "store" / "minilm" / "blobs" / table.sha256
    blob.write_bytes(blob.read_bytes()[:-1] + b"!")
    [refused] = in_node(tmp_path, {"source": source})
    assert refused["error"] == "ModelError: model.safetensors does not have its sha256"


@pytest.mark.slow
def test_heads_that_only_python_scores_are_left_out_and_refused_by_name(site, tmp_path):
    address, _ = site
    plain, one = model(), np.zeros(1, np.int32)
    vectors = np.eye(1, plain.dim, dtype=np.float16)
    known = Cases("known", Strings.of(["1"]), ("fraud",), one, vectors, 0.5)
    static = StaticModel(plain.table, plain.tokenizer_json, plain.config, heads=(*heads(plain.dim), known))
    save_model(static, tmp_path / "model")
    ModelStore.open(str(tmp_path / "store" / "minilm")).publish(tmp_path / "model")
    source = f"{address}/store/minilm/v/00000001.json"
    named = {"source": source, "options": {"heads": ["kind", "known"]}}
    found, refused = in_node(tmp_path, {"source": source, "texts": TEXTS}, named)
    assert sorted(found["scores"]) == sorted(head.name for head in heads(plain.dim))
    error = "heads/known.safetensors has a kind that does not work here: cases"
    assert refused["error"] == f"ModelError: {error}"


@pytest.mark.slow
def test_a_folder_is_checked_against_a_manifest_that_is_given(site, tmp_path):
    address, _ = site
    save_model(model(), tmp_path / "model")
    ModelStore.open(str(tmp_path / "store" / "minilm")).publish(tmp_path / "model")
    options = {"manifest": f"{address}/store/minilm/v/00000001.json"}
    job = {"source": f"{address}/model/", "options": options, "texts": TEXTS}
    [found] = in_node(tmp_path, job)
    check(found, model(), TEXTS)
    config = tmp_path / "model" / "config.json"
    config.write_text(config.read_text("utf-8") + " ", "utf-8")
    [refused] = in_node(tmp_path, job)
    assert refused["error"] == "ModelError: config.json does not have its sha256"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), "cannot fetch .*/config.json: 404"),
        (lambda folder: (folder / "config.json").write_text("{", "utf-8"), "config.json is not JSON"),
        (lambda folder: _mask(folder / "config.json"), "the model has masks, which do not work here"),
        (lambda folder: _cut(folder / "model.safetensors"), "embeddings of model.safetensors is damaged"),
    ],
)
def test_what_is_wrong_with_a_model_is_said(damage, message, site, tmp_path):
    address, _ = site
    damage(save_model(model(), tmp_path / "model"))
    [found] = in_node(tmp_path, {"source": f"{address}/model/"})
    assert re.match(f"ModelError: {message}", found["error"])


def _mask(path):
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "masks": ["ip"]}), "utf-8")


def _cut(path):
    path.write_bytes(path.read_bytes()[:-9])


def test_a_table_that_is_too_small_is_refused(tmp_path):
    whole = model()
    save_model(whole, tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    path.unlink()
    write_tensors(path, {"embeddings": whole.table[:9]}, "embeddings")
    [found] = in_node(tmp_path, {"source": f"{(tmp_path / 'model').as_uri()}/"})
    assert "the table or its weights have fewer" in found["error"]


def test_the_module_is_small():
    assert len(MODULE.read_bytes()) < 25_000


def test_the_webassembly_of_the_module_is_that_of_its_source():
    printed = subprocess.run(
        [sys.executable, BROWSER / "assemble.py"], check=True, capture_output=True, text=True
    ).stdout
    assert printed in MODULE.read_text("utf-8")


@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("dim", [1, 7, 8, 300])
def test_webassembly_and_javascript_give_the_vectors_of_python(dtype, dim, tmp_path):
    static = model(dtype=dtype, dim=dim, max_length=None)
    source, texts = saved(tmp_path / "model", static), [*TEXTS, "card declined at gate " * 3000]
    jobs = [{"source": source, "texts": texts, "webAssembly": allowed} for allowed in (True, False)]
    both = in_node(tmp_path, *jobs)
    assert [found["webAssembly"] for found in both] == [True, False]
    for found in both:
        check(found, static, texts)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_deno_gives_the_ids_and_vectors_of_python(dtype, tmp_path):
    static = model(dtype=dtype)
    texts = [*TEXTS, *many(amount(200, 20_000), np.random.default_rng(2), anywhere=True)]
    [found] = in_node(tmp_path, {"source": saved(tmp_path / "model", static), "texts": texts}, program=DENO)
    check(found, static, texts)


@pytest.mark.slow  # asks about each character of Unicode
def test_the_tables_of_the_module_are_those_of_tokenizers():
    printed = subprocess.run(
        [sys.executable, BROWSER / "unicode_tables.py"], check=True, capture_output=True, text=True
    ).stdout
    assert printed.strip() in MODULE.read_text("utf-8")


@pytest.mark.slow
def test_the_package_installs_and_encodes(tmp_path):
    """`npm pack` makes a package that installs into an empty folder, without a network."""
    if not shutil.which("npm"):
        pytest.skip("needs npm (Debian: npm)")
    url = saved(tmp_path / "model", model())
    subprocess.run(["npm", "pack", "--silent", "--pack-destination", tmp_path, BROWSER], check=True)
    [package] = tmp_path.glob("*.tgz")
    empty = tmp_path / "empty"
    empty.mkdir()
    install = ["npm", "install", "--silent", "--offline", "--no-audit", "--no-fund", package]
    subprocess.run(install, cwd=empty, check=True)
    names = {path.name for path in (empty / "node_modules" / "millstream").iterdir()}
    assert names == {"millstream.js", "millstream.d.ts", "package.json"}
    code = f"""import {{ Encoder }} from "millstream";
    const encoder = await Encoder.load("{url}");
    console.log(encoder.encode("card").length);"""
    shown = subprocess.run(
        ["node", "--input-type=module", "-e", code], cwd=empty, check=True, capture_output=True, text=True
    )
    assert shown.stdout == "8\n"
