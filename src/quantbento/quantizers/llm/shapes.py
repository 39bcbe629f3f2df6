"""Whether linear layers' sizes fit a scheme's groups and vLLM's kernels for CPUs: found before weights are read."""

from __future__ import annotations

from quantbento.inputs.checkpoint import CheckpointFacts
from quantbento.quantizers.llm.schemes import Scheme

CPU_MULTIPLE = 32  # vLLM's 4-bit kernels for CPUs need both dimensions of a layer to be a multiple of it


def problems(model: CheckpointFacts, chosen: list[str], scheme: Scheme, group_size: int) -> list[str]:
    """The layers that do not fit: one sentence per reason, which names the first such layer."""
    if scheme.group is not None:
        return _fixed_problems(model, chosen, (scheme.block, scheme.group), scheme.name)
    problems = []
    if group_size in (0, 1):
        problems.append(f"group_size {group_size} makes no groups; use a power of two, or -1 for one scale per row")
    elif group_size > 0:
        uneven = [n for n in chosen if model.linears[n][1] % group_size]
        if uneven:
            widths = sorted({model.linears[n][1] for n in uneven})
            problems.append(
                f"group_size {group_size} does not divide the {', '.join(map(str, widths))} inputs of {uneven[0]!r}"
                f"{_and_more(uneven)}; use {_divisor([model.linears[n][1] for n in chosen])}, or add them to ignore"
            )
    return problems


def cpu_problems(model: CheckpointFacts, chosen: list[str], group_size: int) -> list[str]:
    """What vLLM's 4-bit kernels for CPUs do not take."""
    problems = []
    if group_size > 1 and group_size % 2:
        problems.append(f"group_size {group_size} is odd; vLLM's kernels for CPUs need an even one")
    odd = [n for n in chosen if any(d % CPU_MULTIPLE for d in model.linears[n])]
    if odd:
        out, inputs = model.linears[odd[0]]
        problems.append(
            f"vLLM's kernels for CPUs need dimensions divisible by {CPU_MULTIPLE}; {odd[0]!r}{_and_more(odd)} "
            f"is {out} x {inputs}. Add it to ignore, or serve on a GPU"
        )
    return problems


def _fixed_problems(model: CheckpointFacts, chosen: list[str], sides: tuple[int, int], scheme: str) -> list[str]:
    """The same for a scheme whose groups have a size of their own: (outputs, inputs)."""
    uneven = [n for n in chosen if any(d % s for d, s in zip(model.linears[n], sides, strict=True))]
    if not uneven:
        return []
    out, inputs = model.linears[uneven[0]]
    shared = " x ".join(str(side) for side in sides if side > 1)
    return [
        f"{scheme} has one scale per {shared} weights, which do not divide {uneven[0]!r}{_and_more(uneven)} "
        f"({out} x {inputs}); add it to ignore, or take another scheme"
    ]


def _and_more(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""


def _divisor(inputs: list[int]) -> int:
    """The largest common group size that divides them all; -1 if none does."""
    return next((g for g in (128, 64, 32, 16) if all(i % g == 0 for i in inputs)), -1)
