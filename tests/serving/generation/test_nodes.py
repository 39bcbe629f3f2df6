"""Machines that share a model: their settings, what vLLM is told, and an engine of two processes that is one model."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap

import pytest
from pydantic import ValidationError

from quantbento.serving.generation.nodes import NodeSettings
from quantbento.serving.generation.settings import GenerationSettings
from tests.conftest import ROOT

TWO = {"nodes": 2, "leader": "first.example"}


def test_one_machine_is_told_nothing_of_nodes():
    assert not {"nnodes", "node_rank", "master_addr", "pipeline_parallel_size"} & NodeSettings().arguments().keys()


def test_each_machine_has_its_place_and_the_layers_are_split():
    told = NodeSettings(**TWO, node_rank=1, tensor_parallel_size=4).arguments()
    expected = {"nnodes": 2, "node_rank": 1, "master_addr": "first.example", "pipeline_parallel_size": 2}
    assert told | expected == told
    assert (told["tensor_parallel_size"], told["distributed_executor_backend"]) == (4, "mp")


@pytest.mark.vllm
def test_vllm_has_these_arguments():
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    line = [*NodeSettings(**TWO, node_rank=1).command_line(), "--headless", "--api-server-count", "0"]
    parsed = make_arg_parser(FlexibleArgumentParser()).parse_args(line)
    assert (parsed.nnodes, parsed.node_rank, parsed.master_addr) == (2, 1, "first.example")
    assert parsed.headless is True


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"nodes": 2}, "nodes=2 needs leader"),
        ({"leader": "a"}, "leader='a' has no effect with one machine"),
        ({**TWO, "node_rank": 2}, "node_rank must be from 0 to 1 with nodes=2, not 2"),
    ],
    ids=["no-leader", "no-nodes", "rank"],
)
def test_settings_that_do_not_go_together(given, told):
    with pytest.raises(ValidationError, match=told):
        NodeSettings(**given)


def test_a_service_gives_them_to_the_engine_beside_what_the_model_was_judged_with(monkeypatch):
    for name, value in {"NODES": "2", "NODE_RANK": "1", "LEADER": "10.0.0.1"}.items():
        monkeypatch.setenv(f"QUANTBENTO_{name}", value)
    engine = GenerationSettings.model_validate({}).engine({"max_model_len": 64})
    assert (engine.max_model_len, engine.nodes, engine.node_rank, engine.leader) == (64, 2, 1, "10.0.0.1")


@pytest.mark.vllm
@pytest.mark.slow
def test_two_processes_load_one_model(trained_llama, tmp_path):
    """Both are on this machine, on a CPU: the first is ready when the second has loaded its layers. vLLM 0.32 on CPUs
    computes in one stage only (`sync_and_gather_intermediate_tensors` has no buffers there), so it is asked nothing."""
    script = tmp_path / "node.py"
    script.write_text(textwrap.dedent(NODE))
    environment = {"VLLM_HOST_IP": "127.0.0.1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "GLOO_SOCKET_IFNAME": "lo"}

    def start(*arguments: str) -> subprocess.Popen:
        command = [sys.executable, str(script), str(trained_llama), *arguments]
        given = {"cwd": ROOT, "env": {**os.environ, **environment}, "stdout": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, start_new_session=True, **given)

    worker, leader = start("1"), start("0")
    try:
        assert "both are ready" in leader.communicate(timeout=600)[0].splitlines()
    finally:
        for process in (worker, leader):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with vLLM's own processes
            process.wait()


NODE = """
    import asyncio, sys
    from pathlib import Path

    from quantbento.serving.generation.nodes import NodeSettings
    from quantbento.serving.generation.vllm_process import VLLMProcess
    from quantbento.serving.generation.vllm_worker import run

    folder, rank = Path(sys.argv[1]), int(sys.argv[2])

    if __name__ == "__main__":
        given = {"max_model_len": 128, "kv_cache_gib": 0.1}
        settings = NodeSettings(nodes=2, node_rank=rank, leader="127.0.0.1", **given)
        if rank:
            run(folder, settings)
        else:
            process = VLLMProcess.start(folder, ["tiny"], settings, 64)
            asyncio.run(process.open())
            print("both are ready", flush=True)
            process.stop()
"""
