"""Masks: what each one matches, and what holds for all texts."""

import ipaddress
import json
import re
import uuid
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tiny_tokenizers import named

from encoder import Encoder
from encoder.errors import ConfigurationError, CorruptVersion, InputError, ModelFormatError
from encoder.heads.scoring import Prototypes
from encoder.masks import KINDS, Masks
from encoder.model import StaticModel, load_model, save_model
from encoder.store.store import ModelStore

ALL = Masks.parse(",".join(KINDS))
# Parts of what masks match, and what stands between them.
PARTS = [
    *("1", "12", "255", "2005", "4111 1111 1111 1111", "4111111111111111", "DE89 3704 0044 0532 0130 00"),
    *(
        "a",
        "deadbeef",
        "0x5",
        "a1b2c3d4",
        "Jun",
        "Wed",
        "T",
        "Z",
        "am",
        "ms",
        "www.",
        "http",
        "C:\\",
        "é",
        "中",
    ),
    *("10:30", "10:30:20", "2005-06-03", "12.11.2020", "1.2.3.4", "::1", "fe80::1", "00:1a:2b:3c:4d:5e"),
    *("123e4567-e89b-12d3-a456-426614174000", "bob@x.org", "/var/log", "~/x", "<number>", "<ip>", "://"),
    *(" ", "  ", ":", "::", "-", "+", ".", ",", "/", "\\", "@", "_", "%", "(", "]", "[", "<", ">", "'", "\n"),
]
TEXTS = st.lists(st.sampled_from(PARTS), max_size=12).map("".join) | st.text(max_size=30)
KIND_SETS = st.sets(st.sampled_from(KINDS), min_size=1).map(lambda some: Masks.parse(",".join(sorted(some))))


def masked(text, kinds=None):
    return (ALL if kinds is None else Masks.parse(kinds)).text(text)


@pytest.mark.parametrize(
    ("kind", "matches", "others"),
    [
        (
            "ip",
            [
                "10.0.0.7",
                "10.0.0.7:443",
                "10.0.0.0/8",
                "::1",
                "fe80::1%eth0",
                "2001:db8::/32",
                "[::1]:80",
                "1:2:3:4:5:6:7:8",
                "::ffff:10.0.0.1",
                "64:ff9b::1.2.3.4",
            ],
            ["256.1.1.1", "1.2.3", "1.2.3.4.5", "v1.2.3.4", "std::vector", "dead::beef", "10:30", "::"],
        ),
        (
            "number",
            [
                "5",
                "-5",
                "+3.5",
                "1,234,567.89",
                "1e-9",
                "2E5",
                "50%",
                "5ms",
                "10KB",
                "3.5GHz",
                "5µs",
                "1.2.3",
            ],
            ["4th", "x86", "3com", "R30", "5mm2"],
        ),
        (
            "hex",
            ["0x5", "0xdeadBEEF", "a1b2c3d4", "00:1a:2b:3c:4d:5e", "00-1A-2B-3C-4D-5E"],
            ["deadbeef", "12345678", "a1b2c3d", "0xg", "a1b2c3d4g", "00:1a:2b:3c:4d"],
        ),
        (
            "uuid",
            ["123e4567-e89b-12d3-a456-426614174000", "ABCDEFAB-CDEF-ABCD-EFAB-CDEFABCDEFAB"],
            [
                "123e4567-e89b-12d3-a456-42661417400",
                "123e4567e89b12d3a456426614174000",
                "x" + str(uuid.UUID(int=5)),
            ],
        ),
        (
            "path",
            [
                "/var/log/messages",
                "/tmp",
                "/a/b",
                "~/x",
                "./a.out",
                "../b",
                "C:\\Program Files\\x\\y.exe",
                "c:/x/y",
                "\\\\host\\share",
            ],
            ["and/or", "/h", "1/2", "</div>", "//", "/", "C:", "a:b"],
        ),
        (
            "email",
            ["bob@example.org", "a.b+c@d.co.uk", "o'neil@x.org", "müller@bücher.de", "x@y.z1"],
            ["root@localhost", "@x.org", "a@b", "a@1.2.3.4", "a@b."],
        ),
        (
            "url",
            ["https://a.b/c?d=1&e=2", "hdfs://n:90/x", "www.foo.co.uk/abc", "jdbc+x://y"],
            ["http://", "://x", "www.", "http:/x", "wwww.x"],
        ),
        (
            "card",
            [
                "4111111111111111",
                "4111 1111 1111 1111",
                "4111-1111-1111-1111",
                "3782 822463 10005",
                "6011000990139424",
            ],
            [
                "4111111111111112",
                "411111111111",
                "0.4111111111111111",
                "41111111111111111111",
                "4111 1111-1111 1111",
            ],
        ),
        (
            "iban",
            [
                "DE89370400440532013000",
                "DE89 3704 0044 0532 0130 00",
                "GB82WEST12345698765432",
                "NO9386011117947",
                "gb82west12345698765432",
                "NO93 8601 1117 947",
            ],
            ["DE89370400440532013001", "DE8937040044", "xDE89370400440532013000", "DE89370400440532013000x"],
        ),
        (
            "time",
            [
                "2005-06-03",
                "2005-06-03T15:42:50.675872Z",
                "2005/06/03 15:42:50,123",
                "15:42",
                "7:30 pm",
                "15:42:50+02:00",
                "Jun 15 04:06:18",
                "Jun  5 04:06:18",
                "Wed Jun 15 14:53:30 2005",
                "Wed, 15 Jun 2005 14:53:30 +0200",
                "10/Oct/2000:13:55:36 -0700",
                "12.11.2020",
                "1/31/2020",
            ],
            ["2005-13-03", "25:00", "10:60", "Jun 15", "May 5", "00:1a", "10:20:30:40", "1:2", "12-11-20"],
        ),
    ],
)
def test_a_mask_matches_whole_what_it_is_for_and_nothing_else(kind, matches, others):
    for text in matches:
        assert masked(text, kind) == f"<{kind}>"
        assert masked(f"see {text} ok, ({text})", kind) == f"see <{kind}> ok, (<{kind}>)"
    for text in others:
        assert masked(text, kind) == text
        assert masked(f"see {text} ok", kind) == f"see {text} ok"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://10.0.0.1/a/b?c=4111111111111111", "<url>"),
        ("12:30:45 10.0.0.1 took 5ms", "<time> <ip> took <number>"),
        ("/data/2005-06-03/x.log:17", "<path>:<number>"),
        ("123e4567-e89b-12d3-a456-426614174000", "<uuid>"),
        ("1-2", "<number>-<number>"),
        ("blk_-1608999687919862906", "blk_<number>"),
        ("卡号4111111111111111。", "卡号<card>。"),
        ("card4111111111111111x", "card<card>x"),
        ("12 4111 1111 1111 1111", "<number> <card>"),
        ("-2005-06-03", "-<time>"),
    ],
)
def test_the_leftmost_match_wins_and_at_one_place_the_first_kind(text, expected):
    assert masked(text) == expected


@pytest.mark.parametrize(
    ("text", "masks"),
    [
        ("_5://x", ALL),
        ("a@b.c5.1", ALL),
        ("a1b2c3d4.1.2.3.4", Masks.parse("hex,ip")),
        ("10:30:0x5", Masks.parse("hex,time")),
        ("1.2.3.4.10:30", Masks.parse("ip,time")),
        ("1111fe80::1", Masks.parse("ip,hex")),
    ],
)
def test_what_stands_behind_a_match_is_matched_as_behind_its_token(text, masks):
    once = masks.text(text)
    assert masks.text(once) == once


@given(st.lists(TEXTS, max_size=3), KIND_SETS)
@example(["10.0.0.11111fe80", "4111::4111111111111111T"], ALL)
def test_thoroughly_masked_texts_have_nothing_that_matches(texts, masks):
    masked = masks.thoroughly(texts)
    assert masks(masked).equals(masked)


@given(TEXTS, KIND_SETS)
def test_what_is_not_matched_stays_byte_for_byte(text, masks):
    parts = re.split("|".join(f"<{kind}>" for kind in masks.kinds), masks.text(text.replace("<", "(")))
    assert re.fullmatch(".*".join(map(re.escape, parts)), text.replace("<", "("), re.DOTALL)


@given(st.lists(st.binary(max_size=40)), KIND_SETS)
def test_bytes_that_are_no_text_neither_fail_nor_change(values, masks):
    offsets = np.cumsum([0, *map(len, values)]).astype(np.int32)
    data = b"".join(values)
    texts = pa.Array.from_buffers(pa.string(), len(values), [None, pa.py_buffer(offsets), pa.py_buffer(data)])
    found = masks(texts).cast(pa.large_binary()).to_pylist()
    assert len(found) == len(values)
    for value, one in zip(values, found, strict=True):
        if not re.search(rb"[0-9@:/\\w]", value, re.IGNORECASE):
            assert one == value


@given(st.lists(TEXTS | st.none()), KIND_SETS)
def test_a_text_is_masked_the_same_in_any_array(texts, masks):
    expected = [None if text is None else masks.text(text) for text in texts]
    array = pa.array(texts, pa.string())
    assert masks(array).to_pylist() == expected
    assert masks(texts).to_pylist() == expected
    assert masks(array[1:]).to_pylist() == expected[1:]
    chunked = masks(pa.chunked_array([array, array[:1]]))
    assert chunked.num_chunks == 2
    assert chunked.to_pylist() == expected + expected[:1]
    if texts:
        assert masks(array.dictionary_encode()).to_pylist() == expected


@given(st.ip_addresses())
def test_every_ip_address_with_a_digit_is_one(address):
    text = str(address)
    assert masked(text, "ip") == ("<ip>" if re.search("[0-9]", text) else text)
    assert ipaddress.ip_address(text)


@given(st.from_regex(r"[2-9][0-9]{11,19}", fullmatch=True))
def test_cards_are_those_of_luhn(digits):
    values = [int(d) for d in reversed(digits)]
    doubled = sum(sum(divmod(2 * d, 10)) if k % 2 else d for k, d in enumerate(values))
    is_card = 13 <= len(digits) <= 19 and doubled % 10 == 0
    assert masked(digits, "card") == ("<card>" if is_card else digits)


@given(st.from_regex(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{9,32}", fullmatch=True), st.booleans())
def test_ibans_are_those_of_their_checksum(text, right):
    if right:
        rest = int("".join(str(int(char, 36)) for char in text[4:] + text[:2] + "00"))
        text = f"{text[:2]}{98 - rest % 97:02}{text[4:]}"
    number = int("".join(str(int(char, 36)) for char in text[4:] + text[:4]))
    is_iban = 15 <= len(text) <= 34 and number % 97 == 1
    assert masked(text, "iban") == ("<iban>" if is_iban else text)
    grouped = " ".join(re.findall(".{1,4}", text))
    if is_iban:
        assert masked(grouped, "iban") == "<iban>"


def test_own_masks_come_first_in_their_order():
    masks = Masks.parse(["number", "order=ORD-[0-9]+", "ref=[A-Z]+-[0-9]+"])
    assert masks.text("ORD-77 ABC-5 6") == "<order> <ref> <number>"
    assert masks.to_json() == ("order=ORD-[0-9]+", "ref=[A-Z]+-[0-9]+", "number")
    assert Masks.of_json(list(masks.to_json())) == masks


def test_equal_masks_are_equal_however_they_are_written():
    assert Masks.parse(" ip, card") == Masks.parse(["card", "ip"]) == Masks.of_json(["ip", "card"])
    assert not Masks.parse("none")
    assert not Masks.parse(None)
    assert (str(Masks.parse("none")), str(Masks.parse("ip,url"))) == ("none", "url, ip")


@pytest.mark.parametrize(
    ("given_masks", "reason"),
    [
        ("ips", "there is no mask 'ips': use card, email, hex, "),
        ("ip,ip", "the mask 'ip' is given twice"),
        (["a=x", "a=y"], "the mask 'a' is given twice"),
        ("card=[0-9]+", "'card' is not a name for your own mask"),
        ("Order=x", "'Order' is not a name for your own mask"),
        ("a=(", "the mask 'a' is not a regular expression of RE2"),
        (r"a=(?=x)", "the mask 'a' is not a regular expression of RE2"),
        ("a=x*", "the mask 'a' matches the empty text"),
        ("a=[a-z]+", "the mask 'a' matches <url>, which masks put in"),
        ("a=" + "x" * 1001, "the mask 'a' has 1,001 characters"),
        ([f"m{chr(97 + k // 26)}{chr(97 + k % 26)}=x{k}" for k in range(33)], "there are 33 own masks"),
        ("none,ip", "there is no mask 'none'"),
    ],
)
def test_masks_that_cannot_be_used_are_refused(given_masks, reason):
    with pytest.raises(ConfigurationError, match=re.escape(reason)):
        Masks.parse(given_masks)


@pytest.mark.parametrize("value", ["ip", {"ip": 1}, [1], 5])
def test_json_that_is_no_list_of_texts_is_refused(value):
    with pytest.raises(ConfigurationError, match="masks must be a list of texts"):
        Masks.of_json(value)


def test_what_is_not_text_is_refused():
    with pytest.raises(InputError, match="texts must be Arrow strings"):
        ALL(pa.array([1]))


@pytest.fixture
def model():
    tokenizer = named("uncased")
    table = np.random.default_rng(0).standard_normal((tokenizer.get_vocab_size(), 16), np.float32)
    return StaticModel(table, tokenizer.to_str(), {"normalize": True})


TEXT = "a 10.0.0.7 the 5"


def test_an_encoder_embeds_and_tokenises_masked_texts(model):
    plain, masks = Encoder(model), Masks.parse("ip,number")
    masking = Encoder(model.with_masks(masks))
    texts = [TEXT, None, "", "of the"] * 400
    expected = masks(texts)
    assert np.array_equal(masking.encode(texts), plain.encode(expected))
    assert np.array_equal(masking.encode(TEXT), plain.encode(masks.text(TEXT)))
    assert np.array_equal(masking.tokenise(texts).ids, plain.tokenise(expected).ids)
    assert np.array_equal(masking.encode_tokens(texts).ids, plain.encode_tokens(expected).ids)
    assert not np.array_equal(masking.encode(TEXT), plain.encode(TEXT))


def test_vectors_are_the_same_with_any_number_of_threads(model):
    texts = [f"a {k} 10.0.0.{k % 300} the" for k in range(5000)]
    masked_model = model.with_masks(ALL)
    one, two = (Encoder(masked_model, threads=n).encode(texts) for n in (1, 2))
    assert np.array_equal(one, two)


def test_a_folder_keeps_its_masks(model, tmp_path):
    masks = Masks.parse(["order=ORD-[0-9]+", "ip"])
    folder = save_model(model.with_masks(masks), tmp_path / "model")
    assert load_model(folder).masks == masks
    assert Encoder.load(folder).masks == masks
    assert "masks" not in json.loads((save_model(model, tmp_path / "plain") / "config.json").read_text())


@pytest.mark.parametrize("masks", ["ip", ["ips"], [1], {"ip": True}])
def test_a_folder_with_masks_that_cannot_be_used_is_refused(model, tmp_path, masks):
    folder = save_model(replace(model, config={**model.config, "masks": masks}), tmp_path / "model")
    with pytest.raises(ModelFormatError, match=r"config\.json has masks that cannot be used"):
        load_model(folder)


def test_a_head_that_was_fitted_to_texts_with_other_masks_does_not_load(model, tmp_path):
    head = Prototypes("near", ("any",), np.ones((1, 16), np.float32), 0.5)
    folder = save_model(replace(model, heads=(head,)), tmp_path / "model")
    config = folder / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "masks": ["ip"]}))
    with pytest.raises(ModelFormatError, match="the head 'near' was fitted to other vectors"):
        load_model(folder)
    with pytest.raises(ConfigurationError, match=r"masks none, and its heads \(near\) were fitted"):
        replace(model, heads=(head,)).with_masks(ALL)


def test_a_version_says_its_masks_and_keeps_them(model, tmp_path):
    folder, store = save_model(model, tmp_path / "model"), ModelStore.open((tmp_path / "store/m").as_uri())
    plain = store.publish(folder)
    masked_version = store.publish(folder, masks=Masks.parse("ip"))
    assert (plain.format, plain.masks) == (1, ())
    assert (masked_version.format, masked_version.masks) == (3, ("ip",))
    assert Encoder.load(f"{store.uri}@2").masks == Masks.parse("ip")
    assert store.extend(masked_version, {"notes.txt": b"x"}).masks == ("ip",)
    assert store.rollback(2).masks == ("ip",)
    fetched = store.fetch(masked_version, tmp_path / "fetched")
    assert store.publish(fetched).masks == ("ip",)
    assert store.publish(fetched, masks=Masks()).format == 1


def test_a_manifest_whose_masks_are_not_those_of_the_model_is_refused(model, tmp_path):
    folder, store = save_model(model, tmp_path / "model"), ModelStore.open((tmp_path / "store/m").as_uri())
    manifest = msgspec.structs.replace(store.publish(folder, masks=Masks.parse("ip")), masks=("card",))
    with pytest.raises(CorruptVersion, match=r"m@1 says that it masks card, and its config\.json ip"):
        Encoder(load_model(folder).with_masks(Masks.parse("ip")), manifest)


PAGE = (Path(__file__).parents[2] / "docs/reference/masks.md").read_text("utf-8")
EXAMPLES = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \| `([^`]+)` \|$", PAGE, re.MULTILINE)


@pytest.mark.parametrize(("kinds", "text", "expected"), EXAMPLES)
def test_the_examples_of_the_reference_are_true(kinds, text, expected):
    assert masked(text, kinds) == expected


def test_the_reference_has_every_mask_in_the_order_in_which_they_are_tried():
    table = PAGE.partition("## Examples")[0]
    assert tuple(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == KINDS
    assert set(KINDS) <= {kind for kinds, _, _ in EXAMPLES for kind in kinds.split(",")}
