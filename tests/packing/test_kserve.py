"""A Bento's model on KServe: the rendered LLMInferenceService, and the command that its pods get."""

from __future__ import annotations

import json
import shlex

import pytest
import yaml
from jsonschema import ValidationError

from quantbento import store as models
from quantbento.core.errors import QuantbentoError
from quantbento.runtimes import artifact
from quantbento.store.bento_description import FILE
from tests.conftest import model_store
from tests.kubectl import Manifests
from tests.packing import crd_schemas
from tests.packing.test_kubernetes import render, rendered
from tests.stored_bento import GPU, write_bento

URI = "pvc://models/llama"
ENGINE = {"max_model_len": 8192, "tensor_parallel_size": 2, "kv_cache_dtype": "fp8"}


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with model_store(tmp_path / "home") as home:
        folder = tmp_path / "llama"
        folder.mkdir()
        described = {"task": "text-generation", "runtime": "vllm", "runtime_config": {"engine": ENGINE}}
        (folder / artifact.DESCRIPTION).write_text(json.dumps(described))
        models.save("llama", folder, {}, {}, {})
        yield home / "bentos"


def llm(store, **arguments) -> str:
    tag = write_bento(
        store, "my-llm:v1", {**GPU, "gpu": 2}, model=models.find("llama").tag, service="TextGeneration", runtime="vllm"
    )
    file = store / "my-llm" / "v1" / FILE
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"args": {"model": "llama", **arguments}}))
    return tag


def service(manifests: Manifests) -> dict:
    [document] = manifests.documents
    crd_schemas.validate(document)
    return document


def arguments(pod: dict) -> list[str]:
    [variable] = pod["containers"][0]["env"]
    assert variable["name"] == "VLLM_ADDITIONAL_ARGS"
    return shlex.split(variable["value"])


def test_the_model_is_served_from_the_bentos_image_with_the_settings_it_was_judged_with(store):
    made = service(rendered(llm(store), model_uri=URI, replicas=3, image="registry.example/llm:7"))
    spec = made["spec"]
    assert made["metadata"]["name"] == "my-llm"
    assert (spec["model"], spec["replicas"]) == ({"uri": URI, "name": "llama"}, 3)
    assert "worker" not in spec
    assert spec["labels"] == {"app.kubernetes.io/version": "v1"}  # llm-d's pool selects by the name, which is KServe's
    [container] = spec["template"]["containers"]
    assert (container["name"], container["image"]) == ("main", "registry.example/llm:7")
    assert container["resources"]["limits"] == {"memory": "24Gi", "nvidia.com/gpu": "2"}
    assert spec["template"]["tolerations"][0]["key"] == "nvidia.com/gpu"
    line = arguments(spec["template"])
    assert dict(zip(line[::2], line[1::2], strict=True)) == {
        "--max-model-len": "8192",
        "--dtype": "auto",
        "--kv-cache-dtype": "fp8",
        "--tensor-parallel-size": "2",
    }


@pytest.mark.vllm
def test_vllms_own_parser_takes_the_arguments(store):
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    made = service(rendered(llm(store), model_uri=URI))
    given = make_arg_parser(FlexibleArgumentParser()).parse_args(arguments(made["spec"]["template"]))
    assert (given.max_model_len, given.tensor_parallel_size, given.kv_cache_dtype) == (8192, 2, "fp8")


def test_settings_that_the_bento_was_built_with_win(store):
    line = arguments(service(rendered(llm(store, max_model_len=4096), model_uri=URI))["spec"]["template"])
    assert line[line.index("--max-model-len") + 1] == "4096"


def test_several_machines_split_the_layers(store):
    spec = service(rendered(llm(store), model_uri=URI, nodes=4))["spec"]
    assert spec["parallelism"] == {"pipeline": 4, "tensor": 2}
    assert spec["worker"] == spec["template"]


def test_the_small_schema_refuses_a_misspelt_field(store):
    document = service(rendered(llm(store), model_uri=URI))
    document["spec"]["replica"] = 2
    with pytest.raises(ValidationError, match="replica"):
        crd_schemas.validate(document)


def test_a_model_that_is_not_here_is_named(store):
    tag = llm(store)
    models.delete(models.find("llama").tag)
    with pytest.raises(QuantbentoError, match="no model 'llama' in the store"):
        render(tag, model_uri=URI)
