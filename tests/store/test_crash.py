"""Whatever happens to a process that saves (kill -9, Ctrl-C, a full disk, a concurrent save), the store stays whole."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import bentoml
import pytest
from filelock import FileLock

from quantbento import store
from quantbento.core.errors import StoreError
from tests.store.test_models import answer, tree, write_artifact

# Children are forked from a clean process that has imported these; each import would take seconds.
CHILDREN = multiprocessing.get_context("forkserver")
CHILDREN.set_forkserver_preload(["pytest", "bentoml.models", "bentoml._internal.models", "quantbento.store"])
SECONDS = 60  # most time a child may take for what the test waits for

# What a save does to files and folders, as Python's audit events name it; `open` counts where it is for writing.
EVENTS = {
    "fcntl.flock",
    "open",
    "os.chmod",
    "os.link",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.utime",
    "shutil.copyfile",
    "shutil.copymode",
    "shutil.copystat",
    "shutil.copytree",
    "shutil.rmtree",
    "tempfile.mkdtemp",
    "tempfile.mkstemp",
}
OnEvent = Callable[[int, str], None]  # (how many there were with this one, its name)

# Where a save is cut off, given the names of its events in order.
POINTS = {
    "first event": lambda events: 1,
    "20 %": lambda events: len(events) // 5,
    "40 %": lambda events: len(events) * 2 // 5,
    "60 %": lambda events: len(events) * 3 // 5,
    "before the old latest goes": lambda events: moves(events)[0] - 1,
    "before the model moves": lambda events: moves(events)[0],
    "after the model moved": lambda events: moves(events)[0] + 1,
    "before the new latest": lambda events: moves(events)[1],
    "after the new latest": lambda events: moves(events)[1] + 1,
    "85 %": lambda events: len(events) * 17 // 20,
    "last but one": lambda events: len(events) - 1,
    "last event": lambda events: len(events),
}


class Outcome(NamedTuple):
    """`said` is the tag or the error; empty where the child was killed. `events` are the names, in order."""

    exit_code: int | None
    said: str
    events: list[str]


class Child:
    """A process that saves `made` as demo."""

    def __init__(
        self, home: Path, made: Path, on_event: OnEvent | None = None, first: Callable[[], object] | None = None
    ) -> None:
        self._from_child, to_parent = CHILDREN.Pipe(duplex=False)
        self._process = CHILDREN.Process(target=save_in_child, args=(home, made, on_event, first, to_parent))
        self._process.start()
        to_parent.close()

    def outcome(self) -> Outcome:
        try:
            said, events = self._from_child.recv() if self._from_child.poll(SECONDS) else ("still running", [])
        except EOFError:
            said, events = "", []
        self._process.join(SECONDS)
        return Outcome(self._process.exitcode, said, events)


def save_in_child(home: Path, made: Path, on_event: OnEvent | None, first: Callable[[], object] | None, parent) -> None:
    from bentoml._internal.configuration.containers import BentoMLContainer
    from bentoml._internal.models import ModelStore

    tempfile.tempdir = str(home.parent)
    with tempfile.TemporaryDirectory() as elsewhere:  # so that no import counts as an event of the save
        BentoMLContainer.model_store.set(ModelStore(Path(elsewhere) / "models"))
        store.save("warm-up", made, {}, {}, {})
    BentoMLContainer.model_store.set(ModelStore(home / "models"))
    if first:
        first()
    events: list[str] = []
    watching = True

    def hook(name: str, args: tuple) -> None:
        if watching and name in EVENTS and (name != "open" or args[2] & (os.O_WRONLY | os.O_RDWR)):
            events.append(name)
            if on_event:
                on_event(len(events), name)

    sys.addaudithook(hook)
    try:
        said = store.save("demo", made, {"saved": "by a child"}, {}, {}).tag
    except BaseException as error:
        said = f"{type(error).__name__}: {error}"
    watching = False
    parent.send((said, events))


def moves(events: list[str]) -> tuple[int, int]:
    """The places of the two steps that make a model visible: its folder moves into the store, then `latest` does."""
    model, latest = (number for number, name in enumerate(events, 1) if name == "os.rename")
    return model, latest


def kill_at(number: int, count: int, name: str) -> None:
    if count == number:
        os.kill(os.getpid(), signal.SIGKILL)


def interrupt_at(number: int, count: int, name: str) -> None:
    if count == number:
        raise KeyboardInterrupt


def pause_at(step: str, reached, go_on, count: int, name: str) -> None:
    """Waits at the first such step."""
    if name == step and not reached.is_set():
        reached.set()
        go_on.wait(SECONDS)


def meet_before_copying(both, count: int, name: str) -> None:
    if name == "tempfile.mkdtemp":
        both.wait(SECONDS)


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    """Two models: the first answers with its input, the second with twice its input."""
    folder = tmp_path_factory.mktemp("artifacts")
    return [write_artifact(folder / "one", 1), write_artifact(folder / "two", 2)]


@pytest.fixture(scope="module")
def events(artifacts, tmp_path_factory):
    """The events of a save that nobody interrupts, in a store that already holds a model with that name."""
    home = tmp_path_factory.mktemp("whole") / "bentoml"
    Child(home, artifacts[0]).outcome()
    outcome = Child(home, artifacts[1]).outcome()
    assert outcome.exit_code == 0
    return outcome.events


@pytest.fixture
def saved(artifacts, bento_home):
    return store.save("demo", artifacts[0], {}, {}, {})


def staging(home: Path) -> list[str]:
    return [p.name for p in (home / ".quantbento").iterdir() if p.name != "store.lock"]


def check_whole(saved: store.StoredModel, made: Path) -> None:
    """The store as a reader finds it, and the next save of the same model."""
    tags = [str(model.tag) for model in bentoml.models.list()]
    assert saved.tag in tags
    assert str(bentoml.models.get("demo").tag) == store.find("demo").tag
    assert answer(saved.tag) == [1, 2, 3]
    assert answer("demo") == ([2, 4, 6] if len(tags) == 2 else [1, 2, 3])

    again = store.save("demo", made, {"saved": "by a child"}, {}, {})
    assert {str(model.tag) for model in bentoml.models.list()} == {saved.tag, again.tag}
    assert str(bentoml.models.get("demo").tag) == store.find("demo").tag == again.tag
    assert answer("demo") == [2, 4, 6]


@pytest.mark.parametrize("where", POINTS)
def test_a_save_that_is_killed_leaves_the_store_whole(where, events, artifacts, saved, bento_home):
    number = POINTS[where](events)
    assert Child(bento_home, artifacts[1], partial(kill_at, number)).outcome() == (-signal.SIGKILL, "", [])
    assert len(bentoml.models.list()) == (2 if number > moves(events)[0] else 1)  # visible from one step to the next
    check_whole(saved, artifacts[1])
    assert staging(bento_home) == []  # the next save removed what the dead one left


@pytest.mark.parametrize("where", list(POINTS)[:-2])  # the last two are in a finalizer, where Python ignores it
def test_a_save_that_is_interrupted_leaves_the_store_whole(where, events, artifacts, saved, bento_home):
    child = Child(bento_home, artifacts[1], partial(interrupt_at, POINTS[where](events)))
    assert child.outcome().said == "KeyboardInterrupt: "
    check_whole(saved, artifacts[1])
    assert staging(bento_home) == []


def test_a_first_save_that_is_killed_leaves_an_empty_store(events, artifacts, bento_home):
    outcome = Child(bento_home, artifacts[0]).outcome()
    store.delete(outcome.said)
    Child(bento_home, artifacts[0], partial(kill_at, moves(events)[0])).outcome()
    assert bentoml.models.list() == store.models() == []
    with pytest.raises(StoreError, match="no model 'demo' in the store"):
        store.find("demo")
    assert store.save("demo", artifacts[0], {}, {}, {}).verify()


def test_an_interrupted_save_cleans_up_itself(events, artifacts, saved, bento_home):
    before = tree(bento_home)
    Child(bento_home, artifacts[1], partial(interrupt_at, len(events) // 2)).outcome()
    assert tree(bento_home) == before
    assert [p.name for p in bento_home.parent.iterdir()] == [bento_home.name]  # nothing in the temporary folder


def test_a_full_disk_is_one_error_and_the_store_stays_as_it_was(artifacts, saved, bento_home):
    size = (artifacts[1] / "model.onnx").stat().st_size
    before = tree(bento_home)
    full = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (size // 2, size // 2))
    outcome = Child(bento_home, artifacts[1], first=full).outcome()
    assert outcome.said.startswith("StoreError: demo:")
    assert "could not be stored: File too large" in outcome.said
    assert tree(bento_home) == before
    check_whole(saved, artifacts[1])


def test_a_store_that_is_held_for_too_long_is_one_error(artifacts, saved, bento_home, monkeypatch):
    monkeypatch.setattr("quantbento.store.atomic.LOCK_SECONDS", 0.1)
    held = FileLock(bento_home / ".quantbento" / "store.lock")
    with held, pytest.raises(StoreError, match=r"another save has held the model store for 0\.1 s"):
        store.save("demo", artifacts[1], {}, {}, {})
    assert store.models() == [saved]
    assert staging(bento_home) == []


@pytest.mark.parametrize("same", [False, True], ids=["two-models", "the-same-model-twice"])
def test_two_saves_at_once_both_succeed(same, artifacts, bento_home):
    both = CHILDREN.Barrier(2)
    made = [artifacts[1] if same else artifacts[0], artifacts[1]]
    children = [Child(bento_home, folder, partial(meet_before_copying, both)) for folder in made]
    outcomes = [child.outcome() for child in children]
    tags = {outcome.said for outcome in outcomes}
    assert [o.exit_code for o in outcomes] == [0, 0]
    assert {str(model.tag) for model in bentoml.models.list()} == tags
    assert sorted(answer(tag) for tag in tags) == ([[2, 4, 6]] if same else [[1, 2, 3], [2, 4, 6]])
    assert store.find("demo").tag == str(bentoml.models.get("demo").tag)
    assert staging(bento_home) == []


def test_a_live_save_is_left_alone_by_another(artifacts, bento_home):
    reached, go_on = CHILDREN.Event(), CHILDREN.Event()
    child = Child(bento_home, artifacts[1], partial(pause_at, "shutil.copytree", reached, go_on))
    assert reached.wait(SECONDS)
    live = staging(bento_home)
    assert len(live) == 2  # its folder and its lock
    mine = store.save("demo", artifacts[0], {}, {}, {})
    assert staging(bento_home) == live
    go_on.set()
    outcome = child.outcome()
    assert {str(model.tag) for model in bentoml.models.list()} == {mine.tag, outcome.said}
    assert answer(outcome.said) == [2, 4, 6]


def test_what_a_dead_save_left_is_removed_by_the_next(events, artifacts, saved, bento_home):
    Child(bento_home, artifacts[1], partial(kill_at, len(events) // 2)).outcome()
    assert len(staging(bento_home)) == 2
    store.save("other", artifacts[0], {}, {}, {})
    assert staging(bento_home) == []


def test_a_rival_that_looks_whether_a_save_is_alive_does_not_stop_it(artifacts, bento_home):
    """The other save takes the lock of a save that has created it but does not hold it yet."""
    reached, go_on = CHILDREN.Event(), CHILDREN.Event()
    child = Child(bento_home, artifacts[1], partial(pause_at, "fcntl.flock", reached, go_on))
    assert reached.wait(SECONDS)
    assert len(staging(bento_home)) == 1
    store.save("demo", artifacts[0], {}, {}, {})
    go_on.set()
    assert answer(child.outcome().said) == [2, 4, 6]
