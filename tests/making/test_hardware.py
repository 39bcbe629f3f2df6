"""What instruction sets mean, and where there is room."""

from __future__ import annotations

import subprocess

import pytest

from quantbento.core import machine
from quantbento.making import hardware


@pytest.mark.parametrize(
    ("flags", "int8", "bf16"),
    [
        (
            ["avx2", "avx512_vnni", "avx512_bf16"],
            "VNNI: INT8 is fast and exact",
            "avx512_bf16: bfloat16 is about twice",
        ),
        (["avx2", "avx_vnni"], "VNNI: INT8 is fast and exact", "no bfloat16 instructions: bfloat16 is slower"),
        (["avx2", "avx512_vnni", "amx_int8", "amx_bf16"], "AMX (amx_int8): INT8 is fast and exact", "amx_bf16: "),
        (["avx2", "avx512f"], "AVX2 without VNNI: products of 8-bit numbers saturate", "no bfloat16 instructions"),
        (["asimddp", "i8mm", "bf16"], "dot products (asimddp, i8mm): INT8 is fast", "bf16: bfloat16 is about twice"),
        ([], "no INT8 instructions that are known here", "no bfloat16 instructions"),
    ],
    ids=["vnni", "avx-vnni", "amx", "avx2", "arm", "unknown"],
)
def test_what_instructions_mean(flags, int8, bf16):
    assert hardware.int8(flags).startswith(int8)
    assert hardware.bf16(flags).startswith(bf16)
    assert ("reduce_range: true" in hardware.int8(flags)) is machine.saturates(flags)


def test_this_machine(monkeypatch):
    found = hardware.look()
    assert found.cores == machine.default_threads()
    assert found.memory_bytes == machine.memory_bytes()
    monkeypatch.setattr(machine, "memory_bytes", lambda: 8_200_000_000)
    monkeypatch.setattr(machine, "default_threads", lambda: 1)
    monkeypatch.setattr(machine, "devices", lambda: {"cpu", "cuda"})
    monkeypatch.setattr(machine, "gpus", lambda: ["NVIDIA L4, 23034 MiB"])
    assert str(hardware.look()).endswith(", 1 core, 8 GB of memory, NVIDIA L4, 23034 MiB")
    monkeypatch.setattr(machine, "memory_bytes", lambda: None)
    monkeypatch.setattr(machine, "devices", lambda: {"cpu"})
    assert str(hardware.look()).endswith(", 1 core, memory unknown, no GPU")


def test_gpus_are_those_that_nvidia_smi_lists(monkeypatch):
    def lists(command, **settings):
        assert command[0] == "nvidia-smi"
        return subprocess.CompletedProcess(command, 0, "NVIDIA L4, 23034 MiB\nNVIDIA L4, 23034 MiB\n", "")

    monkeypatch.setattr(machine.subprocess, "run", lists)
    assert machine.gpus() == ["NVIDIA L4, 23034 MiB"] * 2

    def fails(command, **settings):
        raise FileNotFoundError(command[0])

    monkeypatch.setattr(machine.subprocess, "run", fails)
    assert machine.gpus() == []


def test_room_in_folders_that_are_not_there_yet(tmp_path, bento_home, monkeypatch):
    monkeypatch.setattr(hardware, "models_path", lambda: tmp_path / "a" / "b")
    temporary, store = hardware.disks()
    assert store.path == tmp_path / "a" / "b"
    assert store.free_bytes > 0 < temporary.free_bytes
    assert not (tmp_path / "a").exists()
