"""What a Bento's description says of the pods it wants."""

from __future__ import annotations

import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.packing.needs import Needs, needs_of
from tests.conftest import model_store
from tests.stored_bento import write_bento


@pytest.fixture
def store(tmp_path):
    with model_store(tmp_path) as home:
        yield home / "bentos"


def needs(store, tag: str = "my-encoder:v1", **description) -> Needs:
    problems: list[str] = []
    found = needs_of(write_bento(store, tag, **description), problems)
    assert problems == []
    return found


def test_the_hints_and_the_timeout_of_the_entry_service(store):
    hints = {"cpu": "4", "memory": "24Gi", "gpu": 2, "gpu_type": "nvidia-l4"}
    assert needs(store, "my-llm:v7", resources=hints, timeout=600, runtime="vllm") == Needs(
        "my-llm", "v7", "my-model", "vllm", "4", "24Gi", 2, "nvidia-l4", 600
    )


def test_a_name_alone_is_its_latest_version(store):
    write_bento(store, "my-encoder:v1")
    write_bento(store, "my-encoder:v2")
    assert needs_of("my-encoder", []).tag == "my-encoder:v2"


@pytest.mark.parametrize(
    ("hints", "cpu", "memory"),
    [
        ({"cpu": 2, "memory": 4}, "2", "4Gi"),
        ({"cpu": 0.5, "memory": 1.5}, "0.5", "1.5Gi"),
        ({"cpu": "500m", "memory": "512Mi"}, "500m", "512Mi"),
        ({"cpu": "2", "memory": "1"}, "2", "1Gi"),
        ({}, None, None),
    ],
    ids=["numbers", "fractions", "units", "text-without-a-unit", "nothing"],
)
def test_bentomls_quantities_become_kubernetes(store, hints, cpu, memory):
    found = needs(store, resources=hints)
    assert (found.cpu, found.memory) == (cpu, memory)


def test_a_service_without_a_timeout_has_bentomls(store):
    assert needs(store, timeout=None).timeout_seconds == 60


def test_what_kubernetes_cannot_give_is_a_problem_each(store):
    problems: list[str] = []
    needs_of(write_bento(store, resources={"cpu": "two", "memory": "1GB", "gpu": 0.5}), problems)
    cpu, memory, gpu = problems
    assert cpu == "cpu='two' is no quantity of Kubernetes' (for example '2', '0.5' or '500m')"
    assert memory == "memory='1GB' is no quantity of Kubernetes' (for example '512Mi' or '2Gi')"
    assert gpu == "gpu=0.5: Kubernetes gives whole GPUs; build it with gpu=1 or more"


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        ("my-encodr", "no Bento 'my-encodr' in the store; did you mean 'my-encoder'? (stored: my-encoder)"),
        ("my-encoder:w1", "no Bento 'my-encoder:w1' in the store; did you mean 'my-encoder:v1'?"),
        ("my encoder", "no Bento 'my encoder' in the store; did you mean 'my-encoder'?"),
    ],
    ids=["name", "version", "impossible-name"],
)
def test_an_unknown_bento_is_told_with_the_nearest_and_the_next_command(store, tag, said):
    write_bento(store)
    with pytest.raises(QuantbentoError) as raised:
        needs_of(tag, [])
    assert str(raised.value).startswith(said)
    assert str(raised.value).endswith("Build one with: quantbento build")


def test_an_empty_store_says_so(store):
    with pytest.raises(QuantbentoError, match=r"the store has no Bento\)\. Build one with: quantbento build"):
        needs_of("my-encoder", [])


def test_a_damaged_bento_is_an_error_and_so_is_an_unknown_one_beside_it(store):
    tag = write_bento(store)
    (store / "my-encoder" / "v1" / "bento.yaml").unlink()
    with pytest.raises(QuantbentoError, match=r"Bento 'my-encoder:v1' cannot be read: .* See what is stored"):
        needs_of(tag, [])
    with pytest.raises(QuantbentoError, match="no Bento 'other' in the store"):
        needs_of("other", [])
