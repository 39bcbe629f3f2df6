"""Which packages the pickles of an artifact import when they are loaded: custom objects and PyTorch modules hold code
of the user's, which may use any. The pickles are read here, not loaded.

What such code imports inside a function is not seen.
"""

from __future__ import annotations

import pickletools
import sys
from collections.abc import Iterator
from pathlib import Path

from quantbento.core.machine import packages_distributions

IMPORTS = ("cloudpickle.cloudpickle", "subimport")  # how cloudpickle writes a module that code uses


def distributions(folder: Path) -> list[str]:
    """Names of the installed distributions that bring those packages, the standard library and quantbento left out."""
    tops = {name.partition(".")[0] for path in folder.glob("*.pkl") for name in modules(path)}
    brought = packages_distributions()
    return sorted({brought[top][0] for top in tops - {*sys.stdlib_module_names, "quantbento"} if top in brought})


def modules(path: Path) -> Iterator[str]:
    """Modules by their dotted names, as a pickle names them; some twice."""
    memo: list[object] = []
    pushed: list[object] = [None, None]  # the last values: texts, classes and functions as (module, name), else None
    with path.open("rb") as file:
        for operation, argument, _ in pickletools.genops(file):
            match operation.name:
                case "MEMOIZE":
                    memo.append(pushed[-1])
                    continue
                case "FRAME" | "PROTO":
                    continue
                case "SHORT_BINUNICODE" | "BINUNICODE":
                    value: object = argument
                case "BINGET" | "LONG_BINGET":
                    value = memo[int(argument or 0)]
                case "GLOBAL":
                    value = tuple(str(argument).split(" ", 1))
                case "STACK_GLOBAL":
                    value = (pushed[-2], pushed[-1])
                case "TUPLE1":
                    if pushed[-2] == IMPORTS and isinstance(pushed[-1], str):
                        yield pushed[-1]
                    value = None
                case _:
                    value = None
            if isinstance(value, tuple) and isinstance(value[0], str):
                yield value[0]
            pushed = [pushed[-1], value]
