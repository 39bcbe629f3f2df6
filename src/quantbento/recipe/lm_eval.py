"""Tasks of EleutherAI's lm-evaluation-harness (lm-eval) that language models are judged on beside their perplexity."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator

from quantbento.recipe.inputs import ExistingFolder
from quantbento.recipe.strict import Strict


class LmEvalTask(Strict):
    """A task or a group of lm-eval; a recipe may give its name alone."""

    task: str = Field(min_length=1, description="a name that `lm-eval ls tasks` lists, or one in include_path")
    metric: str | None = Field(None, description="as lm-eval names it: acc_norm, or exact_match,strict-match")
    num_fewshot: int | None = Field(None, ge=0, description="examples in a prompt; by default the task's own")


def _named(given: Any) -> Any:
    return {"task": given} if isinstance(given, str) else given


class LmEval(Strict):
    """Which tasks, and how they are asked. What is left out is lm-eval's own default."""

    tasks: list[Annotated[LmEvalTask, BeforeValidator(_named)]] = Field(min_length=1)
    include_path: ExistingFolder | None = Field(None, description="a folder with tasks of your own: YAML files")
    limit: int | None = Field(None, gt=0, description="only so many questions of each task")
    num_fewshot: int | None = Field(None, ge=0, description="examples in a prompt, of tasks that do not fix it at 0")
    batch_size: int = Field(16, gt=0, description="prompts that the model gets at once")
    apply_chat_template: bool = Field(False, description="ask through the tokenizer's chat template")
    fewshot_as_multiturn: bool = Field(True, description="with a chat template, each example is a turn of its own")
    system_instruction: str | None = Field(None, description="goes before every prompt")
    add_bos_token: bool = Field(False, description="prompts begin with the tokenizer's special token, as Gemma needs")

    @field_validator("tasks")
    @classmethod
    def _once(cls, tasks: list[LmEvalTask]) -> list[LmEvalTask]:
        names = [task.task for task in tasks]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{', '.join(twice)} is listed twice; each task has one row in the report")
        return tasks
