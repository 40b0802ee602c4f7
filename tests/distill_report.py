"""Reports of a small model, for the tests of reports."""

from dataclasses import replace

import numpy as np
from tiny_tokenizers import named

from distill.evaluation import Records
from distill.evaluation.bootstrap import Estimate
from distill.evaluation.evaluate import Evaluation
from distill.evaluation.figures import figure
from distill.report import render_report, render_word_report
from distill.report.head_sections import page_with_heads
from encoder.encoder import Encoder
from encoder.heads.cases import Strings
from encoder.heads.groups import Groups
from encoder.masks import Masks
from encoder.model import StaticModel

WORDS = {
    "payment": "card refused payment terminal wrong pin",
    "disk": "disk full server log restarted failed",
}
HOSTILE = (
    "</script><script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">'\"&"
)


def small_model(random):
    """12 dimensions for each token of a small vocabulary."""
    tokenizer = named("uncased")
    table = random.standard_normal((tokenizer.get_vocab_size(), 12)).astype(np.float32)
    return StaticModel(table, tokenizer.to_str(), {"normalize": True})


def make_word_report():
    """The page of a model that nothing was measured on."""
    model = small_model(np.random.default_rng(0))
    metadata, parameters = {"teacher": "all-MiniLM-L6-v2"}, {"dims": 12}
    return render_word_report(model, "events@7", metadata=metadata, parameters=parameters)


def two_groups(vectors, kinds):
    """A head with a group for each kind, which all but a few of its records are in."""
    names = list(WORDS)
    centres = np.stack([vectors[np.array(kinds) == name].mean(axis=0) for name in names])
    centres = (centres / np.linalg.norm(centres, axis=1, keepdims=True)).astype(np.float16)
    near = np.sort((vectors @ centres.T.astype(np.float32)).max(axis=1))
    texts, none = Strings.of([f"about {name} <*>" for name in names]), Strings.of(["", ""])
    own, sizes = np.arange(2, dtype=np.int32), np.array([60, 60])
    ids, threshold = Strings.of([f"id-{name}" for name in names]), float(near[10])
    return Groups(
        "event", ids, Strings.of(names), sizes, none, none, texts, own, texts, own, 12, centres, threshold
    )


def make_report(shown, *, hostile=False, labels=True, masks=None, grouped=False):
    """The page of a model and its reference on 120 records of two kinds."""
    random = np.random.default_rng(0)
    model = small_model(random).with_masks(Masks.parse(masks))
    kinds = list(WORDS) * 60
    texts = [f"{' '.join(random.choice(WORDS[kind].split(), 5))} {i}" for i, kind in enumerate(kinds)]
    if hostile:
        texts = [f"{text} {HOSTILE}" for text in texts]
        kinds = [f"{kind} {HOSTILE}" for kind in kinds]
    name = HOSTILE if hostile else "events@7"
    records = Records("records", texts, kinds if labels else None)
    vectors = Encoder(model).encode(texts)
    if grouped:
        model = replace(model, heads=(two_groups(vectors, kinds),))
    figures = (
        figure("overlap@10", "records", Estimate(0.6, 0.55, 0.65, 120)),
        figure("sts", name, Estimate(0.8, 0.7, 0.9, 50)),
        figure("knn", "records", Estimate(float("nan"), float("nan"), float("nan"), 2)),
    )
    own = Evaluation(name, "static", 12, 9_000_000, 1e6, "teacher", figures, vectors)
    noisy = vectors @ random.standard_normal((12, 20)).astype(np.float32)
    teacher = Evaluation("teacher", "teacher", 20, None, 400.0, None, figures[1:], noisy)
    before = Evaluation("events@6", "static", 12, 9_000_000, 1e6, "teacher", figures[:1])
    metadata = {"teacher": HOSTILE if hostile else "all-MiniLM-L6-v2"}
    parameters = {"text": HOSTILE if hostile else "{merchant}", "dims": 12}
    page = render_report(
        model,
        [own, teacher, before],
        texts=texts,
        records=records,
        shown=shown,
        metadata=metadata,
        parameters=parameters,
    )
    return page_with_heads(page, model.heads)
