"""BentoML's worker for every service at once, forked from one process that has imported everything: eight
`bentoml serve` take a minute of one core to start, these take seconds.

    python tests/service/every_worker.py '{"Embedding": {"QUANTBENTO_THREADS": "1"}}' FOLDER

takes settings of each service, and a folder for their logs. It writes one line, {service: {"port", "pid"}}, and ends
its workers when its input ends.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import sys
from pathlib import Path

SLOW = (
    *("torch", "transformers.models.auto", "transformers.models.llama.modeling_llama", "uvicorn"),
    *("_bentoml_impl.server.app", "_bentoml_impl.worker.service"),
    *("quantbento.serving.middleware", "quantbento.serving.model", "quantbento.serving.generation.model"),
)


def main() -> None:
    settings, logs = json.loads(sys.argv[1]), Path(sys.argv[2])
    metrics = logs / "metrics"  # as `bentoml serve` has it; asked for when prometheus_client is imported
    metrics.mkdir()
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(metrics)
    _import_what_is_slow()
    started = {}
    for name, environment in settings.items():
        listening = socket.create_server(("127.0.0.1", 0))
        if (pid := os.fork()) == 0:
            os.environ.update(environment)
            _become_worker(name, listening, logs / f"{name}.log")
        started[name] = {"port": listening.getsockname()[1], "pid": pid}
        listening.close()
    print(json.dumps(started), flush=True)
    sys.stdin.read()
    for worker in started.values():
        os.kill(worker["pid"], signal.SIGTERM)
    for worker in started.values():
        os.waitpid(worker["pid"], 0)


def _import_what_is_slow() -> None:
    """Nothing of it reads settings or starts a thread."""
    for name in SLOW:
        importlib.import_module(name)


def _become_worker(name: str, listening: socket.socket, log: Path) -> None:
    from _bentoml_impl.worker.service import main as worker

    with log.open("wb") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    os.close(0)
    os.set_inheritable(listening.fileno(), True)
    arguments = [f"service:{name}", "--fd", str(listening.detach()), "--worker-id", "1", "--args", "{}"]
    try:
        worker(arguments, standalone_mode=False)
    finally:
        os._exit(0)


if __name__ == "__main__":
    main()
