"""Where a model runs. Devices have PyTorch's names: `cpu`, `cuda` (NVIDIA), `xpu` (Intel's GPUs), and `cuda:1` for the
second of a kind."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Annotated

from pydantic import AfterValidator

from quantbento.core import machine
from quantbento.core.errors import QuantbentoError

AUTO = "auto"
ALLOWED = (AUTO, "cpu", "cuda", "cuda:N", "xpu", "xpu:N")
GPUS = ("cuda", "xpu")


def _checked(device: str) -> str:
    if not re.fullmatch(r"auto|cpu|(cuda|xpu)(:\d+)?", device):
        raise ValueError(f"there is no such device; allowed: {', '.join(ALLOWED)}")
    return device


Device = Annotated[str, AfterValidator(_checked)]
Problem = Callable[[str], str | None]  # why an engine cannot use a device here; None where it can


def kind_of(device: str) -> str:
    """`cuda` of `cuda:1`."""
    return device.partition(":")[0]


def index_of(device: str) -> int:
    """1 of `cuda:1`; 0 where no number is given."""
    return int(device.partition(":")[2] or 0)


def choose(asked: str, able: Sequence[str], problem: Problem, what: str) -> str:
    """The device that `what` runs on.

    Args:
        asked: `auto` is a GPU where there is one and it can be used, else the CPU.
        able: the kinds of devices that can run it.
        problem: asks the engine. It is only asked about kinds in `able`.

    Raises:
        QuantbentoError: it cannot run there, with what helps.
    """
    if asked == AUTO:
        gpus = [kind for kind in able if kind in GPUS and kind in machine.devices()]
        if usable := [kind for kind in gpus if problem(kind) is None]:
            return usable[0]
        asked = gpus[0] if gpus and "cpu" not in able else "cpu"
    if kind_of(asked) not in able:
        here = ", ".join(sorted(machine.devices()))
        raise QuantbentoError(f"{what} runs on {', '.join(able)}, not on {asked} (this machine has {here})")
    if told := problem(asked):
        raise QuantbentoError(f"{what} cannot run on {asked}: {told}")
    return asked


def torch_problem(device: str) -> str | None:
    """Why PyTorch as it is installed cannot use a device, and what helps; None where it can."""
    if kind_of(device) != "cuda":
        return None
    import torch

    if torch.version.cuda is None:
        return f"PyTorch {torch.__version__} is a build without CUDA; install one with it (https://pytorch.org)"
    count = torch.cuda.device_count()
    if count == 0:
        return f"PyTorch {torch.__version__} finds no NVIDIA GPU; look at what nvidia-smi lists"
    return None if index_of(device) < count else f"PyTorch finds {count}, counted from cuda:0"
