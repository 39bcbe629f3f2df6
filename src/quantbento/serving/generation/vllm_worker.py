"""A machine that computes its share of a model and answers nobody. In a Bento's folder `src`:

    python -m quantbento.serving.generation.vllm_worker

It loads the Bento's service as BentoML does, for its settings and its model, checks both as the service would, and
runs what `vllm serve --headless` runs, with the engine settings that the first machine has. `QUANTBENTO_NODES`,
`QUANTBENTO_NODE_RANK` and `QUANTBENTO_LEADER` say which machine this is.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from quantbento.core.errors import QuantbentoError
from quantbento.runtimes import artifact
from quantbento.serving.errors import CannotServe
from quantbento.serving.generation.model import ServedLanguageModel
from quantbento.serving.generation.nodes import NodeSettings


def served_by(service: Any) -> ServedLanguageModel:
    """The model behind a loaded BentoML service.

    Raises:
        CannotServe: it generates no text.
    """
    served = getattr(service.inner, "served", None)
    if not isinstance(served, ServedLanguageModel):
        raise CannotServe(f"the service {service.name} generates no text; only language models are shared by machines")
    return served


def engine_of(served: ServedLanguageModel) -> NodeSettings:
    """The engine's settings on this machine.

    Raises:
        CannotServe: a setting is wrong, the model is missing, damaged, or for another runtime.
    """
    served.preflight()
    served.check_signature(served.stored)
    description = artifact.describe(served.stored.path)
    if description["runtime"] != "vllm":
        raise CannotServe(f"{served.stored.tag} runs on {description['runtime']}; only vLLM shares a model")
    settings = served.settings.engine(description["runtime_config"].get("engine", {}))
    if settings.node_rank == 0:
        raise CannotServe(
            "node_rank=0 is the machine that answers requests, by bentoml serve; the others have "
            "QUANTBENTO_NODE_RANK from 1, beside QUANTBENTO_NODES and QUANTBENTO_LEADER"
        )
    return settings


def run(folder: Path, settings: NodeSettings) -> None:
    """Computes until the first machine is gone. `folder` is the model, in hub format."""
    os.environ.update(settings.environment())
    from vllm.entrypoints.cli.serve import run_headless
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    # Not `vllm serve` itself: it asks for the version of the distribution `vllm`, which its build for CPUs is not.
    line = ["--model", str(folder), *settings.command_line(folder), "--headless", "--api-server-count", "0"]
    run_headless(make_arg_parser(FlexibleArgumentParser()).parse_args(line))


def main() -> None:
    import bentoml
    from bentoml.exceptions import BentoMLException

    try:
        served = served_by(bentoml.load(str(Path.cwd().parent)))
        settings = engine_of(served)
    except (BentoMLException, QuantbentoError) as error:
        sys.exit(f"error: {error}")
    run(served.stored.path, settings)


if __name__ == "__main__":
    main()
