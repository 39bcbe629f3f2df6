"""What is printed about a Bento and about an image."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantbento.cli.output.bentos import print_contents, print_image
from quantbento.packing.contents import Contents, PackedModel
from quantbento.packing.image import Image
from quantbento.store import StoredModel
from quantbento.store.bento_description import BentoDescription, EntryService

MEGABYTE = 1_000_000


@pytest.fixture
def contents(tmp_path) -> Contents:
    (tmp_path / "env" / "python").mkdir(parents=True)
    (tmp_path / "env" / "python" / "requirements.txt").write_text("bentoml==1.4.39\ncolorful==1\nonnxruntime==1.31.1\n")
    entry = EntryService("Embedding", {"cpu": "2", "memory": "1Gi"})
    bento = BentoDescription("minilm", "v1", "service:Embedding", entry, ("encoder:0a1b",), {"runtime": "onnx"}, {})
    model = PackedModel(StoredModel("encoder:0a1b", Path("nowhere")), "sha256:0a1b", 24 * MEGABYTE, "int8-dynamic")
    return Contents(tmp_path, bento, [model])


def image(**changes) -> Image:
    parts = {"Python packages": 300 * MEGABYTE, "models": 24 * MEGABYTE, "code": 500_000}
    figures = {"base_bytes": 130 * MEGABYTE, "total_bytes": 460 * MEGABYTE, "parts": parts, "build_tools": []}
    return Image(**({"name": "minilm:v1", "base_image": "python:3.11-slim", "user": "1034:1034"} | figures | changes))


def rows(out: str) -> dict[str, str]:
    """The sizes in the table by part."""
    lines = [line.strip("│").split("│") for line in out.splitlines() if line.startswith("│")]
    return {part.strip(): size.strip() for part, size in lines}


def test_a_bento_is_told_a_line_a_thing(contents, capsys):
    print_contents(contents)
    size = contents.code_bytes / 1e3
    assert capsys.readouterr().out.splitlines() == [
        "bento     minilm:v1",
        "service   service:Embedding, resources cpu 2, memory 1Gi",
        "model     encoder:0a1b, int8-dynamic, 24.0 MB, sha256:0a1b",
        "packages  3, pinned: bentoml 1.4.39, onnxruntime 1.31.1",
        f"code      {size:.1f} kB",
        f"folder    {contents.path}, with its SBOM",
    ]


def test_the_parts_of_an_image_add_up(capsys):
    print_image(image())
    out = capsys.readouterr().out
    assert out.splitlines()[0].strip() == "minilm:v1"
    assert rows(out) == {
        "base (python:3.11-slim)": "130.0 MB",
        "Python packages": "300.0 MB",
        "models": "24.0 MB",
        "code": "0.5 MB",
        "other": "5.5 MB",
        "on top of the base": "330.0 MB",
        "in all": "460.0 MB",
    }


def test_more_in_the_parts_than_in_all_is_no_negative_size(capsys):
    print_image(image(total_bytes=440 * MEGABYTE))
    assert rows(capsys.readouterr().out)["other"] == "0.0 kB"


@pytest.mark.parametrize(
    ("user", "tools", "said"),
    [
        ("1034:1034", [], "user 1034:1034; build tools: none"),
        ("", ["/usr/bin/gcc", "/usr/bin/make"], "user root; build tools: /usr/bin/gcc, /usr/bin/make"),
    ],
    ids=["ours", "root-with-tools"],
)
def test_the_user_and_the_build_tools(capsys, user, tools, said):
    print_image(image(user=user, build_tools=tools))
    assert capsys.readouterr().out.splitlines()[-1] == said
