"""The SBOM is CycloneDX 1.6 and names everything that is in the Bento."""

from __future__ import annotations

import json
import sys

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from quantbento.core.errors import QuantbentoError
from quantbento.packing import sbom
from tests.built_bento import built_encoder, built_for_a_gpu


@pytest.fixture(params=["encoder", "gpu"])
def contents(request, tmp_path_factory):
    if request.param == "gpu":
        return built_for_a_gpu(tmp_path_factory.getbasetemp())
    return built_encoder(request.getfixturevalue("served_home"))


@pytest.fixture
def written(contents):
    """What the build wrote."""
    return json.loads((contents.path / sbom.NAME).read_text())


@pytest.mark.slow
def test_it_is_valid(contents):
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str((contents.path / sbom.NAME).read_text()) is None


@pytest.mark.slow
def test_it_names_the_bento(contents, written):
    assert (written["bomFormat"], written["specVersion"]) == ("CycloneDX", "1.6")
    root = written["metadata"]["component"]
    assert (root["type"], root["name"], root["version"]) == ("application", contents.bento.name, contents.bento.version)


@pytest.mark.slow
def test_it_has_every_package(contents, written):
    python = [c for c in written["components"] if c.get("purl", "").startswith("pkg:pypi/")]
    assert {c["name"]: c["version"] for c in python} == contents.packages
    assert {c["purl"] for c in python} == {f"pkg:pypi/{n}@{v}" for n, v in contents.packages.items()}


@pytest.mark.slow
def test_it_has_every_model_with_its_digest_and_scheme(contents, written):
    found = [c for c in written["components"] if c["type"] == "machine-learning-model"]
    [model] = contents.models
    assert [f"{c['name']}:{c['version']}" for c in found] == [model.stored.tag]
    assert found[0]["hashes"] == [{"alg": "SHA-256", "content": model.digest.removeprefix("sha256:")}]
    assert found[0]["properties"] == [{"name": "quantbento:scheme", "value": model.scheme}]
    assert model.scheme


@pytest.mark.slow
def test_it_has_every_system_package(contents, written):
    found = {c["purl"] for c in written["components"] if c.get("purl", "").startswith("pkg:deb/")}
    assert found == {f"pkg:deb/{name}" for name in contents.image.get("system_packages") or []}


@pytest.mark.slow
def test_the_bento_depends_on_all_of_it(contents, written):
    [of_the_bento] = [d for d in written["dependencies"] if d["ref"] == contents.tag]
    assert set(of_the_bento["dependsOn"]) == {c["bom-ref"] for c in written["components"]}
    count = len(contents.packages) + len(contents.models) + len(contents.image.get("system_packages") or [])
    assert len(written["components"]) == count


@pytest.mark.slow
def test_two_of_one_bento_differ_in_serial_number_and_time_only(contents, written):
    again = json.loads(sbom.render(contents))
    assert again["serialNumber"] != written["serialNumber"]
    for document in (again, written):
        del document["serialNumber"], document["metadata"]["timestamp"]
    assert again == written


@pytest.mark.slow
def test_writing_it_again_leaves_no_other_file(contents):
    before = sorted(contents.path.iterdir())
    assert sbom.write(contents) == contents.path / sbom.NAME
    assert sorted(contents.path.iterdir()) == before


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["cyclonedx", "packageurl"])
def test_a_missing_package_is_one_error_that_says_what_to_install(contents, monkeypatch, missing):
    before = (contents.path / sbom.NAME).read_bytes()
    monkeypatch.setitem(sys.modules, missing, None)  # as if it could not be found
    with pytest.raises(QuantbentoError) as raised:
        sbom.write(contents)
    assert str(raised.value) == (
        f"an SBOM needs the package {missing!r}, which is not installed; run: pip install 'quantbento[pack]'"
    )
    assert (contents.path / sbom.NAME).read_bytes() == before
