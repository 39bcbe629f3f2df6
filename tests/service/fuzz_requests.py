"""Requests that nobody would send, made by Hypothesis for every endpoint, and a client that sends them as they are."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st

from quantbento.serving.images import WHITE

MAX_BODY = 100_000
HANGS = 20  # seconds
ITEM = [0.5, -1.0, 2.0, 0.0]
# By service, a right body of each endpoint.
RIGHT: dict[str, dict[str, dict[str, Any]]] = {
    "Embedding": {"/encode": {"texts": ["a film"]}, "/v1/embeddings": {"input": "a film", "model": "any"}},
    "TextClassification": {"/classify": {"texts": ["a film"]}},
    "TextRanking": {
        "/score": {"pairs": [{"query": "a film", "document": "the plot"}]},
        "/rerank": {"query": "a film", "texts": ["the plot", "a meal"], "raw_scores": True},
        "/v2/rerank": {"query": "a film", "documents": ["the plot", "a meal"], "top_n": 1},
    },
    "TokenClassification": {"/entities": {"texts": ["a film"]}},
    "ImageClassification": {"/classify": {"images": [WHITE], "top_k": 2}},
    "ImageFeatureExtraction": {"/encode": {"images": [WHITE]}},
    "TensorModel": {"/predict": {"inputs": [ITEM]}},
    "TextGeneration": {
        "/generate": {"prompt": "def", "max_tokens": 1, "temperature": 0.0},
        "/v1/completions": {"prompt": [5, 6], "max_tokens": 1, "stream": False, "stop": ["x"], "seed": 1},
        "/tokenize": {"prompt": "def", "add_special_tokens": False},
        "/detokenize": {"tokens": [5, 6]},
        "/v1/chat/completions": {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1, "stream": True},
    },
}
PAGES = ["/", "/docs.json", "/schema.json", "/info", "/metrics", "/livez", "/v1/models", "/static_content/..", "/%00"]


@dataclass(frozen=True)
class Raw:
    """
    Attributes:
        service: whom it is sent to.
        data: the request, from its first byte to its last.
        whole: whether the server can know that it ends; if not, nobody waits for the answer.
        hasty: whether it asks for an answer in no time, which may be refused with 503 or 504.
    """

    service: str
    data: bytes
    whole: bool
    hasty: bool


def send(port: int, raw: Raw) -> int | None:
    """The status of the answer; None where the server ended the connection without one, or where none can come."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=HANGS) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it answers before the body is read
            connection.sendall(raw.data)
        connection.settimeout(HANGS if raw.whole else 0.005)
        with contextlib.suppress(ConnectionResetError):
            try:
                while piece := connection.recv(65536):
                    received += piece
            except TimeoutError:
                assert not raw.whole, f"no end after {HANGS} seconds: {raw}"
    statuses = [int(s) for s in re.findall(rb"(?:^|\r\n\r\n)HTTP/1\.1 (\d{3})", received)]
    return next((status for status in statuses if status >= 200), None)


texts = st.sampled_from(["a film", " ", "\ud800", "\udfff\ud800", "\x00", "\u202e", "𝕒" * 9, "a" * 9000]) | st.text(
    max_size=9
)
numbers = st.integers() | st.floats() | st.sampled_from([2**63, -(2**64), 10**400, 1e308, -0.0, True])
anything = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
depths = st.sampled_from([5, 100, 300, 20_000])


@st.composite
def wrong_fields(draw: Any, right: dict[str, Any]) -> bytes:
    """A right body with fields replaced, missing and added."""
    body = dict(right)
    for name in draw(st.lists(st.sampled_from(sorted(right)), max_size=2)):
        body[name] = draw(anything | st.just([body[name]]) | st.just({name: body[name]}))
    if draw(st.booleans()):
        body.pop(draw(st.sampled_from(sorted(right))))
    body |= draw(st.dictionaries(texts | st.sampled_from(["n", "logprobs", "user", "echo"]), anything, max_size=1))
    return json.dumps(body).encode()


@st.composite
def odd_json(draw: Any, right: dict[str, Any]) -> bytes:
    """JSON that a parser may take for two things, or for none, or that is large once it is read."""
    name, text = draw(st.sampled_from(sorted(right))), json.dumps(right)
    kind = draw(st.sampled_from(["twice", "deep", "digits", "constant", "encoding", "cut", "after", "bytes"]))
    if kind == "twice":
        return f"{text[:-1]}, {json.dumps(name)}: {json.dumps(draw(anything))}}}".encode()
    if kind == "deep":
        depth, (start, end) = draw(depths), draw(st.sampled_from([("[", "]"), ('{"a":', "}")]))
        return f'{{"{name}": {start * depth}1{end * draw(st.sampled_from([depth, 0]))}}}'.encode()
    if kind == "digits":
        number = draw(st.sampled_from(["", "-", "0.", "1e", "-1e-"])) + "9" * draw(st.sampled_from([9, 5000]))
        return f'{{"{name}": {number}}}'.encode()
    if kind == "constant":
        constant = draw(st.sampled_from(["NaN", "-Infinity", "[NaN]", "undefined", "+1", "0x1", "01", "1."]))
        return f'{{"{name}": {constant}}}'.encode()
    if kind == "encoding":
        return text.encode(draw(st.sampled_from(["utf-8-sig", "utf-16", "utf-32", "utf-7", "cp037"])))
    if kind == "cut":
        return text.encode()[: draw(st.integers(0, len(text)))]
    if kind == "after":
        return text.encode() + draw(st.binary(min_size=1, max_size=9))
    return text.encode().replace(b"a", draw(st.binary(max_size=3)))


parts = st.builds(
    lambda name, more, head, body: (
        b"--x\r\nContent-Disposition: form-data; name=" + name + more + head + b"\r\n\r\n" + body + b"\r\n"
    ),
    st.sampled_from([b'"images"', b'"top_k"', b'""', b"images", b'"\xff"', b'"a\\""']),
    st.sampled_from([b"", b'; filename="a.png"', b"; filename*=utf-8''%ff", b'; filename="' + b"a" * 300 + b'"']),
    st.sampled_from([b"", b"\r\nContent-Type: image/png", b"\r\nContent-Transfer-Encoding: base64", b"\r\n: ", b"\nX"]),
    st.sampled_from([b"", b"1", b"-1", b"9" * 5000, b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a" + b"\xff" * 8])
    | st.binary(max_size=30),
)
forms = st.builds(
    lambda found, end: b"".join(found) + end,
    st.lists(parts, max_size=4),
    st.sampled_from([b"--x--\r\n", b"--x--", b"", b"--x", b"--y--\r\n"]),
)
large = st.sampled_from([b" " * (MAX_BODY + 1), b"[" * MAX_BODY, b'{"texts": ["' + b"a" * (MAX_BODY - 20) + b'"]}'])
files = st.sampled_from(
    [b"\x93NUMPY\x01\x00", b"\x93NUMPY\x01\x00\xff\xff", b"PK\x03\x04" + b"\0" * 30, b"PK\x05\x06" + b"\0" * 18]
)

JSON, FORM = b"application/json", b"multipart/form-data"
media_types = st.sampled_from(
    [
        *[JSON] * 6,
        *(
            JSON + b"; charset=utf-16",
            JSON.upper(),
            b"application/json, text/plain",
            b"text/plain",
            b"",
            b"a",
            b"\xff/\xfe",
        ),
        *(b"application/octet-stream", b"application/x-www-form-urlencoded", b"application/vnd.bentoml+pickle"),
        *(FORM + b"; boundary=x", FORM + b"; boundary=x", FORM, FORM + b'; boundary="', FORM + b"; boundary=\xff"),
        FORM + b"; boundary=" + b"y" * 300,
    ]
)
ODD_HEADERS: dict[bytes, list[bytes]] = {
    b"X-Request-ID": [b"a b", b"\xff", b"x" * 5000, b"", b"%0d%0aSet-Cookie: a=b"],
    b"X-Request-Timeout": [b"nan", b"inf", b"-inf", b"soon", b"", b"1e999", b"9" * 400, b"\xd9\xa1", b"1_0", b"5"],
    b"X-Stainless-Read-Timeout": [b"None", b"1e400", b"600"],
    b"Accept": [b"*/*", b"application/octet-stream", b"a" * 2000, b"\xff", b", ,;q="],
    b"Authorization": [b"Bearer ", b"Bearer \xff", b"Basic", b"\xff" * 100],
    b"Host": [b"", b"a:b:c", b"\xff"],
    b"Range": [b"bytes=5-1", b"bytes=-9999999999999"],
    b"traceparent": [b"00-" + b"0" * 32 + b"-00-01", b"\xff"],
    b"Expect": [b"100-continue"],
    b"X-Forwarded-For": [b"a" * 1000, b"::1%\xff"],
}
HASTY: dict[bytes, list[bytes]] = {
    b"X-Request-Timeout": [b"0", b"-1", b"1e-300"],
    b"X-Envoy-Expected-Rq-Timeout-Ms": [b"0", b"0.5"],
}
encodings = st.sampled_from([None] * 6 + [b"identity", b"gzip", b"br", b"", b"\xff", b"gzip, gzip", b"IDENTITY"])
lengths = st.sampled_from(
    [b"-1", b"+5", b"1e3", b"0x10", b"", b"9" * 30, b"1, 1", b"18446744073709551616", b"\xd9\xa1", b"1", b"99999"]
)


@st.composite
def raw_requests(draw: Any) -> Raw:
    """One to any endpoint of any service."""
    service = draw(st.sampled_from(sorted(RIGHT)))
    path = draw(st.sampled_from([*sorted(RIGHT[service]) * 4, *PAGES]))
    right = RIGHT[service].get(path, {"a": 1})
    method = (
        draw(st.sampled_from(["POST"] * 12 + ["GET", "PUT", "HEAD", "OPTIONS"])) if path in RIGHT[service] else "GET"
    )
    bodies = [
        st.just(json.dumps(right).encode()),
        wrong_fields(right),
        wrong_fields(right),
        odd_json(right),
        odd_json(right),
    ]
    body = draw(st.one_of(*bodies, forms, st.binary(max_size=200), files, large)) if method == "POST" else b""
    headers = {b"Host": [b"127.0.0.1"], b"Connection": [b"close"]}
    hasty = draw(st.integers(0, 19)) == 0
    for name in draw(st.lists(st.sampled_from(sorted(ODD_HEADERS)), max_size=2)):
        headers[name] = [draw(st.sampled_from(ODD_HEADERS[name]))]
    if hasty:
        name = draw(st.sampled_from(sorted(HASTY)))
        headers[name] = [draw(st.sampled_from(HASTY[name]))]
    if method == "POST":
        headers[b"Content-Type"] = [draw(media_types)]
    if (encoding := draw(encodings)) is not None:
        headers[b"Content-Encoding"] = [encoding]
    framing = draw(st.sampled_from(["length"] * 8 + ["odd", "twice", "chunked", "broken", "both"]))
    if framing in ("length", "twice", "both"):
        headers[b"Content-Length"] = [str(len(body)).encode()] * (2 if framing == "twice" else 1)
    if framing == "odd":
        headers[b"Content-Length"] = [draw(lengths)]
    if framing in ("chunked", "broken", "both"):
        headers[b"Transfer-Encoding"] = [b"chunked"]
        size = f"{len(body):x}".encode()
        body = (size + b"\r\n" + body + b"\r\n" if body else b"") + (b"zz\r\n" if framing == "broken" else b"0\r\n\r\n")
    lines = [
        f"{method} {path} HTTP/1.1".encode(),
        *(name + b": " + v for name, values in headers.items() for v in values),
    ]
    return Raw(service, b"\r\n".join(lines) + b"\r\n\r\n" + body, framing in ("length", "chunked"), hasty)
