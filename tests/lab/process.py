"""A process inside of a namespace, with its output in a file."""
import ctypes
import os
import signal
import subprocess
import threading

from .promise import Failure
from .wait import wait_until

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


def _die_with_parent():
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """Started by Node.start. `log` is the path of stdout and stderr together."""

    def __init__(self, name, command, log, env=None, cwd=None, outlives_us=False):
        self.name, self.command, self.log = name, command, log
        # A thread's end would count as the parent's death, so only the main thread ties its children to itself.
        tied = threading.current_thread() is threading.main_thread() and not outlives_us
        with open(log, "wb") as out:
            self._popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd,
                                           env={**os.environ, **(env or {})}, start_new_session=True,
                                           preexec_fn=_die_with_parent if tied else None)
        self.pid, self._asked = self._popen.pid, False

    def output(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()

    def tail(self, lines=12):
        return "\n".join(self.output().splitlines()[-lines:])

    def alive(self):
        return self._popen.poll() is None

    def code(self):
        """Exit code, None while it runs, negative for a signal."""
        return self._popen.poll()

    def wait(self, within=10.0):
        """Waits for the end and returns the exit code."""
        try:
            return self._popen.wait(within)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} did not end within {within:g} s; its log ends with\n{self.tail()}") from None

    def wait_for(self, condition, what, within=10.0):
        """Like wait_until, but gives up at once when the process dies."""
        def look():
            value = condition()
            if not value and not self.alive():
                raise Failure(f"{self.name} ended with {self.code()} before: {what}; its log ends with\n{self.tail()}")
            return value
        return wait_until(look, lambda: f"{what}; the log of {self.name} ends with\n{self.tail()}", within)

    def wait_for_log(self, text, within=10.0):
        return self.wait_for(lambda: text in self.output(), f"the log says {text!r}", within)

    def signal(self, number):
        if self.alive():
            os.kill(self.pid, number)

    def kill(self):
        """kill -9, and gone when this returns."""
        self.signal(signal.SIGKILL)
        return self.wait()

    def ask_to_stop(self):
        """SIGTERM, once: to many programs a second one means "at once, without cleaning up"."""
        if not self._asked:
            self._asked = True
            self.signal(signal.SIGTERM)

    def stop(self, within=10.0):
        """SIGTERM; SIGKILL to its whole session if it does not obey. Returns the exit code."""
        self.ask_to_stop()
        try:
            return self._popen.wait(within)
        except subprocess.TimeoutExpired:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            return self._popen.wait()
