"""What every worker does: it ends with its parent, and keeps its channel clean."""

from __future__ import annotations

import subprocess
import sys

import pytest

from quantbento.core.isolated.worker import told_as


def test_worker_ends_when_its_parent_is_gone():
    code = """if True:
        import threading
        from quantbento.core.isolated import worker
        worker._end_with_parent()
        print("up", flush=True)
        threading.Event().wait()
    """
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdout.readline() == b"up\n"
        worker.stdin.close()  # as the kernel does where the parent is killed
        assert worker.wait(30) == 1


def test_what_libraries_print_does_not_reach_the_channel():
    code = """if True:
        import os
        from quantbento.core.isolated import worker
        write = worker._channel()
        print("junk", flush=True)
        os.system("echo junk")
        write({"result": {}})
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == '{"result": {}}\n'
    assert done.stderr == "junk\njunk\n"


@pytest.mark.parametrize(("said", "reason"), [("no kernel.\nat line 3", "no kernel"), ("", "KeyError")])
def test_what_a_library_raises_becomes_one_line(said, reason):
    class Refused(Exception):
        pass

    with (
        pytest.raises(Refused, match=f"^it cannot: {reason}; use another$"),
        told_as(Refused, "it cannot", "; use another"),
    ):
        raise KeyError if not said else ValueError(said)
