"""`bento.yaml` is read in one place, and an image of any runtime has the packages for that."""

from __future__ import annotations

import subprocess
import sys

import pytest
import yaml

from quantbento.core.errors import StoreError
from quantbento.store.bento_description import BentoDescription, EntryService
from tests.stored_bento import GPU, write_bento


def written(tmp_path, **document) -> BentoDescription:
    """What is read from a Bento's folder, with some keys of its description changed."""
    write_bento(tmp_path, "my-llm:v7", GPU, timeout=45.5, service="TextGeneration", runtime="vllm")
    file = tmp_path / "my-llm" / "v7" / "bento.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | document))
    return BentoDescription.read(file.parent)


def service(name: str, *models: str) -> dict:
    return {"name": name, "models": [{"tag": tag} for tag in models], "config": {"resources": {"cpu": name}}}


def test_what_bentoml_wrote_is_read(tmp_path):
    bento = written(tmp_path, envs=[{"name": "A", "value": "1"}, {"name": "B", "value": None}])
    assert bento == BentoDescription(
        name="my-llm",
        version="v7",
        service="service:TextGeneration",
        entry=EntryService("TextGeneration", GPU, 45.5),
        models=("my-model:0a1b",),
        labels={"runtime": "vllm"},
        environment={"A": "1", "B": ""},
    )
    assert bento.tag == "my-llm:v7"


def test_the_entry_service_is_the_one_that_is_named_and_its_models_come_first(tmp_path):
    services = [service("Other", "shared:1", "other:1"), service("Mine", "mine:1", "shared:1")]
    bento = written(tmp_path, services=services, entry_service="Mine")
    assert (bento.entry.name, bento.entry.resources) == ("Mine", {"cpu": "Mine"})
    assert bento.models == ("mine:1", "shared:1", "other:1")


@pytest.mark.parametrize("entry_service", ["None of them", ""])
def test_without_the_one_that_is_named_the_first_is_the_entry(tmp_path, entry_service):
    bento = written(tmp_path, services=[service("One", "one:1"), service("Two")], entry_service=entry_service)
    assert (bento.entry.name, bento.models) == ("One", ("one:1",))


@pytest.mark.parametrize("services", [[], None], ids=["empty", "null"])
def test_without_services_there_is_nothing_to_say(tmp_path, services):
    bento = written(tmp_path, services=services, labels=None, envs=None)
    assert (bento.entry, bento.models, bento.labels, bento.environment) == (EntryService("", {}, None), (), {}, {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: [", "ParserError"),
        ("", "AttributeError"),
        ("services: []\nversion: v1", "KeyError: 'name'"),
        ("name: a\nversion: v1\nservices: [{models: [{}]}]", "KeyError: 'tag'"),
        (None, "FileNotFoundError"),
    ],
    ids=["no-yaml", "empty", "no-name", "no-tag", "no-file"],
)
def test_a_damaged_one_is_told_with_its_file_and_the_next_command(tmp_path, text, said):
    file = tmp_path / "bento.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(StoreError) as raised:
        BentoDescription.read(tmp_path)
    assert str(raised.value).startswith(f"{file} is damaged or missing ({said}")
    assert str(raised.value).endswith("Build the Bento again: quantbento build")


def test_reading_one_needs_nothing_that_builds_bentos():
    code = "import sys, quantbento.store.bento_description; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "yaml" in loaded
    assert not loaded & {"jinja2", "cyclonedx", "packaging", "packageurl", "torch", "onnxruntime", "transformers"}
    assert not [name for name in loaded if name.startswith("quantbento.packing")]
