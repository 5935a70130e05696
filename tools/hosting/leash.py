"""Run a command that cannot outlive the process that holds this one's standard input: `python leash.py COMMAND ...`.

The command gets its own process group. The moment standard input closes - because the holder let go, crashed or was killed - the
whole group is ended: politely at first, then not. So no signal handler of the holder has to run for nothing to stay behind.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading

SECONDS_TO_END = 10.0
PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>
WINDOWS = os.name == "nt"


def own_group() -> dict[str, object]:
    """Keywords for Popen that keep the terminal's Ctrl-C away from the new process."""
    if WINDOWS:
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def start(command: list[str], **options: object) -> subprocess.Popen:
    """Start `command` on a leash that `let_go` (or the end of this process) releases."""
    return subprocess.Popen([sys.executable, __file__, *command], stdin=subprocess.PIPE, **own_group(), **options)


def let_go(leash: subprocess.Popen) -> None:
    """End the command and everything it started, and wait until they are gone."""
    leash.stdin.close()
    try:
        leash.wait(timeout=2 * SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        leash.kill()
        leash.wait()


def end_group(child: subprocess.Popen) -> None:
    """End the child and its descendants; harmless when they are gone already."""
    if WINDOWS:
        subprocess.run(["taskkill", "/T", "/F", "/PID", str(child.pid)], capture_output=True)
        return
    _signal_group(child, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(timeout=SECONDS_TO_END)
    # Also when the child ended at once: its own children may have ignored the request.
    _signal_group(child, signal.SIGKILL)


def _signal_group(child: subprocess.Popen, number: int) -> None:
    # Nobody may be left in the group; macOS reports that as a matter of permission.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


def end_with_parent() -> None:
    """Have the system kill this process when its parent ends, even by SIGKILL; Linux only, elsewhere nothing."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main(command: list[str]) -> int:
    dying = {"preexec_fn": end_with_parent} if sys.platform == "linux" else {}
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, **own_group(), **dying)

    def end_when_released() -> None:
        os.read(sys.stdin.fileno(), 1)  # unbuffered: a thread inside sys.stdin would be in the way at exit
        end_group(child)

    threading.Thread(target=end_when_released, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: end_group(child))
    code = child.wait()
    end_group(child)
    return code if code >= 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
