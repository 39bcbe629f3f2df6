"""A recipe's variants as Jobs and a SkyPilot task: what the files hold, and that their programs would take them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from quantbento.core.errors import QuantbentoError
from quantbento.packing import sweep
from quantbento.packing.sweep import QUEUE, Machine, render
from tests.kubectl import Manifests

SCHEMAS = ("1.29", kubernetes_validate.latest_version())  # older ones refuse every podFailurePolicy
GPU = Machine(cpu="8", memory="64Gi", gpu=True, accelerator="H100")


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch) -> Path:
    """A folder with a recipe in it."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "moons.yaml").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rendered(**options) -> sweep.Sweep:
    given = {
        "recipe": Path("configs/moons.yaml"),
        "name": "moons",
        "variants": ["a", "b"],
        "image": "registry.example/q:1",
    }
    return render(**given | options)


def job(folder: Path, variant: str = "a") -> dict:
    return yaml.safe_load((folder / f"job-{variant}.yaml").read_text())


def container(manifest: dict) -> dict:
    [only] = manifest["spec"]["template"]["spec"]["containers"]
    return only


@pytest.mark.parametrize("machine", [Machine(), GPU], ids=["cpu", "gpu"])
@pytest.mark.parametrize("queue", [None, "team-a"], ids=["", "queue"])
def test_every_job_is_valid_kubernetes(queue, machine):
    done = rendered(queue=queue, machine=machine)
    for variant in ("a", "b"):
        for version in SCHEMAS:
            kubernetes_validate.validate(job(done.folder, variant), version, strict=True)


def test_kubectl_takes_the_folder():
    manifests = Manifests(rendered(queue="team-a").folder)
    manifests_of = {d["metadata"]["name"]: d for d in manifests.documents}
    assert manifests_of.keys() == {"moons-a", "moons-b"}
    for document in manifests.documents:
        assert document["metadata"]["labels"][QUEUE] == "team-a"
        assert document["metadata"]["labels"]["app.kubernetes.io/part-of"] == "moons-sweep"
        for version in SCHEMAS:
            kubernetes_validate.validate(document, version, strict=True)


def test_a_queue_is_a_label_and_a_suspended_job():
    manifest = job(rendered(queue="team-a").folder)
    assert manifest["metadata"]["labels"] == {"kueue.x-k8s.io/queue-name": "team-a"}
    assert manifest["spec"]["suspend"] is True
    manifest = job(rendered().folder)
    assert "labels" not in manifest["metadata"] and "suspend" not in manifest["spec"]


def test_a_job_makes_its_variant_of_the_recipe_on_the_volume():
    manifest = job(rendered(claim="results-of-mine").folder, "b")
    assert container(manifest)["image"] == "registry.example/q:1"
    environment = {entry["name"]: entry["value"] for entry in container(manifest)["env"]}
    assert list(environment)[:3] == ["RECIPE", "VARIANT", "MODEL"], "later ones name VARIANT"
    assert (environment["RECIPE"], environment["VARIANT"]) == ("configs/moons.yaml", "b")
    for kept in ("BENTOML_HOME", "QUANTBENTO_CACHE", "XDG_STATE_HOME"):
        assert environment[kept].startswith("/results/$(VARIANT)/")
    claims = [v["persistentVolumeClaim"]["claimName"] for v in manifest["spec"]["template"]["spec"]["volumes"][:1]]
    assert claims == ["results-of-mine"]


def test_a_failed_gate_is_not_tried_again_and_a_preempted_pod_is():
    spec = job(rendered().folder)["spec"]
    fails, ignored = spec["podFailurePolicy"]["rules"]
    assert (fails["action"], fails["onExitCodes"]["values"]) == ("FailJob", [1, 2, 3])
    assert (ignored["action"], ignored["onPodConditions"][0]["type"]) == ("Ignore", "DisruptionTarget")
    assert spec["template"]["spec"]["restartPolicy"] == "Never"


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (Machine("500m", "2Gi"), {"cpu": "500m", "memory": "2Gi"}),
        (GPU, {"cpu": "8", "memory": "64Gi", "nvidia.com/gpu": "1"}),
    ],
    ids=["cpu", "gpu"],
)
def test_a_pod_gets_what_it_asks_for_and_no_more(machine, expected):
    manifest = job(rendered(machine=machine).folder)
    assert container(manifest)["resources"] == {"requests": expected, "limits": expected}
    assert ("tolerations" in manifest["spec"]["template"]["spec"]) == machine.gpu


@pytest.mark.parametrize(
    ("machine", "resources"),
    [
        (Machine("500m", "2000M"), {"cpus": "1+", "memory": "2+"}),
        (GPU, {"cpus": "8+", "memory": "64+", "accelerators": "H100:1"}),
    ],
    ids=["cpu", "gpu"],
)
def test_skypilot_gets_the_same_machine(machine, resources):
    task = yaml.safe_load((rendered(machine=machine).folder / "skypilot.yaml").read_text())
    assert task["resources"] == {"image_id": "docker:registry.example/q:1"} | resources
    assert task["envs"] == {"VARIANT": None, "RECIPE": "configs/moons.yaml", "RECIPE_NAME": "moons"}
    assert task["file_mounts"]["/results"]["name"] == "quantbento-moons-results"


def test_skypilot_writes_to_a_bucket_of_yours():
    done = rendered(bucket="s3://mine")
    task = yaml.safe_load((done.folder / "skypilot.yaml").read_text())
    assert task["file_mounts"]["/results"] == {"mode": "MOUNT_CACHED", "source": "s3://mine"}
    assert not any("bucket" in note for note in done.notes)


SKYPILOT = """
import sys, yaml, sky
from sky.utils import common_utils, schemas
for file in sys.argv[1:]:
    task = yaml.safe_load(open(file))
    parts = {"task": task, "resources": task["resources"], "storage": task["file_mounts"]["/results"]}
    for name, part in parts.items():
        common_utils.validate_schema(part, getattr(schemas, f"get_{name}_schema")(), f"{file}: ")
    del task["file_mounts"]  # a Task would look for the bucket
    print(sky.Task.from_yaml_config(task, [("VARIANT", "a")]).envs["VARIANT"])
"""


@pytest.mark.slow
@pytest.mark.network
def test_skypilot_takes_its_file(tmp_path):
    files = [
        rendered(machine=m, bucket=b, output=Path(f"out-{i}")).folder / "skypilot.yaml"
        for i, (m, b) in enumerate([(Machine(), None), (GPU, "s3://mine")])
    ]
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "-q", tmp_path / "sky"], check=True)
    python = tmp_path / "sky" / "bin" / "python"
    made = subprocess.run([*uv, "pip", "install", "-q", "--python", python, "skypilot"], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no package index: {made.stderr[-200:]}")
    done = subprocess.run([python, "-c", SKYPILOT, *files], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, ["a", "a"]), done.stderr


def test_a_name_that_kubernetes_does_not_take_is_changed():
    done = rendered(name="llama-3.1", variants=["w4"])
    name = job(done.folder, "w4")["metadata"]["name"]
    assert name.startswith("llama-3-1-w4-") and name != "llama-3-1-w4"
    environment = {entry["name"]: entry["value"] for entry in container(job(done.folder, "w4"))["env"]}
    assert environment["MODEL"] == "llama-3.1-w4"


def test_everything_that_is_wrong_is_listed(tmp_path):
    with pytest.raises(QuantbentoError) as raised:
        rendered(
            recipe=tmp_path.parent / "elsewhere.yaml",
            image="No Image",
            queue="Team_A",
            claim="-",
            bucket="mine",
            machine=Machine("many", "16 GB", True, "2 x L4"),
        )
    told = str(raised.value)
    for value in ("elsewhere.yaml", "'No Image'", "'Team_A'", "'-'", "'mine'", "'many'", "'16 GB'", "'2 x L4'"):
        assert value in told
    assert not Path("deploy").exists()


def test_a_folder_of_somebody_else_stays(tmp_path):
    rendered(variants=["old"], output=Path("out"))
    rendered(output=Path("out"))
    assert sorted(p.name for p in Path("out").iterdir()) == [
        "job-a.yaml",
        "job-b.yaml",
        "kustomization.yaml",
        "skypilot.yaml",
    ]
    Path("own").mkdir()
    Path("own", "kustomization.yaml").write_text("resources: []\n")
    with pytest.raises(QuantbentoError, match="own was not written by quantbento deploy sweep, so it stays as it is"):
        rendered(output=Path("own"))


RECIPE = {
    "schema_version": 1,
    "name": "tiny",
    "task": "tensor",
    "model": {"factory": "tests.tiny_tensor:model"},
    "custom_objects": {"preprocess": "tests.tiny_tensor:preprocess"},
    "evaluation": {"factory": "tests.tiny_tensor:samples"},
    "benchmark": {"items": 4, "rounds": 3, "latency_calls": 10, "memory": False, "threads": 1},
    "variants": [{"name": "onnx", "quantizer": "onnx-dynamic"}, {"name": "torch", "quantizer": "torch-dynamic"}],
}


@pytest.mark.slow
def test_what_the_jobs_write_merges_to_the_report_of_one_run(project):
    """The Jobs' own commands, with the Jobs' own environment, in stores and folders of their own."""
    from quantbento import cli
    from tests.making.same_report import without_timings
    from tests.packing.sweep_runs import run_job

    recipe = Path("configs", "tiny.yaml")
    recipe.write_text(yaml.safe_dump(RECIPE))
    assert cli.main(["deploy", "sweep", str(recipe), "--image", "q", "--output", "sweep"]) == 0
    for variant in ("torch", "onnx"):
        run_job(job(Path("sweep"), variant), project / "results")
    run_job(
        job(Path("sweep"), "torch"), project / "results", script='quantbento save "$RECIPE" --output "$RESULTS/whole"'
    )
    reports = sorted(str(p) for p in Path("results").glob("*/reports"))
    assert cli.main(["merge", *reports, "--output", "merged"]) == 0
    merged, whole = (
        without_timings(json.loads((folder / "tiny" / "report.json").read_text()))
        for folder in (Path("merged"), Path("results", "whole"))
    )
    assert merged == whole
    assert [v["name"] for v in merged["variants"]] == ["onnx", "torch"]
    assert [r["name"] for r in merged["references"]] == ["torch-bf16", "onnx-fp32"]
    assert Path("merged", "tiny", "report.html").is_file()
    exported = sorted(p.name for p in Path("results", "models").iterdir())
    assert exported == ["tiny-onnx.tar", "tiny-torch.tar"]
