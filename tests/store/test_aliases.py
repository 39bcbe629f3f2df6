"""Aliases work wherever a tag does, move back as with undo, and lose no promotion to another process or a crash."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from quantbento import store
from quantbento.core.errors import StoreError
from quantbento.serving.bento import model_to_pack
from quantbento.store import alias_file, aliases
from tests.store.test_models import answer, flip, tree, write_artifact

# Children are forked from a clean process that has imported these; each import would take seconds.
CHILDREN = multiprocessing.get_context("forkserver")
CHILDREN.set_forkserver_preload(["pytest", "bentoml.models", "bentoml._internal.models", "quantbento.store.aliases"])
SECONDS = 60  # most time a child may take to end


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_artifact(tmp_path_factory.mktemp("made") / "artifact")


@pytest.fixture
def versions(made, bento_home):
    """Four tags of demo, oldest first: the same files with different manifests."""
    return [store.save("demo", made, {"number": number}, {}, {}).tag for number in range(4)]


def version(tag: str) -> str:
    return tag.partition(":")[2]


def actions(alias: str = "production") -> list[tuple[str, str]]:
    return [(event.action, f"demo:{event.version}") for event in aliases.history("demo", alias)[alias]]


def file(home: Path) -> Path:
    return home / ".quantbento" / "aliases" / "demo.json"


# Followed


def test_an_alias_stands_for_the_version_it_was_promoted_to(versions):
    moved = aliases.promote(versions[1], "production")
    assert moved == aliases.Moved("demo:production", None, versions[1])
    assert store.find("demo:production").tag == versions[1]
    assert store.find("DEMO:Production") == store.find(versions[1])
    assert store.find("demo").tag == versions[3]  # the latest is what it was


def test_what_follows_an_alias_gets_the_next_promotion(tmp_path, versions):
    doubled = store.save("demo", write_artifact(tmp_path / "doubled", 2), {}, {}, {}).tag
    aliases.promote(versions[0], "production")
    assert answer("demo:production") == [1, 2, 3]
    assert str(model_to_pack("demo:production").tag) == versions[0]
    assert aliases.promote(doubled, "production").before == versions[0]
    assert answer("demo:production") == [2, 4, 6]
    assert str(model_to_pack("demo:production").tag) == doubled


def test_a_name_promotes_its_latest_and_an_alias_what_it_stands_for(versions):
    assert aliases.promote("demo", "staging").after == versions[3]
    aliases.promote(versions[0], "production")
    assert aliases.promote("demo:staging", "production").after == versions[3]
    aliases.promote(versions[1], "staging")
    assert store.find("demo:production").tag == versions[3]  # it does not follow the other alias from then on


def test_a_models_aliases_are_its_own_and_known_by_version(made, versions):
    other = store.save("other", made, {}, {}, {})
    for alias in ("production", "1.2.0"):
        aliases.promote(versions[0], alias)
    aliases.promote(other.tag, "production")
    assert store.find(versions[0]).aliases == ["1.2.0", "production"]
    assert store.find(versions[1]).aliases == []
    assert other.aliases == ["production"]
    assert store.find("other:production") == other


@pytest.mark.parametrize("alias", ["production", "1.2.0", "a", "0", "a.b_c-d", "a" * 63])
def test_names_that_an_alias_can_have(versions, alias):
    aliases.promote(versions[0], alias)
    assert store.find(f"demo:{alias}").tag == versions[0]


@pytest.mark.parametrize(
    "alias", ["", "latest", "Production", "-a", ".a", "a/b", "a:b", "a b", "../x", "a" * 64, "é", "a\n"]
)
def test_names_that_an_alias_cannot_have(versions, alias, bento_home):
    with pytest.raises(StoreError, match=r"cannot be an alias: .*--as production"):
        aliases.promote(versions[0], alias)
    assert not file(bento_home).exists()


def test_a_version_is_no_name_for_an_alias_and_wins_over_one(made, versions):
    with pytest.raises(StoreError, match=f"cannot be an alias: {versions[1]} is a stored version"):
        aliases.promote(versions[0], version(versions[1]))
    store.delete(versions[1])
    aliases.promote(versions[0], version(versions[1]))
    assert store.find(versions[1]).tag == versions[0]
    store.save("demo", made, {"number": 1}, {}, {})
    assert store.find(versions[1]).tag == versions[1]


def test_an_unknown_alias_tells_the_nearest_and_what_there_is(versions):
    aliases.promote(versions[0], "production")
    with pytest.raises(StoreError, match=r"no version 'prodution' of 'demo'.*did you mean 'production'.*aliases: prod"):
        store.find("demo:prodution")


# What may be promoted


def test_a_damaged_model_is_not_promoted(versions):
    aliases.promote(versions[0], "production")
    flip(store.find(versions[1]).path / "model.onnx")
    for force in (False, True):
        with pytest.raises(StoreError, match=r"model\.onnx was changed"):
            aliases.promote(versions[1], "production", force=force)
    assert actions() == [("promoted", versions[0])]


@pytest.mark.parametrize("told_by", ["label", "manifest"])
def test_a_model_that_failed_its_gates_is_promoted_by_force_only(made, bento_home, told_by):
    gate = {"metric": "accuracy", "rule": "min", "limit": 0.9, "value": 0.8, "passed": False}
    content = {"variant": {"passed": False, "gates": [gate]}} if told_by == "manifest" else {}
    labels = {"passed": "false"} if told_by == "label" else {}
    tag = store.save("demo", made, content, labels, {}).tag
    why = r"min accuracy failed: 0\.8 against 0\.9" if told_by == "manifest" else "it was stored as not passed"
    with pytest.raises(StoreError, match=rf"{tag} was not promoted, it failed its gates: .*{why}.*--force"):
        aliases.promote(tag, "production")
    assert not file(bento_home).exists()
    aliases.promote(tag, "production", force=True)
    [event] = aliases.history("demo")["production"]
    assert event.forced


def test_force_is_not_told_of_a_model_that_passed(versions):
    aliases.promote(versions[0], "production", force=True)
    assert not aliases.history("demo")["production"][0].forced


def test_a_model_that_is_deleted_while_it_is_judged_is_not_promoted(versions, monkeypatch):
    monkeypatch.setattr(aliases, "failed_gates", lambda model: store.delete(model.tag) and [])
    with pytest.raises(StoreError, match=f"no version '{version(versions[1])}' of 'demo'"):
        aliases.promote(versions[1], "production")
    assert aliases.history("demo") == {}


# History


def test_history_tells_version_time_action_and_reason_of_every_move(versions):
    start = datetime.now(UTC).replace(microsecond=0)
    aliases.promote(versions[0], "production")
    aliases.promote(versions[1], "production", reason="the new samples")
    aliases.promote(versions[1], "production")
    aliases.rollback("demo", "production", reason="slow")
    assert actions() == [
        ("promoted", versions[0]),
        ("promoted", versions[1]),
        ("promoted", versions[1]),
        ("rolled back", versions[0]),
    ]
    events = aliases.history("demo", "production")["production"]
    assert [event.reason for event in events] == [None, "the new samples", None, "slow"]
    times = [datetime.fromisoformat(event.time) for event in events]
    assert times == sorted(times)
    assert start <= times[0] <= times[-1] <= datetime.now(UTC)
    assert {time.utcoffset().total_seconds() for time in times} == {0}


def test_history_of_a_model_without_aliases_is_empty(versions):
    assert aliases.history("demo") == {}


@pytest.mark.parametrize("use", [aliases.history, aliases.rollback], ids=["history", "rollback"])
def test_an_alias_or_model_that_is_not_there_names_the_nearest(versions, use):
    with pytest.raises(StoreError, match=r"no alias 'production' of 'demo' \(it has none\).*quantbento promote demo"):
        use("demo", "production")
    aliases.promote(versions[0], "production")
    with pytest.raises(StoreError, match=r"no alias 'prod' of 'demo'.*\(it has: production\)"):
        use("demo", "prod")
    with pytest.raises(StoreError, match="no model 'demi' in the store; did you mean 'demo'"):
        use("demi", "production")
    with pytest.raises(StoreError, match="'demo:production' is a tag; name the model only: 'demo'"):
        use("demo:production", "production")
    with pytest.raises(StoreError, match=r"no model '\.\./aliases/demo' in the store"):
        use("../aliases/demo", "production")


# Rolled back


def test_rolling_back_twice_goes_two_steps_back_and_then_there_is_no_more(versions):
    for tag in versions[:3]:
        aliases.promote(tag, "production")
    assert aliases.rollback("demo", "production") == aliases.Moved("demo:production", versions[2], versions[1])
    assert store.find("demo:production").tag == versions[1]
    assert aliases.rollback("demo", "production").after == versions[0]
    before = actions()
    with pytest.raises(StoreError, match=rf"demo:production stood for nothing before {versions[0]}\. Promote another"):
        aliases.rollback("demo", "production")
    assert actions() == before
    assert len(before) == 5


def test_a_promotion_after_a_roll_back_goes_back_to_where_that_was(versions):
    for tag in versions[:2]:
        aliases.promote(tag, "production")
    aliases.rollback("demo", "production")
    aliases.promote(versions[2], "production")
    assert aliases.rollback("demo", "production").after == versions[0]


def test_promoting_what_it_is_already_is_no_step(versions):
    for tag in (versions[0], versions[1], versions[1]):
        aliases.promote(tag, "production")
    assert aliases.rollback("demo", "production").after == versions[0]


def test_deleted_versions_are_skipped_and_told(versions):
    for tag in versions:
        aliases.promote(tag, "production")
    store.delete(versions[2])
    store.delete(versions[1])
    moved = aliases.rollback("demo", "production")
    assert (moved.after, moved.skipped) == (versions[0], (versions[2], versions[1]))
    with pytest.raises(StoreError, match="stood for nothing before"):
        aliases.rollback("demo", "production")


def test_a_step_to_where_it_is_already_is_no_step(versions):
    for tag in (versions[0], versions[1], versions[2], versions[1]):
        aliases.promote(tag, "production")
    store.delete(versions[2])
    moved = aliases.rollback("demo", "production")
    assert (moved.before, moved.after, moved.skipped) == (versions[1], versions[0], (versions[2],))


def test_where_all_before_was_deleted_the_error_says_so(versions):
    for tag in versions[:2]:
        aliases.promote(tag, "production")
    store.delete(versions[0])
    with pytest.raises(StoreError, match=rf"nothing before {versions[1]} but what was deleted \({versions[0]}\)"):
        aliases.rollback("demo", "production")


# Deleted


def test_what_an_alias_stands_for_is_not_deleted_until_it_moves(versions, bento_home):
    for alias in ("production", "1.2.0"):
        aliases.promote(versions[0], alias)
    with pytest.raises(StoreError) as refused:
        store.delete(versions[0])
    told = f"{versions[0]} was not deleted: demo:1.2.0 and demo:production stands for it. Move that first: "
    assert str(refused.value).startswith(told)
    assert "quantbento rollback demo --as production" in str(refused.value)
    assert "quantbento promote demo:<version> --as 1.2.0" in str(refused.value)
    assert store.find(versions[0]).verify()
    assert store.delete(versions[1]) == versions[1]

    for alias in ("production", "1.2.0"):
        aliases.promote(versions[2], alias)
    assert store.delete(versions[0]) == versions[0]


def test_an_alias_of_a_version_that_bentoml_deleted_is_told_and_can_be_moved(versions):
    import bentoml

    for tag in versions[:2]:
        aliases.promote(tag, "production")
    assert aliases.problems() == []
    bentoml.models.delete(versions[1])
    with pytest.raises(alias_file.DanglingAlias, match=f"demo:production stands for {versions[1]}, which is not"):
        store.find("demo:production")
    [problem] = aliases.problems()
    assert problem.startswith(f"demo:production stands for {versions[1]}, which is not in the store. Move it: ")
    assert aliases.rollback("demo", "production").after == versions[0]
    assert aliases.problems() == []


def test_aliases_of_a_model_that_is_gone_altogether_are_told(versions):
    import bentoml

    aliases.promote(versions[0], "production")
    for tag in versions:
        bentoml.models.delete(tag)
    assert len(aliases.problems()) == 1
    assert [event.action for event in aliases.history("demo")["production"]] == ["promoted"]


def test_with_a_damaged_file_exact_versions_are_found_and_nothing_is_deleted(versions, bento_home):
    aliases.promote(versions[0], "production")
    file(bento_home).write_text("{")
    assert store.find(versions[0]).verify()
    assert store.find("demo").tag == versions[3]
    for use in (
        lambda: store.find("demo:production"),
        lambda: store.delete(versions[1]),
        lambda: aliases.promote(versions[1], "production"),
        lambda: aliases.rollback("demo", "production"),
        lambda: aliases.history("demo"),
    ):
        with pytest.raises(StoreError, match=r"demo\.json, the aliases of 'demo', is damaged"):
            use()
    assert file(bento_home).read_text() == "{"
    [problem] = aliases.problems()
    assert str(file(bento_home)) in problem


# Interrupted, and at the same time as others


@pytest.mark.parametrize("move", ["promote", "rollback"])
def test_a_move_interrupted_between_staging_and_rename_leaves_the_old_file(versions, bento_home, monkeypatch, move):
    for tag in versions[:2]:
        aliases.promote(tag, "production")
    before = tree(bento_home)

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", interrupted)
        if move == "promote":
            aliases.promote(versions[2], "production")
        else:
            aliases.rollback("demo", "production")
    assert tree(bento_home) == before
    assert store.find("demo:production").tag == versions[1]


def promote_in_child(home: Path, tags: list[str], killed: bool) -> None:
    from bentoml._internal.configuration.containers import BentoMLContainer
    from bentoml._internal.models import ModelStore

    BentoMLContainer.model_store.set(ModelStore(home / "models"))
    if killed:
        sys.addaudithook(lambda name, _: os.kill(os.getpid(), signal.SIGKILL) if name == "os.rename" else None)
    for tag in tags:
        aliases.promote(tag, "production", reason=f"by {os.getpid()}")


def test_a_promotion_that_is_killed_before_the_rename_leaves_the_old_file(versions, bento_home):
    aliases.promote(versions[0], "production")
    before = file(bento_home).read_bytes()
    child = CHILDREN.Process(target=promote_in_child, args=(bento_home, [versions[1]], True))
    child.start()
    child.join(SECONDS)
    assert child.exitcode == -signal.SIGKILL
    assert file(bento_home).read_bytes() == before
    assert aliases.promote(versions[1], "production").before == versions[0]  # the dead process's lock blocks nobody
    assert {p.name for p in (bento_home / ".quantbento").iterdir()} == {"aliases", "store.lock"}


def test_promotions_from_several_threads_are_all_in_the_history(versions):
    jobs = versions * 4
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(partial(aliases.promote, alias="production"), jobs))
    events = actions()
    assert sorted(tag for _, tag in events) == sorted(jobs)
    assert store.find("demo:production").tag == events[-1][1]


def test_promotions_from_several_processes_are_all_in_the_history(versions, bento_home):
    children = [CHILDREN.Process(target=promote_in_child, args=(bento_home, versions, False)) for _ in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join(SECONDS)
    assert [child.exitcode for child in children] == [0] * 4
    events = aliases.history("demo")["production"]
    for child in children:
        assert [f"demo:{e.version}" for e in events if e.reason == f"by {child.pid}"] == versions
    assert len(events) == 16
    assert alias_file.current("demo")["production"] == events[-1].version


def test_a_reader_never_sees_half_a_file(versions):
    aliases.promote(versions[0], "production")
    with ThreadPoolExecutor(1) as thread:
        writes = thread.submit(lambda: [aliases.promote(tag, "production") for tag in versions * 5])
        seen = 0
        while not writes.done():
            assert store.find("demo:production").tag in versions
            seen += 1
        writes.result()
    assert seen > 0
