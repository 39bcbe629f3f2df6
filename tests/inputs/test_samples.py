"""Samples are read from every format with their labels. They are never silently fewer or different from the request."""

from __future__ import annotations

import json

import numpy as np
import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.inputs.samples import identify, load_samples
from quantbento.recipe import Samples

JSONL = '{"text": "good", "label": "pos"}\n\n{"text": "bad", "label": "neg"}\n'


@pytest.fixture
def read(tmp_path):
    """Writes a file and reads it as samples."""

    def _read(name: str, content: str | bytes, **settings):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return load_samples(Samples(path=path, **settings))

    return _read


@pytest.mark.parametrize(
    ("name", "content", "inputs", "labels"),
    [
        ("a.txt", "good\n\n  bad \n", ["good", "bad"], None),
        ("a.jsonl", JSONL, ["good", "bad"], ["pos", "neg"]),
        ("a.csv", "text,label\ngood,1\nbad,0\n", ["good", "bad"], ["1", "0"]),
        ("a.csv", "text\r\ngood\r\n", ["good"], None),
        ("a.csv", '\ufefftext,label\n"one, two\nthree",1\n', ["one, two\nthree"], ["1"]),
        ("a.jsonl", '{"text": "one\u2028two"}\n', ["one\u2028two"], None),
        ("a.txt", "one\u2028two\n", ["one\u2028two"], None),
    ],
    ids=["txt", "jsonl", "csv", "csv-windows", "csv-excel", "jsonl-line-separator", "txt-line-separator"],
)
def test_text_formats(read, name, content, inputs, labels):
    samples = read(name, content)
    assert (samples.inputs, samples.labels) == (inputs, labels)


def test_columns_can_be_named(read):
    samples = read("a.jsonl", '{"sentence": "good", "y": 1}\n', text="sentence", label="y")
    assert (samples.inputs, samples.labels) == (["good"], [1])


def test_arrays_become_one_mapping_a_sample(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(6.0).reshape(3, 2), mask=np.ones((3, 1)), label=np.array([0, 1, 2]))
    samples = load_samples(Samples(path=tmp_path / "a.npz"))
    assert [sorted(item) for item in samples.inputs] == [["mask", "x"]] * 3
    assert samples.inputs[1]["x"].tolist() == [2.0, 3.0]
    assert samples.labels == [0, 1, 2]


def test_a_dataset_is_loaded_by_name(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "test.jsonl").write_text(JSONL)
    spec = Samples(dataset=str(tmp_path / "own"))
    assert load_samples(spec).labels == ["pos", "neg"]
    with pytest.raises(QuantbentoError, match=r'could not be loaded: ValueError: .*"train".*use `path:`'):
        load_samples(spec.model_copy(update={"split": "train"}))


@pytest.mark.parametrize(
    ("body", "inputs", "labels"),
    [
        ("['good', 'bad']", ["good", "bad"], None),
        ("['good', 'bad'], [1, 0]", ["good", "bad"], [1, 0]),
        ("{'x': [1.0, 2.0]}, numpy.array([1, 0])", [{"x": 1.0}, {"x": 2.0}], [1, 0]),
    ],
    ids=["inputs", "labelled", "columns"],
)
def test_a_factory_gives_inputs_and_may_give_labels(tmp_path, monkeypatch, request, body, inputs, labels):
    name = f"samples_{request.node.callspec.id}"
    (tmp_path / f"{name}.py").write_text(f"import numpy\ndef held_out(): return {body}\n")
    monkeypatch.syspath_prepend(tmp_path)
    samples = load_samples(Samples(factory=f"{name}:held_out"))
    assert (samples.inputs, samples.labels) == (inputs, labels)


def test_count_cuts_and_never_falls_short(read):
    assert read("a.jsonl", JSONL, count=1).inputs == ["good"]
    assert read("a.jsonl", JSONL, count=1).labels == ["pos"]
    assert len(read("a.jsonl", JSONL, count=2).inputs) == 2
    with pytest.raises(QuantbentoError, match=r"has 2 samples; count asks for 3"):
        read("a.jsonl", JSONL, count=3)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "\n \n", "holds no samples"),
        ("a.csv", "text,label\n", "holds no samples"),
        ("a.txt", b"\xff\xfe", "is not UTF-8 text"),
        ("a.parquet", "", r"must end with '\.txt', '\.jsonl', '\.csv' or '\.npz'"),
        ("a.csv", "txt,label\na,1\n", r"has no column 'text'; did you mean 'txt'\? .* name it with `text:`"),
        ("a.csv", "text,label\na\n", "row 1 has no 'label'"),
        ("a.jsonl", '{"text": "a"}\n{"text": \n', "line 2 is not JSON"),
        ("a.jsonl", "{}\n", r"has no column 'text' \(it has nothing\)"),
        ("a.jsonl", '"good"\n', "row 1 is no mapping"),
        ("a.jsonl", '{"text": "a"}\n{"label": 1}\n', "row 2 has no 'text'"),
        ("a.jsonl", '{"text": "a", "label": 1}\n{"text": "b"}\n', "row 2 has no 'label'"),
        ("a.npz", b"", r"cannot be read as \.npz"),
        ("a.npz", b"PK\x03\x04 cut short", r"cannot be read as \.npz"),
        ("a.npz", b"\x93NUMPY renamed", r"cannot be read as \.npz"),
    ],
)
def test_what_cannot_be_read_says_where_and_why(read, name, content, message):
    with pytest.raises(QuantbentoError, match=message) as caught:
        read(name, content)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros(3), "y": np.zeros(2)}, r"equally long, not \{'x': 3, 'y': 2\}"),
        ({"x": np.zeros(3), "label": np.zeros(2)}, "has 3 inputs but 2 labels"),
        ({"x": np.float32(3)}, "one value for each sample"),
        ({"x": np.array([{}], dtype=object)}, "allow_pickle"),
    ],
    ids=["lengths", "labels", "single-value", "pickle"],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(QuantbentoError, match=message):
        load_samples(Samples(path=tmp_path / "a.npz"))


def test_identity_follows_the_content_and_the_settings_not_the_folder(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.jsonl").write_text(JSONL)
    one, two = (Samples(path=tmp_path / folder / "a.jsonl") for folder in ("one", "two"))
    assert identify(one) == identify(two)
    assert identify(one) != identify(one.model_copy(update={"count": 1}))
    two.path.write_text(JSONL + JSONL)
    assert identify(one) != identify(two)
    json.dumps(identify(one))


@pytest.mark.parametrize("returned", ["None", "'text'", "3", "(None, [1])"])
def test_a_factory_that_returns_no_samples_is_one_error(tmp_path, monkeypatch, request, returned):
    name = f"no_samples_{abs(hash(returned))}"
    (tmp_path / f"{name}.py").write_text(f"def samples():\n    return {returned}\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(QuantbentoError, match=f"'{name}:samples' must return a list of inputs or a mapping"):
        load_samples(Samples(factory=f"{name}:samples"))


PAIRS = ("query", "document")


def test_several_fields_make_a_mapping(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        '{"query": "q", "passage": "d", "label": 1}\n{"query": "r", "passage": "e", "label": 0}\n'
    )
    samples = load_samples(Samples(path=tmp_path / "a.jsonl", columns={"document": "passage"}), PAIRS)
    assert samples.inputs == [{"query": "q", "document": "d"}, {"query": "r", "document": "e"}]
    assert samples.labels == [1, 0]


def test_a_missing_field_says_which_columns_there_are(tmp_path):
    (tmp_path / "a.csv").write_text("query,documents\nq,d\n")
    with pytest.raises(QuantbentoError, match=r"'document'; did you mean 'documents'.*columns: \{document: \.\.\.\}"):
        load_samples(Samples(path=tmp_path / "a.csv"), PAIRS)


def test_lines_of_text_cannot_hold_several_fields(tmp_path):
    (tmp_path / "a.txt").write_text("q d\n")
    with pytest.raises(QuantbentoError, match=r"must end with '\.jsonl', '\.csv' or '\.npz'"):
        load_samples(Samples(path=tmp_path / "a.txt"), PAIRS)


def test_a_table_is_no_array(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    with pytest.raises(QuantbentoError, match=r"is a table; this task takes arrays, from an \.npz file"):
        load_samples(Samples(path=tmp_path / "a.csv"), ())


@pytest.fixture
def pictures(tmp_path):
    """A folder of two files in each of two classes; what the files hold is not read here."""
    for name in ("cat", "dog"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(2):
            (tmp_path / "pictures" / name / f"{number}.PNG").write_bytes(f"{name} {number}".encode())
    (tmp_path / "pictures" / "notes.txt").write_text("not a picture")
    return tmp_path / "pictures"


def test_a_folder_has_a_subfolder_for_each_class(pictures):
    samples = load_samples(Samples(path=pictures), ("image",), (".png",))
    assert [path.relative_to(pictures).as_posix() for path in samples.inputs] == [
        "cat/0.PNG",
        "cat/1.PNG",
        "dog/0.PNG",
        "dog/1.PNG",
    ]
    assert samples.labels == ["cat", "cat", "dog", "dog"]
    few = load_samples(Samples(path=pictures, count=2), ("image",), (".png",))
    assert few.labels == ["cat", "dog"], "a count takes some of each class"


def test_a_folder_without_subfolders_has_no_labels(pictures):
    assert load_samples(Samples(path=pictures / "cat"), ("image",), (".png",)).labels is None


def test_a_folder_without_such_files_is_told_what_is_looked_for(pictures):
    with pytest.raises(QuantbentoError, match=r"pictures holds no file that ends with '\.jpg' or '\.bmp'"):
        load_samples(Samples(path=pictures), ("image",), (".jpg", ".bmp"))


def test_a_table_names_files_beside_it(pictures):
    (pictures / "table.csv").write_text("image,label\ncat/0.PNG,0\n")
    samples = load_samples(Samples(path=pictures / "table.csv"), ("image",), (".png",))
    assert samples.inputs == [pictures / "cat/0.PNG"]


def test_a_folder_is_nothing_for_a_task_of_texts(pictures):
    with pytest.raises(QuantbentoError, match=r"is a folder; this task takes a file"):
        load_samples(Samples(path=pictures))


@pytest.mark.parametrize("name", ["", "table.csv"], ids=["folder", "table"])
def test_the_files_are_part_of_the_identity(pictures, name):
    (pictures / "table.csv").write_text("image\ncat/0.PNG\n")
    spec = Samples(path=pictures / name)
    before = identify(spec, (".png",))
    (pictures / "cat" / "0.PNG").write_bytes(b"another")
    assert identify(spec, (".png",)) != before


def test_a_column_is_named_once():
    with pytest.raises(ValueError, match="text is named twice"):
        Samples(factory=None, dataset="d", text="review", columns={"text": "body"})


@pytest.mark.parametrize("packed", [False, True], ids=["files", "parquet"])
def test_a_dataset_of_images_gives_files_or_their_bytes(tmp_path, monkeypatch, packed):
    import datasets

    from tests.tiny_images import file_of, picture

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    files = {
        f"{kind}/{number}.png": file_of(picture(8, 8, number)) for number, kind in enumerate(["cat", "cat", "dog"])
    }
    own = tmp_path / "own"
    for name, data in files.items():
        (own / "test" / name).parent.mkdir(parents=True, exist_ok=True)
        (own / "test" / name).write_bytes(data)
    if packed:
        rows = [{"image": {"bytes": data, "path": None}, "label": int("dog" in name)} for name, data in files.items()]
        features = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=["cat", "dog"]))
        own = tmp_path / "packed"
        own.mkdir()
        datasets.Dataset.from_list(rows, features).to_parquet(own / "test.parquet")
    settings = {"fields": ("image",), "suffixes": (".png",)}
    samples = load_samples(Samples(dataset=str(own)), **settings)
    given = samples.inputs if packed else [path.read_bytes() for path in samples.inputs]
    assert (given, samples.labels) == (list(files.values()), [0, 0, 1])
    assert len(load_samples(Samples(dataset=str(own), count=2), **settings).inputs) == 2
    with pytest.raises(QuantbentoError, match=r"has 3 samples; count asks for 4"):
        load_samples(Samples(dataset=str(own), count=4), **settings)
