import os
import subprocess
import sys
import textwrap

import pytest

from dagster_project.warehouse import lock


def start_holder(path, seconds):
    """A process that holds the lock and says so."""
    code = textwrap.dedent(
        f"""
        import time
        from pathlib import Path
        from dagster_project.warehouse import lock
        with lock.hold(Path({str(path)!r}), "test"):
            print("held", flush=True)
            time.sleep({seconds})
        """
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_writer_is_told_who_holds_the_lock(tmp_path):
    path = tmp_path / "hindcast.lock"
    process = start_holder(path, 30)
    try:
        with pytest.raises(lock.WarehouseLocked, match=rf"process {process.pid} \(test"), lock.hold(path, "me", 0.2):
            pass
        assert lock.holder(path)["purpose"] == "test"
    finally:
        process.kill()
        process.wait()


def test_sigkill_frees_the_lock(tmp_path):
    path = tmp_path / "hindcast.lock"
    process = start_holder(path, 30)
    process.kill()
    process.wait()
    assert lock.holder(path) is None
    with lock.hold(path, "me", 0.0):
        assert lock.holder(path)["purpose"] == "me"


def test_a_writer_waits_until_the_other_has_finished(tmp_path):
    path = tmp_path / "hindcast.lock"
    process = start_holder(path, 0.5)
    with lock.hold(path, "me", 10.0):
        assert process.wait(5) == 0


def test_the_lock_is_free_after_the_block_and_the_holder_is_this_process_inside_it(tmp_path):
    path = tmp_path / "deep" / "hindcast.lock"
    assert lock.holder(path) is None
    with lock.hold(path, "me"):
        assert lock.holder(path)["pid"] == str(os.getpid())
    assert lock.holder(path) is None
