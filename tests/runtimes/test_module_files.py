"""Each kind of module is written, read back, and answers the same; no file says where it was made."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
import torch

from quantbento.inputs.model_files import read_exported, read_torchscript
from quantbento.runtimes import module_files
from quantbento.runtimes.torch import TorchRuntime
from tests import model_files
from tests.conftest import ROOT
from tests.jobs import job_of, numbers

READ = {
    "pickled": lambda folder: model_files.small(),
    "torchscript": lambda folder: read_torchscript(model_files.torchscript(folder)),
    "exported": lambda folder: read_exported(model_files.exported(folder)),
}


@pytest.fixture(params=READ)
def module(request, tmp_path):
    return READ[request.param](tmp_path)


def test_a_module_is_read_back_as_it_was(module, tmp_path):
    folder = tmp_path / "artifact"
    folder.mkdir()
    module_files.save(module, folder)
    assert len(list(folder.iterdir())) == 1
    batch = {"x": numbers(5, 16), "shift": numbers(5, 1)}
    found = TorchRuntime.load(folder, {"output_names": ["scores", "best"]}, threads=1).run(batch)
    with torch.inference_mode():
        expected = model_files.small()(**{name: torch.from_numpy(value) for name, value in batch.items()})
    np.testing.assert_allclose(found["scores"], expected["scores"].numpy(), rtol=1e-6)
    np.testing.assert_array_equal(found["best"], expected["best"].numpy())
    assert found["best"].dtype == np.int64


def test_no_file_names_a_folder_of_this_machine(module, tmp_path):
    folder = tmp_path / "artifact"
    folder.mkdir()
    module_files.save(module, folder)
    [path] = folder.iterdir()
    parts = [path.read_bytes()]
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            parts = [archive.read(name) for name in archive.namelist()]
    assert not any(str(ROOT).encode() in part for part in parts)


def test_the_inputs_that_a_program_was_exported_with_do_not_go_along(tmp_path):
    class Same(torch.nn.Module):
        def forward(self, x):
            return x * 2

    secret = torch.full((3, 4), 12345.678)
    torch.export.save(torch.export.export(Same(), (secret,)), tmp_path / "own.pt2")
    assert _holds(tmp_path / "own.pt2", secret)
    folder = tmp_path / "artifact"
    folder.mkdir()
    module_files.save(read_exported(tmp_path / "own.pt2"), folder)
    assert not _holds(folder / "model.pt2", secret)


def _holds(path, tensor) -> bool:
    with zipfile.ZipFile(path) as archive:
        parts = [archive.read(name) for name in archive.namelist()]
    return any(tensor[0].numpy().tobytes() in part for part in parts)


def test_a_program_s_arguments_go_by_name_and_what_was_no_tensor_stays():
    class Mixed(torch.nn.Module):
        def forward(self, a, factor: float, pair, *, last):
            return a * factor + pair[0] - pair[1] + last

    one = torch.ones(2, 3)
    given = [one.clone() for _ in range(4)]
    program = torch.export.export(Mixed(), (given[0], 2.0, given[1:3]), {"last": given[3]})
    module = module_files.exported_module(program)
    assert list(module.input_names) == ["a", "pair_0", "pair_1", "last"]
    named = {"last": one, "a": one * 10, "pair_1": one, "pair_0": one * 5}
    assert torch.equal(module(**named), torch.full((2, 3), 25.0))
    assert module_files.program_of(module) is program
    assert module_files.program_of(Mixed()) is None


@pytest.mark.parametrize("kind", ["pickled", "torchscript"])
def test_bf16_is_made_of_what_can_be_cast(kind, tmp_path):
    job = job_of(READ[kind](tmp_path), model_files.samples(), tmp_path)
    config = TorchRuntime.write_reference(job, tmp_path, "bfloat16")
    batch = {"x": numbers(5, 16), "shift": numbers(5, 1)}
    found = TorchRuntime.load(tmp_path, config, threads=1).run(batch)["scores"]
    assert found.dtype == np.float32
    with torch.inference_mode():
        expected = model_files.small()(**{name: torch.from_numpy(value) for name, value in batch.items()})["scores"]
    assert 0 < np.abs(found - expected.numpy()).max() < 0.1


def test_a_program_has_no_bf16_reference(tmp_path):
    job = job_of(READ["exported"](tmp_path), model_files.samples(), tmp_path)
    assert TorchRuntime.write_reference(job, tmp_path / "none", "bfloat16") is None
