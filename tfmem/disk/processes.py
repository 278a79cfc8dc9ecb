"""Which process something belongs to, and whether that process still runs."""

import dataclasses
import functools
import os
import pathlib
import re
import socket


@dataclasses.dataclass(frozen=True)
class Process:
    """A process of some machine.

    Attributes:
      host: the machine's name and, on Linux, when it was started and the namespace that counts its
        processes: machines and containers may share a name.
      pid: the process's number there.
      start: when it began, in the machine's own ticks; 0 where that cannot be known. Numbers are
        given again, but not at the same time.
    """

    host: str
    pid: int
    start: int

    # Names of files hold a process in this form.
    PATTERN = r"(?P<host>[^/]+)\.(?P<pid>\d+)\.(?P<start>\d+)"

    def __str__(self) -> str:
        return f"{self.host}.{self.pid}.{self.start}"

    @classmethod
    def parse(cls, text: str) -> "Process":
        """The inverse of `str`; ValueError if it is no process."""
        match = re.fullmatch(cls.PATTERN, text)
        if not match:
            raise ValueError(f"{text!r} is not a process, expected HOST.PID.START")
        return cls(match["host"], int(match["pid"]), int(match["start"]))

    def is_running(self) -> bool | None:
        """Returns whether it still runs; None if it belongs to another machine."""
        if self.host != _host():
            return None
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):
            return False  # No process has a number beyond the system's.
        except PermissionError:
            pass
        state, start = _state_and_start(self.pid)
        return state != "Z" and start == self.start  # A zombie has ended.


def current() -> Process:
    """Returns this process."""
    pid = os.getpid()
    return Process(_host(), pid, _state_and_start(pid)[1])


@functools.cache
def _host() -> str:
    try:
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
        return f"{socket.gethostname()}-{boot}-{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return socket.gethostname()


def _state_and_start(pid: int) -> tuple[str, int]:
    try:
        # The name, in brackets, may hold anything.
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "", 0
    return fields[0], int(fields[19])
