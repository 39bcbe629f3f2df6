"""What a recipe names from outside: the model and the samples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from quantbento.core.errors import one_of
from quantbento.core.user_code import UserCode
from quantbento.recipe.strict import Strict

_THERE = {"file": Path.is_file, "folder": Path.is_dir, "file or folder": Path.exists}
_MODEL_KEYS = {".onnx": "; the key for this file is `onnx:`", ".pt2": "; the key for this file is `exported:`"}


def _existing(path: Path, info: ValidationInfo, kind: str) -> Path:
    """Relative paths start at the recipe's own folder, wherever the command was run."""
    base = (info.context or {}).get("base", Path())
    path = (base / path.expanduser()).resolve()
    if path.exists() and not _THERE[kind](path):
        found, hint = "file" if path.is_file() else "folder", _MODEL_KEYS.get(path.suffix, "")
        raise ValueError(f"{path} is a {found}; allowed is a {kind}{hint}")
    if not path.exists():
        raise ValueError(f"no such {kind}: {path}")
    return path


ExistingFile = Annotated[Path, AfterValidator(lambda p, info: _existing(p, info, "file"))]
ExistingPath = Annotated[Path, AfterValidator(lambda p, info: _existing(p, info, "file or folder"))]
ExistingFolder = Annotated[Path, AfterValidator(lambda p, info: _existing(p, info, "folder"))]
AdapterName = Annotated[str, Field(pattern=r"^[a-z0-9]([-._a-z0-9]*[a-z0-9])?$", max_length=63)]


class ModelSpec(Strict):
    """Where the full-precision model comes from; exactly one of the first eight."""

    id: str | None = Field(None, description="a model on the hub, `owner/name`")
    path: ExistingFolder | None = Field(None, description="a local folder in hub format")
    package: str | None = Field(None, description="an installed distribution that carries the model")
    factory: UserCode | None = Field(None, description="a Python function that returns the model")
    picklable: str | None = Field(None, description="a tag in the store, of bentoml.picklable_model")
    onnx: ExistingFile | None = Field(None, description="an ONNX file")
    torchscript: ExistingFile | None = Field(None, description="a file that torch.jit.save wrote")
    exported: ExistingFile | None = Field(None, description="a file that torch.export.save wrote")
    weights: ExistingFile | None = Field(None, description="safetensors file with the weights of the factory's module")
    revision: str | None = Field(None, description="of the hub model: a branch, tag or commit")
    subfolder: str = Field("", description="where the model lies inside the hub model, folder or package")
    adapter: ExistingFolder | None = Field(None, description="a PEFT LoRA adapter to merge into the model")
    adapters: dict[AdapterName, ExistingFolder] = Field(
        {}, description="PEFT LoRA adapters by name that stay beside the quantized model, and are served by that name"
    )
    trusted: bool = Field(False, description="read the picklable model, which runs the code in it")
    trust_remote_code: bool = Field(False, description="run Python code that comes with the model")

    @model_validator(mode="after")
    def _consistent(self) -> ModelSpec:
        files = ("onnx", "torchscript", "exported")
        kinds = ("id", "path", "package", "picklable", "factory", *files)
        given = [k for k in kinds if getattr(self, k) is not None]
        if len(given) != 1:
            raise ValueError(f"exactly one of {one_of(kinds)} is needed, not {len(given) or 'none'}")
        if self.revision and not self.id:
            raise ValueError("revision goes with id")
        if self.weights and not self.factory:
            raise ValueError("weights goes with factory, a function that returns the module they are for")
        if self.picklable and not self.trusted:
            raise ValueError(
                "a picklable model is a pickle, and reading one runs the code in it; if you trust whoever wrote it, "
                "add trusted: true"
            )
        if self.trusted and not self.picklable:
            raise ValueError("trusted goes with picklable; code on the hub is allowed by trust_remote_code")
        if self.picklable and self.trust_remote_code:
            raise ValueError("trust_remote_code is for models in hub format; picklable takes trusted: true")
        if self.subfolder and given[0] in ("factory", "picklable", *files):
            raise ValueError(f"subfolder does not go with {given[0]}")
        if self.trust_remote_code and given[0] in files:
            raise ValueError(f"trust_remote_code does not go with {given[0]}, which brings no Python code to run")
        if self.adapter and given[0] in files:
            what = "an ONNX file" if self.onnx else f"a file of {given[0]}"
            raise ValueError(f"an adapter cannot be merged into {what}; name the PyTorch model instead")
        if self.adapters and given[0] in ("picklable", *files):
            raise ValueError(f"adapters do not go with {given[0]}: they stay beside a language model in hub format")
        return self


class Samples(Strict):
    """Samples for one purpose, from exactly one of path, dataset and factory."""

    path: ExistingPath | None = Field(
        None, description=".txt (one text per line), .jsonl, .csv, .npz, or a folder of images or sounds"
    )
    dataset: str | None = Field(None, description="a name for datasets.load_dataset")
    factory: UserCode | None = Field(None, description="a Python function: inputs, or (inputs, labels)")
    config: str | None = Field(None, description="of the dataset")
    split: str = Field("test", description="of the dataset")
    columns: dict[str, str] = Field({}, description="by field of the task, the columns that are named otherwise")
    text: str = Field("text", description="short for columns: {text: ...}")
    label: str = Field("label", description="column of the labels, used where it exists")
    count: int | None = Field(None, gt=0, description="how many to use; fewer than that is an error")
    placeholder: bool = Field(False, description="they stand in for the user's own: figures on them prove nothing")

    @model_validator(mode="after")
    def _one_source(self) -> Samples:
        given = [k for k in ("path", "dataset", "factory") if getattr(self, k) is not None]
        if len(given) != 1:
            raise ValueError(f"exactly one of 'path', 'dataset' or 'factory' is needed, not {len(given) or 'none'}")
        if useless := sorted(self._without_effect() & self.model_fields_set):
            raise ValueError(f"{', '.join(useless)} would have no effect with {given[0]}; leave it out")
        if twice := sorted({"text", "label"} & self.model_fields_set & self.columns.keys()):
            raise ValueError(f"{', '.join(twice)} is named twice; leave it out of columns")
        return self

    def _without_effect(self) -> set[str]:
        """Keys that mean nothing for where the samples come from."""
        without_columns = self.factory is not None or (
            self.path is not None and (self.path.suffix == ".txt" or self.path.is_dir())
        )
        unread = {"config", "split"} if self.dataset is None else set()
        return unread | ({"columns", "text", "label"} if without_columns else set())

    def column(self, field: str) -> str:
        """The name of the column that holds a field of the task, or the labels (`label`)."""
        short = {"text": self.text, "label": self.label}
        return self.columns.get(field) or short.get(field, field)


class Calibration(Samples):
    """Samples that quantizers calibrate on. For text-generation, the texts are joined and cut into sequences of equal
    length."""

    sequences: int = Field(128, gt=0, description="how many sequences; fewer than that is an error")
    sequence_length: int = Field(512, gt=1, description="tokens in each sequence")
