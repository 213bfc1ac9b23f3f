"""Something that goes on all the time while something else happens."""
import threading

from .promise import check, equal
from .wait import wait_until


class Again:
    """While the block runs, `threads` threads do `once` again and again. Its end waits for them, and fails if any time failed."""

    def __init__(self, once, what, threads=1):
        self.count, self.failures = 0, []
        self._once, self._what, self._over = once, what, threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]
        self._lock = threading.Lock()

    def _run(self):
        while not self._over.is_set():
            try:
                self._once()
                with self._lock:
                    self.count += 1
            except (OSError, AssertionError) as failure:
                self.failures.append(repr(failure))

    def until_more(self, number, within=30.0):
        """Waits until it was done so many times more."""
        before = self.count
        wait_until(lambda: self.count > before + number, f"{number} more {self._what}", within)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind, *_):
        self._over.set()
        for thread in self._threads:
            thread.join(20)
        if kind is None:
            check(not any(thread.is_alive() for thread in self._threads), f"one of the {self._what} hangs")
            equal(self.failures[:3], [], f"failures among {self.count} {self._what}")
