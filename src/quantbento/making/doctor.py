"""What can run here: every quantizer, runtime and device, and what is missing for those that cannot."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import requires
from typing import Any, Literal

from packaging.requirements import Requirement

from quantbento import __version__
from quantbento.core import machine, registry
from quantbento.core.errors import QuantbentoError, one_of
from quantbento.making import hardware
from quantbento.making.hardware import Disk, Hardware
from quantbento.runtimes.artifact import installs

OWN = "quantbento"


@dataclass(frozen=True)
class Part:
    """A quantizer, runtime or device. `told` says what it does here, or why it cannot run; `command` is what helps."""

    kind: Literal["quantizer", "runtime", "device"]
    name: str
    runs: bool
    told: str
    command: str = ""


@dataclass(frozen=True)
class Examination:
    """What was found. `problems` are versions of installed packages that this project was not made for."""

    software: str
    hardware: Hardware
    int8: str
    bf16: str
    disks: list[Disk]
    parts: list[Part] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def anything_runs(self) -> bool:
        """Whether at least one quantizer can be used; each needs a runtime that runs."""
        return any(part.runs for part in self.parts if part.kind == "quantizer")


def examine() -> Examination:
    """Looks at this machine and its packages, without importing an engine."""
    here = hardware.look()
    int8, bf16 = hardware.int8(here.cpu_flags), hardware.bf16(here.cpu_flags)
    parts = [*_parts("quantizer"), *_parts("runtime"), *_devices(here)]
    software = f"{OWN} {__version__}, Python {platform.python_version()}"
    return Examination(software, here, int8, bf16, hardware.disks(), parts, version_problems())


def why_not(declared: Any) -> tuple[str, str] | None:
    """Why a quantizer or a runtime cannot run here, and the command that helps; None if it can."""
    if missing := machine.missing_packages(declared.modules):
        return f"needs {', '.join(missing)}, not installed", f"pip install {installs(declared, ' '.join(missing))}"
    if not (here := machine.devices()) & set(declared.devices):
        return f"needs a device of the kind {one_of(declared.devices)}; this machine has {one_of(sorted(here))}", ""
    return None


def version_problems() -> list[str]:
    """Installed packages whose version is outside the range that this project declares, with the command for each."""
    problems = []
    for line in requires(OWN) or ():
        wanted = Requirement(line)
        installed = machine.package_versions([wanted.name]).get(wanted.name)
        if installed is None or wanted.name == OWN or wanted.specifier.contains(installed, prereleases=True):
            continue
        problems.append(
            f"{wanted.name} {installed} is installed; this project is made for {wanted.name}{wanted.specifier}; "
            f"run: pip install '{wanted.name}{wanted.specifier}'"
        )
    return list(dict.fromkeys(problems))


def _parts(kind: Literal["quantizer", "runtime"]) -> Iterator[Part]:
    for name in registry.names(kind):
        try:
            found = registry.lookup(kind, name)
            yield _quantizer(name, found) if kind == "quantizer" else _runtime(name, found)
        except QuantbentoError as error:  # of another package, whose import can fail
            yield Part(kind, name, False, str(error))


def _runtime(name: str, runtime: Any) -> Part:
    if reason := why_not(runtime):
        return Part("runtime", name, False, *reason)
    versions = machine.package_versions(runtime.distributions)
    return Part("runtime", name, True, ", ".join(f"{package} {version}" for package, version in versions.items()))


def _quantizer(name: str, quantizer: Any) -> Part:
    if reason := why_not(quantizer):
        return Part("quantizer", name, False, *reason)
    runtimes = {runtime: why_not(registry.runtime(runtime)) for runtime in quantizer.runtimes}
    if not (running := [runtime for runtime, reason in runtimes.items() if reason is None]):
        runtime, reason = next(iter(runtimes.items()))
        assert reason is not None
        return Part("quantizer", name, False, f"its runtime {runtime} {reason[0]}", reason[1])
    told = f"{quantizer.scheme}, served by {', '.join(running)}"
    later = quantizer.made_on_first_use()
    return Part("quantizer", name, True, f"{told}; {later}" if later else told)


def _devices(here: Hardware) -> Iterator[Part]:
    yield Part("device", "cpu", True, here.cpu)
    if "cuda" not in machine.devices():
        yield Part("device", "cuda", False, "no NVIDIA driver")
    elif machine.package_versions(["torch"]).get("torch", "").endswith("+cpu"):
        told = "there is a driver, but this PyTorch is built for CPUs"
        torch = next(wanted for wanted in map(Requirement, requires(OWN) or ()) if wanted.name == "torch")
        yield Part("device", "cuda", False, told, f"pip install --force-reinstall 'torch{torch.specifier}'")
    else:
        yield Part("device", "cuda", True, ", ".join(here.gpus) or "there is a driver; nvidia-smi lists no GPU")
