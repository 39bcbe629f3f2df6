"""A file's tensors are read and counted by type; what fell back or is unknown is said."""

from __future__ import annotations

import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.quantizers.gguf import contents
from quantbento.quantizers.gguf.contents import Contents, Tensor
from tests.gguf_files import write_gguf

FOUR = Tensor("a", "Q4_K", (256, 4), 1024, 576)
SIX = Tensor("b", "Q6_K", (256, 2), 512, 420)
FLOAT = Tensor("c", "F16", (250, 2), 500, 1000)
NORM = Tensor("norm", "F32", (256,), 256, 1024)


def test_tensors_are_counted_by_type():
    done = contents.count(Contents([FOUR, NORM, SIX, FOUR, FLOAT], ("llama", "default")), [])
    assert done.counts == {"Q4_K tensors": 2, "Q6_K tensors": 1}
    assert (done.quantized_parameters, done.parameters) == (2560, 3316)
    assert done.left_out == ["c"]
    assert done.weight_ratio == pytest.approx(1572 / 5120)
    assert done.notes == []


def test_what_fell_back_and_an_unknown_tokenizer_are_noted():
    done = contents.count(Contents([FOUR, SIX], ("gpt2", "default")), ["a is 100 wide", "b is 100 wide"])
    assert done.notes[0] == "2 of 2 tensors fell back to another type: a is 100 wide"
    assert "does not know this tokenizer" in done.notes[1]
    assert contents.count(Contents([FOUR], ("gpt2", "llama-bpe")), []).notes == []


def test_a_file_without_quantized_tensors_is_refused():
    with pytest.raises(QuantbentoError, match="nothing"):
        contents.count(Contents([FLOAT, NORM], ("llama", "default")), [])


def test_a_file_is_read(trained_llama, tmp_path):
    write_gguf(trained_llama, tmp_path / "model.gguf", pre="llama-bpe")
    found = contents.read(tmp_path / "model.gguf")
    tensors = {t.name: t for t in found.tensors}
    assert found.tokenizer == ("gpt2", "llama-bpe")
    assert len(tensors) == 2 * 9 + 3
    assert tensors["blk.1.ffn_up.weight"] == Tensor("blk.1.ffn_up.weight", "F32", (256, 512), 131072, 524288)
