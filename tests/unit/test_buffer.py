"""The buffer alone, on a host whose commits may fail or be interrupted by further writes: nothing accepted is lost."""

from __future__ import annotations

import logging
import pickle

import lmdb
import pytest
from support.buffer_host import Host, apply, nothing, raising

from lmdb_object_store._buffer.flush import HINT_AFTER, SMALL_COMMIT
from lmdb_object_store._buffer.state import RefusingBuffer
from lmdb_object_store._environment.environment import MISSING
from lmdb_object_store._errors import StoreClosedError, closed


@pytest.fixture
def host() -> Host:
    """Return a host whose buffer is not soon full."""
    return Host()


def test_flush_change_is_in_the_buffer_until_its_commit_is_done(host: Host) -> None:
    """All through a commit its changes are found in the buffer."""
    host._add(b"a", b"1")
    seen: list[dict[bytes, bytes | None]] = []
    host.before = host.after = lambda: seen.append(dict(host.write_buffer))
    host._flush()
    assert seen == [{b"a": b"1"}] * 2
    assert host.write_buffer == {}
    assert host.file == {b"a": b"1"}


def test_flush_of_nothing_commits_nothing(host: Host) -> None:
    """A flush of nothing writes nothing."""
    host._flush()
    host._flush_before_read()
    assert host.commits == 0


@pytest.mark.parametrize("data", [b"new", None])
def test_stage_key_during_its_own_commit_stays_pending(host: Host, data: bytes | None) -> None:
    """A handler that writes the very key that is being committed wins, and is committed next."""
    host._add(b"a", b"old")
    host.before = lambda: host._add(b"a", data)
    host._flush()
    assert host.file == {b"a": b"old"}
    assert host.write_buffer == {b"a": data}
    host.before = nothing
    host._flush()
    assert host.file == apply({}, {b"a": data})


def test_stage_same_value_during_its_own_commit_stays_pending(host: Host) -> None:
    """Even a change equal to the one being committed is a new one: another process may have written in between."""
    first, second = pickle.dumps("same"), pickle.dumps("same")
    host._add(b"a", first)
    host.after = lambda: host._add(b"a", second)
    host._flush()
    assert host.write_buffer == {b"a": second}


def test_flush_that_fails_is_noted_until_the_next_change(host: Host) -> None:
    """Reads do not try the same flush again. They try once more when there is something new to write."""
    host._add(b"a", b"1")
    host.before = raising(lmdb.DiskError("full"))
    with pytest.raises(lmdb.DiskError):
        host._flush()
    assert host._flush_failed is True
    host._add(b"b", b"2")
    assert host._flush_failed is False


def test_stage_at_the_threshold_of_entries_flushes() -> None:
    """The buffer is flushed as it reaches `batch_size` keys; the same key twice is one."""
    host = Host(batch_size=3)
    for key in (b"a", b"b", b"b", b"a"):
        host._add(key, b"1")
    assert host.commits == 0
    host._add(b"c", None)
    assert host.commits == 1
    assert host.write_buffer == {}


def test_stage_at_the_threshold_of_bytes_flushes() -> None:
    """The buffer is flushed as its keys and values reach `batch_bytes`; what was replaced does not count."""
    host = Host(batch_bytes=20)
    for size in (18, 1, 18):
        host._add(b"a", b"x" * size)
    assert host.commits == 0
    host._add(b"b", None)
    assert host.commits == 1


def test_flush_before_read_that_fails_is_logged_once(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """The failure is logged as a warning, and the flush is tried again only once there is a new change."""
    host.before = raising(lmdb.DiskError("full"))
    host._add(b"a", b"1")
    for _ in range(3):
        host._flush_before_read()
    assert [(record.name, record.levelno) for record in caplog.records] == [("lmdb_object_store", logging.WARNING)]
    assert "full" in caplog.text
    host.before = nothing
    host._flush_before_read()
    assert host.write_buffer == {b"a": b"1"}
    host._add(b"b", b"2")
    host._flush_before_read()
    assert host.file == {b"a": b"1", b"b": b"2"}


def test_flush_before_read_without_autoflush_does_nothing() -> None:
    """`autoflush_on_read=False` leaves reads without a flush."""
    host = Host(autoflush=False)
    host._add(b"a", b"1")
    host._flush_before_read()
    assert host.commits == 0


def read_after_changes(host: Host, changes: int = SMALL_COMMIT, times: int = 1) -> None:
    """Add `changes` changes and read, `times` times."""
    for _ in range(times):
        for number in range(changes):
            host._add(b"%d" % number, b"1")
        host._flush_before_read()


def test_flush_before_read_of_few_changes_names_the_option_once(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """After some hundreds of small commits by reads, one line says what they cost and how to avoid them."""
    caplog.set_level(logging.INFO)
    read_after_changes(host, times=HINT_AFTER - 1)
    assert caplog.records == []
    read_after_changes(host, times=2 * HINT_AFTER)
    assert [(record.name, record.levelno) for record in caplog.records] == [("lmdb_object_store", logging.INFO)]
    assert "autoflush_on_read=False" in caplog.text
    assert f"nowhere: {HINT_AFTER} reads" in caplog.text


def test_flush_before_read_of_many_changes_is_no_small_commit(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """Reads that commit more changes, find nothing pending, or cannot commit, do not count."""
    caplog.set_level(logging.INFO)
    read_after_changes(host, SMALL_COMMIT + 1, times=HINT_AFTER)
    read_after_changes(host, 0, times=HINT_AFTER)
    host.before = raising(lmdb.DiskError("full"))
    read_after_changes(host, times=HINT_AFTER)
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_flush_before_read_under_the_lock_logs_nothing(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """A read in a signal handler may hold the lock, under which no logging handler runs. A later read logs the line."""
    caplog.set_level(logging.INFO)
    read_after_changes(host, times=HINT_AFTER - 1)
    with host.world.lock:
        read_after_changes(host)
    assert caplog.records == []
    read_after_changes(host)
    assert len(caplog.records) == 1


def test_stage_in_a_closed_host_is_refused(host: Host) -> None:
    """A change after the close is an error, whichever way it comes, and does not look accepted."""

    def refuse() -> None:
        raise closed("nowhere")

    host._sink = RefusingBuffer(refuse)
    for call in (
        lambda: host._add(b"a", b"1"),
        lambda: host._update([(b"a", 1)]),
        lambda: host.put(b"a", 1),
        lambda: host._add_if_unchanged(b"a", MISSING, 0, b"1"),
    ):
        with pytest.raises(StoreClosedError, match="nowhere is closed"):
            call()
    assert host.write_buffer == {}


def test_forget_pending_then_flush_writes_nothing(host: Host) -> None:
    """A fork's copy of the buffer is dropped, in the same dict."""
    buffer = host.write_buffer
    host._add(b"a", b"1")
    host._forget_pending()
    host._flush()
    assert host.write_buffer is buffer
    assert (buffer, host._pending_bytes, host.commits) == ({}, 0, 0)


def test_put_and_update_where_each_change_takes_the_lock_add_it(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the global interpreter lock a write is added under the lock, and counted exactly."""
    monkeypatch.setattr("lmdb_object_store._buffer.pending.ONE_STEP", False)
    host.put(b"a", 1)
    host.put(b"a", 2)
    host._update([(b"b", 3)])
    assert host.write_buffer == {b"a": pickle.dumps(2, 5), b"b": pickle.dumps(3, 5)}
    assert host._pending_bytes == sum(len(key) + len(data or b"") for key, data in host.write_buffer.items())
