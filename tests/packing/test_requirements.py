"""A list of packages is completed by what is installed here, and stays complete."""

from __future__ import annotations

import importlib.metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from quantbento.core.errors import QuantbentoError
from quantbento.packing import requirements
from quantbento.packing.build_files import pinned
from quantbento.packing.requirements import added, of_library
from tests.conftest import ROOT

ONNX = (ROOT / "configs/bentos/requirements/onnx.txt").read_text().splitlines()
INSTALLED = {
    "images": ("3.1+local", ["decoder>=2,<3", "shared[fast]>=1", "only-there; sys_platform == 'nowhere'"]),
    "decoder": ("2.5", ["images", "quantbento"]),
    "shared": ("1.2", ["speed; extra == 'fast'", "slow; extra == 'slow'"]),
    "speed": ("9.0", []),
}


@pytest.fixture
def installed(monkeypatch):
    def version(name):
        if name not in INSTALLED:
            raise importlib.metadata.PackageNotFoundError(name)
        return INSTALLED[name][0]

    monkeypatch.setattr(requirements, "version", version)
    monkeypatch.setattr(requirements, "requires", lambda name: INSTALLED[name][1])


def test_all_that_is_needed_comes_along_in_the_versions_installed_here(installed):
    assert added([], ["Images"]) == ["decoder==2.5", "images==3.1", "shared==1.2", "speed==9.0"]


def test_what_the_list_has_stays_as_it_is(installed):
    assert added(["images==2"], ["images"]) == []
    assert added(["shared==1.1"], ["images"]) == ["decoder==2.5", "images==3.1"]


def test_a_version_that_does_not_fit_is_an_error(installed):
    with pytest.raises(QuantbentoError, match=r"decoder<3,>=2 is needed, and the list of packages has decoder 1\.9"):
        added(["decoder==1.9"], ["images"])


def test_a_package_that_is_not_installed_is_named(installed):
    with pytest.raises(QuantbentoError, match="'absent' is needed and not installed; run: pip install absent"):
        added([], ["absent"])


def test_the_list_of_a_runtime_is_complete_for_the_library_itself():
    names = of_library()
    assert {"bentoml", "numpy", "pydantic"} <= set(names)
    assert added(ONNX, names) == []


def test_a_real_package_brings_what_it_needs():
    lines = added(ONNX, ["scikit-learn"])
    new = pinned(lines)
    assert {"scikit-learn", "scipy"} <= new.keys()
    assert lines == [f"{name}=={version}" for name, version in sorted(new.items())]
    everything = {**pinned(ONNX), **new}
    for name in new:
        needed = [Requirement(line) for line in importlib.metadata.requires(name) or []]
        for requirement in needed:
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                assert requirement.specifier.contains(everything[canonicalize_name(requirement.name)])
