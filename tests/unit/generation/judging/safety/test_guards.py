"""Code in the decoder's child, as a hole in a decoder would run it: what it can reach."""

import json
import subprocess
import sys

import pytest

from generation.judging.safety import decode
from generation.judging.safety.decode import Decoder
from generation.judging.safety.guards import Guard
from tests.unit.generation.judging.safety.pictures import encoded, noise

# Runs as the child does, guards and all, with attempts in the place of decoding.
TAKEN_OVER = """
import ctypes, json, os, socket, subprocess, sys
from generation.judging.safety import decode_child, guards
for name in {without}:
    setattr(guards, name, lambda: False)
libc = ctypes.CDLL(None, use_errno=True)

def attempt(action):
    try:
        action()
    except OSError as error:
        return type(error).__name__
    return "done"

def traced():
    if libc.ptrace(0x4206, os.getppid(), None, None) == -1:  # PTRACE_SEIZE, which stops nothing
        raise OSError(ctypes.get_errno(), "ptrace")

def started():
    if os.fork() == 0:
        os._exit(0)

ATTEMPTS = {{
    "environment of the parent": lambda: open(f"/proc/{{os.getppid()}}/environ", "rb").read(),
    "memory of the parent": lambda: open(f"/proc/{{os.getppid()}}/mem", "rb"),
    "a file": lambda: open({file!r}).read(),
    "a folder": lambda: os.listdir({folder!r}),
    "writing": lambda: open({file!r} + ".new", "w"),
    "unlinking": lambda: os.unlink({file!r}),
    "a fork": started,
    "a program": lambda: subprocess.run([sys.executable, "-V"], stdout=2),
    "the internet": lambda: socket.socket(),
    "a local socket": lambda: socket.socket(socket.AF_UNIX),
    "a signal to the parent": lambda: os.kill(os.getppid(), 0),
    "tracing the parent": traced,
}}

def decode(*_):
    answers = {{name: attempt(action) for name, action in ATTEMPTS.items()}}
    sys.stdout.buffer.write(json.dumps(answers).encode())
    sys.stdout.flush()
    os._exit(0)

decode_child.decode = decode
decode_child.main()
"""
FILES = {"environment of the parent", "memory of the parent", "a file", "a folder"}
FILES |= {"writing", "unlinking"}
PROCESSES = {"a fork", "a program"}
NETWORK = {"the internet", "a local socket"}
OTHERS = {"a signal to the parent", "tracing the parent"}


@pytest.fixture
async def guards() -> frozenset[Guard]:
    return await Decoder().guards()


async def reached(monkeypatch, tmp_path, without: tuple[str, ...] = ()) -> set[str]:
    """What code in the child's place can do, started as the child is."""
    monkeypatch.setenv("DISCORD_TOKEN", "secret-of-the-bot")
    file = tmp_path / "record"
    file.write_text("what members drew")
    code = TAKEN_OVER.format(file=str(file), folder=str(tmp_path), without=without)
    monkeypatch.setattr(decode, "CHILD", ("-c", code))
    process = await Decoder()._spawn(1_000_000)
    said, _ = await process.communicate(b"a picture")
    answers = json.loads(said)
    assert set(answers) == FILES | PROCESSES | NETWORK | OTHERS
    assert file.exists() == (answers["unlinking"] != "done")
    return {name for name, answer in answers.items() if answer == "done"}


async def test_the_child_reaches_nothing_of_the_bot(guards, monkeypatch, tmp_path):
    if missing := {Guard.LANDLOCK, Guard.SECCOMP} - guards:
        pytest.skip(f"this kernel has no {' and no '.join(sorted(missing))}")
    assert await reached(monkeypatch, tmp_path) == set()


async def test_without_seccomp_files_are_still_closed(guards, monkeypatch, tmp_path):
    if Guard.LANDLOCK not in guards:
        pytest.skip("this kernel has no landlock")
    assert not await reached(monkeypatch, tmp_path, ("_has_seccomp",)) & (FILES | {"a program"})


async def test_without_landlock_nothing_opens_starts_or_connects(guards, monkeypatch, tmp_path):
    if Guard.SECCOMP not in guards:
        pytest.skip("this kernel has no seccomp")
    assert await reached(monkeypatch, tmp_path, ("_has_landlock",)) == set()


async def test_the_attempts_succeed_where_nothing_guards(monkeypatch, tmp_path):
    """What makes the other tests mean something."""
    without = ("_has_landlock", "_has_seccomp")
    reachable = {"a file", "a folder", "unlinking", "the internet", "a local socket"}
    assert reachable <= await reached(monkeypatch, tmp_path, without)


async def test_the_environment_of_the_child_holds_nothing_of_ours(monkeypatch):
    monkeypatch.setenv("DISCORD_TOKEN", "secret-of-the-bot")
    monkeypatch.setenv("HF_TOKEN", "another")
    monkeypatch.setattr(
        decode, "CHILD", ("-c", "import os, sys; sys.stdout.write(repr(dict(os.environ)))")
    )
    said, _ = await (await Decoder()._spawn(1_000_000)).communicate(b"")
    assert set(eval(said)) <= {"PATH", "PYTHONPATH", "LC_CTYPE"}  # noqa: S307 - our own words


REFUSED = """
import errno, seccompy
calls = seccompy.Filter()
calls.errno("landlock_create_ruleset", errno.EPERM)
calls.errno("seccomp", errno.EPERM)
calls.load()
from generation.judging.safety import decode_child
decode_child.main()
"""


async def test_a_container_that_refuses_the_guards_still_opens_pictures(guards, monkeypatch):
    if Guard.SECCOMP not in guards:
        pytest.skip("this kernel has no seccomp")
    monkeypatch.setattr(decode, "CHILD", ("-c", REFUSED))
    assert (await Decoder().decode(encoded(noise(), "PNG"))).width == 64
    assert await Decoder().guards() == {Guard.LIMITS}


async def test_a_child_says_which_guards_it_holds(guards):
    assert Guard.LIMITS in guards


RUNNING = """
import asyncio, ctypes
from bot import __main__
from bot.terminal import run

def served(coroutine):
    coroutine.close()
    print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))  # PR_GET_DUMPABLE

asyncio.run = served
__main__.main()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows /proc/PID/environ")
def test_the_bot_hides_its_token_before_it_serves(tmp_path):
    environment = {"DISCORD_TOKEN": "token", "ATELIER_DATA_DIR": str(tmp_path), "PYTHONPATH": "."}
    done = subprocess.run(
        [sys.executable, "-c", RUNNING, "run"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.stdout == "0\n", done.stderr


HIDING = """
import ctypes, os, sys
from generation.judging.safety.guards import hide_memory

def is_open():
    pid = os.fork()
    if pid == 0:
        try:
            open(f"/proc/{os.getppid()}/environ", "rb").read()
        except OSError:
            os._exit(0)
        os._exit(1)
    return bool(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

if os.getuid() == 0:  # to whom everything is open
    os.setresuid(65534, 65534, 65534)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # becoming somebody else hides, too
before, hidden = is_open(), hide_memory()
print(before, hidden, is_open(), os.listdir("/proc/self/fd") != [])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows /proc/PID/environ")
def test_a_process_that_hides_shows_its_environment_to_no_other():
    done = subprocess.run(
        [sys.executable, "-c", HIDING], capture_output=True, text=True, check=True
    )
    was_open, is_hidden, is_open, sees_itself = done.stdout.split()
    if was_open == "False":
        pytest.skip("this kernel keeps environments closed already")
    assert (is_hidden, is_open, sees_itself) == ("True", "False", "True")
