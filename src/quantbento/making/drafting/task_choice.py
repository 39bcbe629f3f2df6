"""Which task a model is for, by what tasks declare: the Transformers class that reads their models, what their items
are made of, and what they say about a configuration. A new task is found without a change here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from quantbento.core import registry
from quantbento.core.errors import QuantbentoError, one_of
from quantbento.making.drafting.facts import PROCESSORS, TOKENIZERS, Facts
from quantbento.making.drafting.named import Named
from quantbento.tasks.base import Task

# PEFT's names for what an adapter was trained for, with the class that has the head for it.
ADAPTERS = {
    "SEQ_CLS": "AutoModelForSequenceClassification",
    "TOKEN_CLS": "AutoModelForTokenClassification",
    "CAUSAL_LM": "AutoModelForCausalLM",
    "FEATURE_EXTRACTION": "AutoModel",
}


NOUNS = {"onnx": "ONNX file", "module": "PyTorch module"}


def for_arrays(kind: str, wanted: str | None) -> type[Task]:
    """The task of a model that takes and returns arrays: the one that is asked for, or the first that takes such
    models from a file or a function.

    Raises:
        QuantbentoError: there is none of that name, or it takes no such model.
    """
    if wanted is not None:
        task = registry.task(wanted)
        if kind not in task.starts_from or task.on_disk:
            able = one_of(other.name for other in _tasks() if kind in other.starts_from and not other.on_disk)
            raise QuantbentoError(f"--task {wanted} takes no {NOUNS[kind]}; tasks that do are {able}")
        return task
    return next(task for task in _tasks() if task.auto_class is None and kind in task.starts_from)


def for_folder(named: Named, facts: Facts, wanted: str | None) -> type[Task]:
    """The task of a model in hub format.

    Raises:
        QuantbentoError: no task takes it, or what the task needs is missing.
    """
    if wanted is not None:
        task = registry.task(wanted)
        if task.auto_class is None:
            others = one_of(other.name for other in _tasks() if other.auto_class)
            raise QuantbentoError(f"--task {wanted} takes no folder in hub format; tasks that do are {others}")
        _has_what_it_needs(task, facts)
        return task
    if asked := ADAPTERS.get(named.adapter.get("task_type") or ""):
        _has_the_head(named, facts, asked)
    able = [
        task for task in _tasks() if task.auto_class and _reads(task.auto_class, facts) and task.suits(facts.config)
    ]
    able = [task for task in able if asked in (None, task.auto_class)]
    claimed = [task for task in _tasks() if task.claims(facts.folder)]
    tagged = [task for task in able if task.name == facts.pipeline_tag]
    likely = claimed or tagged or able
    if not likely:
        raise _of_no_task(facts)
    fitting = [task for task in likely if not _lacks(task, facts)]
    if not fitting:
        _has_what_it_needs(likely[0], facts)
    return fitting[0]


def _tasks() -> Iterator[type[Task]]:
    for name in registry.names("task"):
        yield registry.task(name)


def _reads(auto_class: str, facts: Facts) -> bool:
    """Whether one of Transformers' auto classes gives the class that the model was saved from."""
    if auto_class in (facts.config.get("auto_map") or {}):  # code that comes with the model
        return True
    import transformers

    classes = getattr(transformers, auto_class)._model_mapping._model_mapping  # model type: names of classes
    found = classes.get(facts.config.get("model_type"), ())
    return facts.architecture in ((found,) if isinstance(found, str) else found)


def _lacks(task: type[Task], facts: Facts) -> str | None:
    """What a folder lacks for a task: tasks whose items are files need a processor, others a tokenizer."""
    if task.suffixes:
        return None if facts.has_processor else "processor"
    return None if facts.has_tokenizer else "tokenizer"


def _has_what_it_needs(task: type[Task], facts: Facts) -> None:
    if (lacking := _lacks(task, facts)) is not None:
        name, cls = (PROCESSORS[0], "AutoProcessor") if lacking == "processor" else (TOKENIZERS[0], "AutoTokenizer")
        raise QuantbentoError(
            f"there is no {lacking} in {facts.folder} ({name} or its like), and {task.name} needs one. Save it there: "
            f"transformers.{cls}.from_pretrained(MODEL).save_pretrained({str(facts.folder)!r})"
        )


def _has_the_head(named: Named, facts: Facts, auto_class: str) -> None:
    if not _reads(auto_class, facts):
        raise QuantbentoError(
            f"the adapter {named.spec.adapter} was trained for {named.adapter['task_type']}, and its base "
            f"{named.spec.id or facts.folder} is a {facts.architecture}, which has no such head. Merge it into the "
            "model it was trained with (model.merge_and_unload().save_pretrained(FOLDER), and the tokenizer), and "
            "run: quantbento init FOLDER"
        )


def _of_no_task(facts: Facts) -> QuantbentoError:
    known: dict[str, Any] = {task.name: task.auto_class for task in _tasks() if task.auto_class}
    told = ", ".join(f"{name} ({auto_class})" for name, auto_class in known.items())
    what = facts.architecture or "no class that its config.json names"
    return QuantbentoError(
        f"{facts.folder} was saved from {what}, which no task takes; there are {told}. Add --task NAME if one of them "
        "is right, or name a function that returns a torch module: quantbento init module:function"
    )
