"""Waiting for a condition, never for a time."""
import time

from .promise import Failure

POLL_S = 0.01


def wait_until(condition, what, within=5.0):
    """Polls `condition` until it is true and returns its value; fails with `what` after `within` seconds.
    `what` may be a function, asked at the end, so that a failure can say what was seen last."""
    deadline = time.monotonic() + within
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            said = what() if callable(what) else what
            raise Failure(f"after {within:g} s still not so: {said}")
        time.sleep(POLL_S)
