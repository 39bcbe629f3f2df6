"""Requests to `/predict` of the models `mixed` and `pooled` (tests.typed_tensor), for Hypothesis: right ones, wrong
ones of which is known what must be said, and bytes of which nothing is known."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
import numpy as np

from tests.serving.test_numpy_files import claims, lying_bomb, npy, npz

MAX_ITEMS, MAX_BODY = 8, 1_000_000
FILE, JSON = "application/octet-stream", "application/json"
FIELDS = ["features", "ids", "rate"]


@dataclass(frozen=True)
class Asked:
    """
    Attributes:
        model: which of the two.
        content, media_type: what is sent.
        items: what is in it, where it is right and the answers are known.
        said: one of these must be in what the client is told, where it is wrong.
    """

    model: str
    content: bytes
    media_type: str
    items: list[Any] | None = None
    said: tuple[str, ...] = ()


def as_json(items: Any) -> bytes:
    return json.dumps({"inputs": items}).encode()


floats = st.floats(-1000, 1000, width=16)
ids_of_length = {n: st.lists(st.integers(0, 99), min_size=n, max_size=n) for n in range(1, 20)}
rows = st.lists(floats, min_size=3, max_size=3)


def mixed_item(length: int) -> st.SearchStrategy[dict[str, Any]]:
    features = st.lists(rows, min_size=2, max_size=2)
    return st.fixed_dictionaries({"features": features, "ids": ids_of_length[length], "rate": floats})


any_mixed_item = st.integers(1, 19).flatmap(mixed_item)


@st.composite
def right_json(draw) -> Asked:
    items = draw(st.lists(any_mixed_item, min_size=1, max_size=MAX_ITEMS))
    return Asked("mixed", as_json(items), JSON, items)


TYPES = {
    "features": ["f4", ">f4", "f2", "f8", "f16"],
    "ids": ["i8", ">i8", "i4", "u1", "u8", "f4"],
    "rate": ["f4", ">f2", "f8"],
}


@st.composite
def arrays(draw) -> dict[str, np.ndarray]:
    """Items of `mixed` along the first axis, in types and orders that hold the same numbers."""
    length = draw(st.integers(1, 19))
    items = draw(st.lists(mixed_item(length), min_size=1, max_size=MAX_ITEMS))
    return {
        name: np.asarray([i[name] for i in items]).astype(
            draw(st.sampled_from(TYPES[name])), draw(st.sampled_from("CF"))
        )
        for name in FIELDS
    }


@st.composite
def right_npz(draw) -> Asked:
    given = draw(arrays())
    items = [{name: given[name][i].tolist() for name in FIELDS} for i in range(len(given["ids"]))]
    return Asked("mixed", npz(draw(st.booleans()), **given), FILE, items)


@st.composite
def right_npy(draw) -> Asked:
    shape = draw(st.tuples(st.integers(1, MAX_ITEMS), st.integers(1, 9), st.just(4)))
    array = np.random.default_rng(draw(st.integers(0, 99))).normal(size=shape)
    array = np.asarray(array, draw(st.sampled_from(TYPES["features"])), order=draw(st.sampled_from("CF")))
    return Asked("pooled", npy(array), FILE, [item.astype(np.float32) for item in array])


# By field, values that it cannot have.
deep = st.sampled_from([40, 70, 150]).map(lambda depth: json.loads("[" * depth + "1" + "]" * depth))
nothing = st.sampled_from([None, "", "1", "nan", {}, {"a": 1}, [], [[]], [None], ["1", 2]])
no_float32 = st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e39, 10**39, 10**400, -(10**4000)])
huge = st.sampled_from([2**63, -(2**63) - 1, 2**64, 10**30, 10**4000, 1e19, 1e300])
WRONG: dict[str, st.SearchStrategy[Any]] = {
    "features": st.one_of(
        nothing,
        deep,
        no_float32.map(lambda value: [[1, 2, 3], [4, value, 6]]),
        st.tuples(st.integers(0, 4), st.integers(0, 4))
        .filter(lambda s: s != (2, 3))
        .map(lambda s: np.ones(s).tolist()),
        st.sampled_from(
            [1, [1, 2, 3], [[[1, 2, 3], [1, 2, 3]]], [[1, 2, 3], [1, 2]], [[1, 2, 3], 4], [[1, 2, 3], None]]
        ),
    ),
    "ids": st.one_of(
        nothing, deep, huge.map(lambda value: [1, value]), st.sampled_from([1, [1.5], [[1, 2]], [1, [2]], [True, "x"]])
    ),
    "rate": st.one_of(nothing, deep, no_float32, st.lists(floats, min_size=1, max_size=3)),
}


@st.composite
def wrong_field(draw) -> Asked:
    items = draw(st.lists(any_mixed_item, min_size=1, max_size=3))
    place, name = draw(st.integers(0, len(items) - 1)), draw(st.sampled_from(FIELDS))
    items[place] = {**items[place], name: draw(WRONG[name])}
    return Asked("mixed", as_json(items), JSON, said=(f"item {place}: {name} must ",))


@st.composite
def long_text(draw) -> Asked:
    """NumPy would take 40 GB for it."""
    name = draw(st.sampled_from(FIELDS))
    item = draw(any_mixed_item) | {name: ["A" * 100_000] + [1] * 100_000}
    return Asked("mixed", as_json([item]), JSON, said=(f"item 0: {name} must ",))


@st.composite
def wrong_items(draw) -> Asked:
    item = draw(any_mixed_item)
    if draw(st.booleans()):
        count = draw(st.sampled_from([0, MAX_ITEMS + 1, 500]))
        return Asked("mixed", as_json([item] * count), JSON, said=(f"at most {MAX_ITEMS} items", "at least 1 item"))
    needed = f"needed are {FIELDS}"
    if draw(st.booleans()):
        del item[draw(st.sampled_from(FIELDS))]
        return Asked("mixed", as_json([item]), JSON, said=(needed,))
    other = draw(st.text(max_size=9) | st.sampled_from(["k" * 9_000, "é\n\0", "\ud800"]))
    said = (needed, "not valid JSON") if other not in FIELDS else ()
    return Asked("mixed", as_json([item | {other: 1}]), JSON, said=said)


@st.composite
def failing(draw) -> Asked:
    """Ids that pass the checks, and that the model's table does not have."""
    item = draw(any_mixed_item)
    return Asked(
        "mixed", as_json([item | {"ids": [draw(st.integers(100, 2**63 - 1))]}]), JSON, said=("the model failed",)
    )


NO_NUMBERS = [
    np.array([{}, []], object),
    np.array(["a", "b"]),
    np.array([b"a", b"b"]),
    np.array([1j, 2]),
    np.array(["2026", "2027"], "M8[Y]"),
    np.zeros(2, [("a", "f4"), ("b", object)]),
]


@st.composite
def wrong_npz(draw) -> Asked:
    given, name = draw(arrays()), draw(st.sampled_from(FIELDS))
    how = draw(st.sampled_from(["type", "alone", "count", "shape", "missing", "extra", "values"]))
    if how == "type":
        wrong, said = draw(st.sampled_from(NO_NUMBERS)), f"{name}.npy holds "
    elif how == "alone":
        wrong, said = np.float32(1), f"{name} has no axis"
    elif how == "count":
        wrong, said = np.ones((len(given[name]) + 1, *given[name].shape[1:])), "different numbers of them"
    elif how == "shape":
        wrong, said = given[name][..., None], f"item 0: {name} must have shape"
    elif how == "values":
        wrong, said = np.full(given[name].shape, draw(st.sampled_from([np.nan, np.inf, 1e200]))), f"{name} must be"
    else:
        name, wrong, said = (name, None, "needed are") if how == "missing" else ("other", given[name], "needed are")
    changed = {key: value for key, value in {**given, name: wrong}.items() if value is not None}
    return Asked("mixed", npz(draw(st.booleans()), **changed), FILE, said=(said,))


WRONG_NPY = {
    "steps must": [np.ones((2, 3)), np.ones((2, 3, 5)), np.ones((1, 0, 4)), np.full((1, 2, 4), np.nan)],
    "the body has no axis": [np.float32(1), np.array(True)],
    "the body holds": [np.ones((0, 3, 4)), np.ones((MAX_ITEMS + 1, 3, 4)), *NO_NUMBERS],
}
CLAIMED = [
    "(1, 3, 4)",
    "(1000000000, 1000000, 4)",
    "(4,)",
    "(-1, 4)",
    "(True, 3, 4)",
    f"({10**3000},)",
    "(1, " * 40,
    "1",
]
DESCRS = [
    "'<f4'",
    "'>i8'",
    "'|b1'",
    "'|O'",
    "'<U9999999'",
    "'V'",
    "[('a', '<f4')]",
    "('<f4', (9999, 9999))",
    "'?!'",
    "1",
]


@st.composite
def wrong_npy(draw) -> Asked:
    said, array = draw(st.sampled_from([(said, array) for said, arrays in WRONG_NPY.items() for array in arrays]))
    return Asked("pooled", npy(array), FILE, said=(said,))


@st.composite
def lying(draw) -> Asked:
    """A header that claims what is not there."""
    data = bytes(draw(st.integers(0, 47)))
    content = claims(draw(st.sampled_from(CLAIMED)), data, draw(st.sampled_from(DESCRS)))
    return Asked("pooled", content, FILE, said=("the body is no .npy", "the body holds", "the body has"))


whole = st.one_of(right_npz(), right_npy(), wrong_npz(), right_json(), st.just(Asked("mixed", lying_bomb(), FILE)))


@st.composite
def damaged(draw) -> Asked:
    asked = draw(whole)
    data = bytearray(asked.content)
    for place, value in draw(st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), max_size=6)):
        data[place] = value
    return Asked(asked.model, bytes(data[: draw(st.integers(0, len(data)))]), asked.media_type)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | huge,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*FIELDS, "x"]), inner, max_size=4),
    max_leaves=12,
)
depths = st.sampled_from([10, 190, 1000, 100_000])
documents = st.one_of(
    anything.map(lambda value: json.dumps(value).encode()),
    anything.map(as_json),
    st.lists(anything, max_size=9).map(as_json),
    depths.map(lambda depth: b'{"inputs": ' + b"[" * depth + b"]" * depth + b"}"),
    depths.map(lambda depth: b'{"a": ' * depth + b"1" + b"}" * depth),
    st.just(b'{"inputs": [' + b"9" * 9000 + b"]}"),
    st.binary(max_size=300),
)
MEDIA_TYPES = [JSON, FILE, "application/x-npy", "multipart/form-data", "multipart/form-data; boundary=x", "text/plain"]
MEDIA_TYPES += ["application/x-www-form-urlencoded", "application/vnd.bentoml+pickle", "", "a/b; charset=é"]


@st.composite
def strange(draw) -> Asked:
    content = draw(st.one_of(documents, documents, damaged().map(lambda asked: asked.content), st.just(b"\x93NUMPY")))
    return Asked(draw(st.sampled_from(["mixed", "pooled"])), content, draw(st.sampled_from(MEDIA_TYPES)))


too_large = st.sampled_from([FILE, JSON]).map(
    lambda media_type: Asked("mixed", b" " * (MAX_BODY + 1), media_type, said=("larger than",))
)
requests = st.one_of(
    right_json(),
    right_npz(),
    right_npy(),
    wrong_field(),
    wrong_field(),
    wrong_items(),
    long_text() | too_large,
    failing(),
    wrong_npz(),
    wrong_npy(),
    lying(),
    damaged(),
    damaged(),
    strange(),
    strange(),
)
