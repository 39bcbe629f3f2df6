"""Service level objectives, as a YAML file says them; see deploy/slo.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from quantbento.core.errors import FileProblems, did_you_mean, one_of

UNITS = {"d": 86_400, "w": 604_800}
# In a shorter one, 5 % of the budget within 6 hours is no more than the even pace.
SHORTEST, LONGEST = 7 * 86_400.0, 90 * 86_400.0


class SloError(FileProblems):
    """A file of objectives cannot be used."""


def _seconds(given: Any) -> Any:
    """`30d` as seconds."""
    if isinstance(given, str) and given[:-1].isdecimal() and given[-1] in UNITS:
        seconds = float(given[:-1]) * UNITS[given[-1]]
        if SHORTEST <= seconds <= LONGEST:
            return seconds
    raise ValueError(f"a window is of days or weeks, from 7d to 90d, such as 30d or 4w, not {given!r}")


Window = Annotated[float, BeforeValidator(_seconds)]
Share = Annotated[float, Field(gt=0, lt=1, strict=True)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Objective(_Strict):
    """A target and the window it is for, in seconds. What the target is of, the key in the file says."""

    target: Share
    window: Window


class LatencyObjective(_Strict):
    """95 of 100 answers take at most `target` seconds."""

    target: Annotated[float, Field(gt=0, le=3600)]
    window: Window


class Objectives(_Strict):
    """
    Attributes:
        availability: the least share of requests that get an answer: not a status of 500 or more, nor 429.
        error_rate: the largest share of requests that fail: 500 or more, but for those turned away with 503.
        latency_p95: of the answers with a status below 400.
    """

    availability: Objective | None = None
    error_rate: Objective | None = None
    latency_p95: LatencyObjective | None = None


class _File(_Strict):
    schema_version: Annotated[int, Field(ge=1, le=1)]
    objectives: Objectives


def read_objectives(path: str | Path) -> Objectives:
    """The objectives of a file.

    Raises:
        SloError: it cannot be read, or something in it is wrong; each problem with its place and line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        root, data = yaml.compose(text, Loader=yaml.SafeLoader), yaml.safe_load(text)
    except FileNotFoundError:
        raise SloError([f"no such file; an example is deploy/slo.yaml, and this is {Path.cwd()}"], str(path)) from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise SloError([f"cannot be read: {' '.join(str(error).split())}"], str(path)) from None
    try:
        objectives = _File.model_validate(data).objectives
    except ValidationError as error:
        found = sorted(error.errors(), key=lambda each: _line(root, each["loc"]))
        raise SloError([_told(each, root) for each in found], str(path)) from None
    if not objectives.model_fields_set:
        raise SloError([f"objectives: there is none; allowed: {one_of(Objectives.model_fields)}"], str(path))
    return objectives


def _told(error: Any, root: yaml.Node | None) -> str:
    """One of pydantic's errors as recipes have them: the line, the place, and what is allowed."""
    place = error["loc"]
    if error["type"] == "extra_forbidden":
        allowed = _fields(place[:-1])
        said = f"unknown key{did_you_mean(str(place[-1]), allowed) or f' (allowed: {one_of(allowed)})'}"
    elif error["type"] == "missing":
        said = "is required"
    elif error["type"] == "value_error":
        said = str(error["ctx"]["error"])
    else:
        said = f"{error['msg'][0].lower()}{error['msg'][1:]}, not {error['input']!r}"
    return ": ".join(filter(None, (f"line {_line(root, place)}", ".".join(map(str, place)), said)))


def _fields(place: tuple[Any, ...]) -> list[str]:
    if not place:
        return list(_File.model_fields)
    return list(Objectives.model_fields if place == ("objectives",) else Objective.model_fields)


def _line(node: yaml.Node | None, place: tuple[Any, ...]) -> int:
    """Of a value, or of the nearest that is there."""
    line = 1
    for part in place:
        values = node.value if isinstance(node, yaml.MappingNode) else []
        found = next(((key, value) for key, value in values if key.value == part), None)
        if found is None:
            break
        node, line = found[1], found[0].start_mark.line + 1
    return line
