"""NumPy files are read without unpickling and without believing their headers."""

from __future__ import annotations

import io
import struct
import zipfile

import numpy as np
import pytest

from quantbento.core.errors import InvalidInput
from quantbento.serving.numpy_files import bytes_of, items_of

MEGABYTE = 1_000_000


def npy(array, **options) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def npz(compressed=False, **arrays) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


def read(body, max_items=64):
    return items_of(body, max_items, MEGABYTE)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int8", "uint64", "bool", ">f4", "<i2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_items_are_along_the_first_axis_in_the_type_that_was_sent(dtype, order):
    array = np.asarray(np.arange(24).reshape(4, 2, 3).astype(dtype), order=order)
    items = read(npy(array))
    assert [item.dtype for item in items] == [array.dtype] * 4
    np.testing.assert_array_equal(np.stack(items), array)


def test_a_byte_of_a_boolean_is_0_or_1():
    """Others would be other numbers to a model."""
    [item] = read(claims("(1, 4)", b"\x00\x01\x02\xff", "'|b1'"))
    assert item.view(np.uint8).tolist() == [0, 1, 1, 1]


def test_an_item_may_be_a_number():
    assert [float(item) for item in read(npy(np.arange(3.0)))] == [0, 1, 2]


@pytest.mark.parametrize("compressed", [False, True])
def test_several_inputs_are_several_arrays(compressed):
    items = read(npz(compressed, left=np.arange(6).reshape(2, 3), rate=np.array([16, 8])))
    assert [sorted(item) for item in items] == [["left", "rate"]] * 2
    assert (items[1]["left"].tolist(), int(items[1]["rate"])) == ([3, 4, 5], 8)


def header(text: str, version=(1, 0)) -> bytes:
    form = "<H" if version == (1, 0) else "<I"
    return b"\x93NUMPY" + bytes(version) + struct.pack(form, len(text)) + text.encode()


def claims(shape: str, data=b"\0" * 16, descr="'<f4'") -> bytes:
    return header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}") + data


def lying_bomb() -> bytes:
    """A .npz whose one array says that it unpacks to 100 bytes, and unpacks to 30 MB."""
    body = bytearray(npz(True, x=np.zeros(30 * MEGABYTE, np.uint8)))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = body.index(signature)
        body[place + offset : place + offset + 4] = struct.pack("<I", 100)
    return bytes(body)


WRONG = {
    "nothing": (b"", "is no .npy file"),
    "text": (b"[1, 2, 3]", "is no .npy file"),
    "truncated": (npy(np.zeros((4, 4)))[:-1], r"has 127 bytes of data; its header says \(4, 4\) of float64, 128 bytes"),
    "too-long": (npy(np.zeros((4, 4))) + b"0", "has 129 bytes of data"),
    "huge": (claims("(1000000000, 1000000000)"), r"has 16 bytes of data; its header says \(1000000000, 1000000000\)"),
    "negative": (claims("(-1, -4)"), "a shape that no array can have"),
    "negative-alone": (claims("(-4,)"), "a shape that no array can have"),
    "boolean-axis": (claims("(True, 4)"), "a shape that no array can have"),
    "endless": (claims(f"({10**3000}, {10**3000})"), "a shape that no array can have"),
    "endless-product": (claims(f"({'99999999, ' * 9})"), r"16 bytes of data; .* of float32, \d+\.\.\.\d+ bytes$"),
    "no-axis": (npy(np.float32(1)), "has no axis; the first is the items"),
    "many-axes": (claims(f"({'1, ' * 90})", b"\0" * 4), "a shape that no array can have"),
    "very-many-axes": (claims(f"({'99999999, ' * 900})"), "a shape that no array can have"),
    "empty-and-huge": (claims("(0, 10000000000000000000000)", b""), "a shape that no array can have|holds 0 items"),
    "endless-nothing": (claims("(1000000000, 0)", b""), "holds 1000000000 items; from 1 to 64"),
    "no-items": (npy(np.zeros((0, 3))), "holds 0 items; from 1 to 64 are taken"),
    "too-many-items": (npy(np.zeros((65, 1))), "holds 65 items; from 1 to 64 are taken"),
    "pickled": (npy(np.array([{}]), allow_pickle=True), "Python objects, which are not unpickled"),
    "object-claim": (claims("(1,)", b"cos\nsystem\n", "'|O'"), "Python objects, which are not unpickled"),
    "text-array": (npy(np.array(["a"])), "values of the type <U1; numbers and booleans are taken"),
    "complex": (npy(np.array([1j])), "values of the type complex128"),
    "dates": (npy(np.array(["2026"], "M8[Y]")), "values of the type datetime64"),
    "records": (npy(np.zeros(2, [("a", "f4")])), "numbers and booleans are taken"),
    "long-records": (claims("(4,)", descr=f"[('{'n' * 6000}', '<f4')]"), r"the type \[\('n{37}; numbers and booleans"),
    "bad-header": (header("{'descr': '<f4'"), "is no .npy file"),
    "code-header": (claims("__import__('os').getpid()"), "is no .npy file"),
    "bad-type": (claims("(4,)", descr="'nonsense'"), "is no .npy file"),
    "deep-header": (header("(" * 9000 + ")" * 9000), "is no .npy file"),
    "long-header": (header(" " * 60_000), "is no .npy file"),
    "version": (header("{}", (3, 0)), "is no .npy file"),
    "zip-signature": (b"PK\x03\x04 and no more", "is no .npz that can be read: BadZipFile"),
    "zip-of-text": (npz(x=np.zeros(1))[:40] + b"x" * 60, "is no .npz that can be read: BadZipFile"),
    "unequal": (npz(x=np.zeros((2, 1)), y=np.zeros((3, 1))), "different numbers of them: {'x': 2, 'y': 3}"),
    "lone-number": (npz(x=np.zeros((2, 1)), y=np.float32(1)), "y has no axis; the first is the items"),
    "long-name": (npz(**{"n" * 5000: np.float32(1)}), r"^n{12}\.\.\.n{13} has no axis"),
    "pickle-inside": (npz(x=np.array([{}])), r"x.npy holds Python objects"),
    "bomb": (npz(True, x=np.zeros(2 * MEGABYTE)), r"unpacks to 16000128 bytes; 1000000 are taken \(max_body_bytes\)"),
    "lying-bomb": (lying_bomb(), "is no .npz that can be read: BadZipFile|bytes of data; its header says"),
}


@pytest.mark.parametrize(("body", "said"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_read_is_said(body, said):
    with pytest.raises(InvalidInput, match=said):
        read(body)


def test_many_arrays_are_refused():
    with pytest.raises(InvalidInput, match="holds 300 arrays; from 1 to 256 are read"):
        read(npz(**{f"a{i}": np.zeros(1) for i in range(300)}))
    file = io.BytesIO()
    zipfile.ZipFile(file, "w").close()
    with pytest.raises(InvalidInput):
        read(file.getvalue())


def test_a_bomb_takes_no_memory():
    import tracemalloc

    bodies = [lying_bomb(), claims("(1000000000, 100)")]
    tracemalloc.start()
    for body in bodies:
        with pytest.raises(InvalidInput):
            read(body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * MEGABYTE


def test_answers_of_one_output_are_one_array():
    answers = [np.arange(3, dtype=np.float32) + i for i in range(4)]
    found = np.load(io.BytesIO(bytes_of(answers)), allow_pickle=False)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.stack(answers))
    assert np.load(io.BytesIO(bytes_of([1.5, 2.0]))).tolist() == [1.5, 2.0]


def test_answers_of_several_outputs_are_an_archive_by_name():
    """An output may be called as `np.savez` calls its own arguments."""
    answers = [{"file": np.zeros(2, np.float32), "allow_pickle": np.int64(i)} for i in range(3)]
    found = np.load(io.BytesIO(bytes_of(answers)), allow_pickle=False)
    assert {name: (found[name].shape, found[name].dtype.name) for name in found} == {
        "file": ((3, 2), "float32"),
        "allow_pickle": ((3,), "int64"),
    }


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([np.zeros(2), np.zeros(3)], "different shapes"),
        ([{"label": "a"}], "no arrays of numbers"),
        (["a"], "no arrays"),
    ],
    ids=["ragged", "labels", "texts"],
)
def test_answers_that_are_no_array_are_refused(answers, said):
    with pytest.raises(ValueError, match=said):
        bytes_of(answers)
