"""A test is a function that keeps a promise, a file is a list of promises, `run()` is its main."""
import os
import signal
import sys
import time
import traceback

_promises = []


class Failure(AssertionError):
    """A promise that was not kept; its text is all that the reader needs."""


def promise(text):
    """Marks a function without arguments as the test of `text`."""
    def mark(function):
        _promises.append((text, function))
        return function
    return mark


def check(condition, why):
    if not condition:
        raise Failure(why() if callable(why) else why)


def equal(seen, wanted, what):
    check(seen == wanted, f"{what}: wanted {wanted!r}, saw {seen!r}")


def stop_cleanly_on_signals():
    """SIGTERM and SIGHUP end like Ctrl-C, so that every `with` block cleans up; a second one does not disturb that."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def interrupt(number, frame):
        for one in numbers:
            signal.signal(one, lambda *_: None)  # not SIG_IGN, which children would inherit
        raise KeyboardInterrupt(signal.Signals(number).name)
    for number in numbers:  # a shell's background job starts with SIGINT ignored
        signal.signal(number, interrupt)


def _keep(text, function):
    started = time.monotonic()
    try:
        function()
    except Exception as error:  # noqa: BLE001 - whatever broke, the promise is not kept
        plain = isinstance(error, AssertionError) and str(error)
        reason = str(error) if plain else "".join(traceback.format_exception(error)).rstrip()
        print(f"FAIL  {text}\n      " + reason.replace("\n", "\n      "), flush=True)
        for note in getattr(error, "__notes__", []):
            print("      " + note.replace("\n", "\n      "), flush=True)
        return False
    print(f"PASS  {text} ({time.monotonic() - started:.1f} s)", flush=True)
    return True


def run(needs_root=True):
    """Keeps all promises of the file, or those that contain the words of the command line; exits 0 or 1."""
    stop_cleanly_on_signals()
    words = sys.argv[1:]
    chosen = [(t, f) for t, f in _promises if all(w in t or w == f.__name__ for w in words)]
    if not chosen:
        sys.exit("no promise fits " + " ".join(words))
    if needs_root and os.geteuid() != 0:
        for text, _ in chosen:
            print(f"FAIL  {text}\n      cannot run: network namespaces need root")
        sys.exit(1)
    try:
        kept = [_keep(text, function) for text, function in chosen]
    except KeyboardInterrupt:
        print("interrupted; everything was cleaned up", flush=True)
        sys.exit(130)
    sys.exit(0 if all(kept) else 1)
