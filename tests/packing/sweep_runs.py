"""A rendered Job's container, as a process of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


def run_job(manifest: dict, results: Path, script: str | None = None) -> None:
    """Runs what the container runs, or another script in its environment. `results` takes the place of the volume."""
    [container] = manifest["spec"]["template"]["spec"]["containers"]
    environment: dict[str, str] = {}
    for entry in container["env"]:
        value = entry["value"].replace("$(VARIANT)", environment.get("VARIANT", ""))
        environment[entry["name"]] = value.replace("/results", str(results))
    for name in ("BENTOML_HOME", "XDG_STATE_HOME"):
        Path(environment[name]).mkdir(parents=True, exist_ok=True)
    if script:
        environment["BENTOML_HOME"] += "-own"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = [*container["command"], script] if script else [*container["command"], *container["args"]]
    given = os.environ | environment | {"PATH": path, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
