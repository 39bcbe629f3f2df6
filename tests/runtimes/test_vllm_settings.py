"""One set of settings, as vLLM's Python arguments and as its command line."""

from __future__ import annotations

from dataclasses import fields

import pytest
from pydantic import ValidationError

from quantbento.runtimes import vllm_settings
from quantbento.runtimes.vllm_settings import GIB, EngineSettings


@pytest.fixture(params=["cpu", "gpu"])
def device(request, monkeypatch) -> str:
    monkeypatch.setattr(vllm_settings, "runs_on_cpu", lambda: request.param == "cpu")
    return request.param


def test_only_a_cpu_runs_eagerly_with_a_cache_of_its_own_size(device):
    arguments = EngineSettings().arguments()
    own = {"enforce_eager": True, "kv_cache_memory_bytes": GIB} if device == "cpu" else {}
    assert arguments == {"dtype": "auto", "kv_cache_dtype": "auto", "tensor_parallel_size": 1} | own


def test_memory_is_given_in_one_way(device):
    assert EngineSettings(kv_cache_gib=0.5).arguments()["kv_cache_memory_bytes"] == GIB // 2
    shared = EngineSettings(gpu_memory_utilization=0.4).arguments()
    assert shared["gpu_memory_utilization"] == 0.4
    assert "kv_cache_memory_bytes" not in shared
    with pytest.raises(ValidationError, match="kv_cache_gib or gpu_memory_utilization"):
        EngineSettings(kv_cache_gib=0.5, gpu_memory_utilization=0.4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_model_len": 0},
        {"gpu_memory_utilization": 1.5},
        {"tensor_parallel_size": 0},
        {"dtype": "int4"},
        {"kv_cache_dtype": "int3"},
        {"kv_cache_gib": 0},
        {"max_num_sequences": 3},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_wrong_setting_is_named(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        EngineSettings(**wrong)


@pytest.mark.vllm
def test_vllm_reads_the_command_line_as_the_arguments():
    from vllm.engine.arg_utils import EngineArgs
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    settings = EngineSettings(max_model_len=512, max_num_seqs=8, kv_cache_gib=0.25, dtype="bfloat16")
    parsed = EngineArgs.add_cli_args(FlexibleArgumentParser()).parse_args(settings.command_line())
    arguments = settings.arguments()
    assert {name: getattr(parsed, name) for name in arguments} == arguments
    assert set(arguments) <= {field.name for field in fields(EngineArgs)}


def test_the_arguments_for_another_machine_go_by_its_vllm():
    on_gpu, on_cpu = (EngineSettings(max_model_len=64).arguments(on_cpu=on_cpu) for on_cpu in (False, True))
    assert on_cpu.keys() - on_gpu.keys() == {"enforce_eager", "kv_cache_memory_bytes"}
    assert "--enforce-eager" not in EngineSettings().command_line(on_cpu=False)
