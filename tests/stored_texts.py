"""Tiny text models as the pipeline stores them, their servers, and bodies that nobody would send."""

from __future__ import annotations

import asyncio
import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, given, settings

import quantbento
from examples.server import Server, bento, serve
from tests.conftest import ROOT, model_store
from tests.trained_heads import write_rows


def save_text_model(
    folder: Path,
    name: str,
    task: str,
    model: Path,
    rows: list[dict[str, Any]],
    samples: dict[str, Any] | None = None,
    **options: Any,
) -> str:
    """Stores a model in INT8 for ONNX Runtime in the store that is set, judged on `rows`. Gives its name there.

    Args:
        folder: for files on the way.
        name, task, model: the recipe's; `model` is a folder.
        rows: of the samples.
        samples: how the recipe names their columns.
        options: the task's.
    """
    recipe = {
        "schema_version": 1,
        "name": name,
        "task": task,
        "task_options": options,
        "model": {"path": str(model)},
        "evaluation": {"path": str(write_rows(folder / f"{name}.jsonl", rows)), **(samples or {})},
        "benchmark": {"items": 4, "rounds": 3, "latency_calls": 10, "memory": False, "threads": 1},
        "variants": [{"name": "onnx-int8", "quantizer": "onnx-dynamic"}],
    }
    report = quantbento.save(recipe, output=folder / "reports")
    assert report.exit_code == 0, report.variants
    return f"{name}-onnx-int8"


def server_of(service: str, tag: str, home: Path, log: Path, **settings: Any) -> AbstractContextManager[Server]:
    environment = {"BENTOML_HOME": str(home), "PYTHONPATH": str(ROOT), "QUANTBENTO_MODEL": tag}
    environment |= {f"QUANTBENTO_{key.upper()}": str(value) for key, value in settings.items()}
    return serve(bento(f"service:{service}"), environment, log / f"{service}.log")


def load(home: Path, tag: str) -> Any:
    with model_store(home):
        return quantbento.load(tag)


async def all_at_once(url: str, bodies: list[dict[str, Any]]) -> list[Any]:
    """The answers to requests that are all under way together, in order; each of them has to succeed."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def post(body: dict[str, Any]) -> Any:
            async with session.post(url, json=body) as response:
                answer = await response.json()
                assert response.status == 200, answer
                return answer

        return await asyncio.gather(*map(post, bodies))


def statuses_of(url: str, requests: st.SearchStrategy[tuple[str, Any]], count: int = 200) -> set[int]:
    """Posts so many bodies, each to its path. Gives the statuses of the answers; one from 500 up is an error."""
    found: set[int] = set()
    with httpx.Client(base_url=url, headers={"content-type": "application/json"}, timeout=30) as client:

        @settings(
            max_examples=count,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(requests)
        def ask(request: tuple[str, Any]) -> None:
            route, body = request
            status = client.post(route, content=json.dumps(body)).status_code
            assert status < 500, request
            found.add(status)

        ask()
    return found


def bodies(right: dict[str, list[Any]]) -> st.SearchStrategy[Any]:
    """JSON to send: the fields with right values, some of them with others, or anything at all."""
    text = st.sampled_from(["good", "the film was bad", " ", "\ud800", "\x00", "a" * 2000]) | st.text(max_size=20)
    anything = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | text,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
        max_leaves=6,
    )
    values = {name: st.sampled_from(given) for name, given in right.items()}
    wrong = {name: value | st.lists(text, max_size=5) | anything for name, value in values.items()}
    return st.fixed_dictionaries(values) | st.fixed_dictionaries({}, optional=wrong) | anything
