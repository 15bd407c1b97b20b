"""The lines of the error log."""

import fcntl
import json
import os
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from udsrv.log import (
    DEBUG,
    ERROR,
    INFO,
    LINE_LIMIT_BYTES,
    WARNING,
    Form,
    Log,
    escape,
    form,
    journal_is_stderr,
    marked,
    unmarked,
)


@pytest.fixture
def pipe():
    read_fd, write_fd = os.pipe2(os.O_NONBLOCK)
    yield read_fd, write_fd
    os.close(read_fd)
    os.close(write_fd)


BARE = Form()


def log_to(fd: int, *, level: int = INFO, form: Form = BARE) -> Log:
    return Log("master", level=level, form=form, fd=fd)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain äöü €", "plain äöü €"),
        ("a\ttab", "a\ttab"),
        ("one\ntwo", "one\\x0atwo"),
        ("\r\0\x1b[31m", "\\x0d\\x00\\x1b[31m"),
        ("del\x7f csi\x9b1m nel\x85", "del\\x7f csi\\x9b1m nel\\x85"),
    ],
)
def test_control_characters_are_written_as_escapes(text, line):
    assert escape(text) == line


@given(st.text())
def test_no_text_keeps_a_control_character(text):
    assert not {c for c in escape(text) if unicodedata.category(c) == "Cc"} - {"\t"}


@pytest.mark.parametrize(
    ("level", "line"),
    [
        (INFO, "[master] text\n"),
        (WARNING, "[master] warning: text\n"),
        (ERROR, "[master] error: text\n"),
        (DEBUG, "[master] debug: text\n"),
    ],
)
def test_a_line_says_who_and_how_bad(pipe, level, line):
    log_to(pipe[1], level=DEBUG).write(level, "text")
    assert os.read(pipe[0], 4096).decode() == line


def test_what_is_less_important_than_wanted_is_left_out(pipe):
    log = log_to(pipe[1], level=WARNING)
    log.info("no")
    log.debug("no")
    log.error("yes")
    assert os.read(pipe[0], 4096) == b"[master] error: yes\n"


def test_a_timestamp_is_in_front(pipe):
    log_to(pipe[1], form=Form(timestamps=True)).info("text")
    line = os.read(pipe[0], 4096).decode()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ \[master\] text\n", line)


@pytest.mark.parametrize(
    ("level", "line"),
    [
        (DEBUG, "<7>[master] debug: text\n"),
        (INFO, "<6>[master] text\n"),
        (WARNING, "<4>[master] warning: text\n"),
        (ERROR, "<3>[master] error: text\n"),
    ],
)
def test_the_journal_is_told_how_bad_a_line_is(pipe, level, line):
    log_to(pipe[1], level=DEBUG, form=form("text", to_journal=True)).write(level, "text")
    assert os.read(pipe[0], 4096).decode() == line


@pytest.mark.parametrize("to_journal", [False, True])
@pytest.mark.parametrize(
    ("level", "name"), [(DEBUG, "debug"), (INFO, "info"), (WARNING, "warning"), (ERROR, "error")]
)
def test_in_json_a_line_is_an_object(pipe, level, name, to_journal):
    log_to(pipe[1], level=DEBUG, form=form("json", to_journal=to_journal)).write(
        level, "a\n\x7f\xe4"
    )
    line = os.read(pipe[0], 4096)
    assert line.startswith(b"<") == to_journal
    said = json.loads(line[3:] if to_journal else line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", said.pop("time"))
    assert said == {"level": name, "process": "master", "message": "a\n\x7f\xe4"}
    assert all(32 <= byte < 127 for byte in line.removesuffix(b"\n"))


def test_what_a_worker_marks_has_a_level_and_all_else_is_information():
    for level in (DEBUG, INFO, WARNING, ERROR):
        assert marked(level, "one\ntwo\x85 \n").endswith("two\x85 \n")
        lines = marked(level, "one\ntwo\n").encode().splitlines()
        assert [unmarked(line) for line in lines] == [(level, b"one"), (level, b"two")]
    for line in (b"", b"<8>a", b"<33>a", b"< 3>a", b"a<3>"):
        assert unmarked(line) == (INFO, line)
    assert [unmarked(b"<%d>a" % number)[0] for number in range(8)] == [
        ERROR, ERROR, ERROR, ERROR, WARNING, INFO, INFO, DEBUG,
    ]  # fmt: skip
    assert unmarked(b"<3><3>a") == (ERROR, b"<3>a")


def test_a_child_writes_under_its_own_name(pipe):
    log_to(pipe[1]).child("worker 3").info("text")
    assert os.read(pipe[0], 4096) == b"[worker 3] text\n"


def test_a_surrogate_cannot_break_the_log(pipe):
    log_to(pipe[1]).info("file \udcff")
    assert os.read(pipe[0], 4096) == b"[master] file \\udcff\n"


def written(text: str, form: Form = BARE) -> bytes:
    """What the log makes of ``text``, in a pipe that has room for all of it."""
    read_fd, write_fd = os.pipe2(os.O_NONBLOCK)
    try:
        fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, 1 << 20)
        log_to(write_fd, form=form).line(text)
        return os.read(read_fd, 1 << 20)
    finally:
        os.close(read_fd)
        os.close(write_fd)


RUNS = st.tuples(st.sampled_from("a€\x1b\U0001f600\udcff"), st.integers(0, 5000))


@given(st.lists(RUNS, max_size=3))
def test_a_long_text_is_split_into_atomic_lines_and_loses_nothing(runs):
    text = "".join(character * count for character, count in runs)
    lines = written(text).decode().split("\n")  # no character is cut in two
    assert lines.pop() == ""
    assert all(len(line.encode()) < LINE_LIMIT_BYTES for line in lines)
    assert all(line.startswith("[master] ") for line in lines)
    assert "".join(line.removeprefix("[master] ") for line in lines) == (
        escape(text).encode("utf-8", "backslashreplace").decode()
    )


@given(st.lists(RUNS, max_size=3))
def test_a_long_text_becomes_several_objects(runs):
    text = "".join(character * count for character, count in runs)
    lines = written(text, Form(is_json=True)).splitlines(keepends=True)
    assert all(len(line) <= LINE_LIMIT_BYTES for line in lines)
    assert "".join(json.loads(line)["message"] for line in lines) == text


def test_a_reader_that_does_not_read_never_blocks_and_is_told_later(pipe):
    read_fd, write_fd = pipe
    os.set_blocking(write_fd, True)
    log = log_to(write_fd)
    for _ in range(1000):
        log.info("x" * 1000)
    lost = 1000 - os.read(read_fd, 1 << 20).count(b"\n")
    assert lost > 0
    log.info("after")
    assert os.read(read_fd, 4096).decode() == (
        f"[master] warning: {lost} lines were lost, nobody read\n[master] after\n"
    )


def test_a_closed_log_ends_nobody():
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    log_to(write_fd).error("nobody hears it")
    os.close(write_fd)


def test_the_journal_is_recognized_by_its_device_and_inode(pipe):
    facts = os.fstat(pipe[1])
    stream = f"{facts.st_dev}:{facts.st_ino}"
    assert journal_is_stderr({"JOURNAL_STREAM": stream}, pipe[1])
    assert not journal_is_stderr({"JOURNAL_STREAM": "1:2"}, pipe[1])
    assert not journal_is_stderr({}, pipe[1])
    assert not journal_is_stderr({"JOURNAL_STREAM": stream}, 1 << 20)
