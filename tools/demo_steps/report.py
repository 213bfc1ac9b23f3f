"""One line for each thing shown: `ok  what (numbers)` or `FAIL  what: why`."""
import contextlib
import sys
import time
import traceback

from lab import Failure


class Line:
    """A running check; `say` adds the numbers that stand behind it in brackets."""

    def __init__(self):
        self.numbers = []

    def say(self, *texts):
        self.numbers += [str(t) for t in texts]


class Report:
    def __init__(self):
        self.kept, self.failed, self._sections, self._began = 0, [], 0, time.monotonic()
        self._terminal = sys.stdout.isatty()

    def section(self, title):
        self._sections += 1
        print(f"\n{self._sections}. {title}", flush=True)

    def note(self, text):
        print("      " + text.replace("\n", "\n      "), flush=True)

    @contextlib.contextmanager
    def shows(self, what):
        """One check. A failure inside is printed and counted, and the demo goes on with the next check."""
        line, began = Line(), time.monotonic()
        if self._terminal:
            print(f"  ..    {what}", end="\r", flush=True)
        try:
            yield line
        except Exception as error:  # noqa: BLE001 - any failure is a line of the report
            plain = isinstance(error, Failure)
            why = str(error) if plain else "".join(traceback.format_exception(error)[-3:]).rstrip()
            self.failed.append(what)
            print(f"  FAIL  {what}: " + why.replace("\n", "\n          "), flush=True)
        else:
            self.kept += 1
            numbers = f" ({', '.join(line.numbers)})" if line.numbers else f" ({time.monotonic() - began:.1f} s)"
            print(f"  ok    {what}{numbers}", flush=True)

    def act(self, play, *arguments):
        """One act; what breaks outside of a check is counted as one that failed, and the next act is played."""
        try:
            play(self, *arguments)
        except Exception as error:  # noqa: BLE001
            what = (play.__doc__ or f"{play.__module__.rpartition('.')[2]}.{play.__name__}").splitlines()[0]
            self.failed.append(what)
            why = str(error) if isinstance(error, Failure) else "".join(traceback.format_exception(error)[-4:]).rstrip()
            print(f"  FAIL  {what}: " + why.replace("\n", "\n          "), flush=True)

    def end(self):
        """Prints the verdict and returns the exit code."""
        took = time.monotonic() - self._began
        if not self.failed:
            print(f"\n{self.kept} things shown in {took:.0f} s\ndemo: PASS", flush=True)
            return 0
        print(f"\n{self.kept} things shown, {len(self.failed)} not, in {took:.0f} s; not shown:")
        for what in self.failed:
            print("  - " + what)
        print("demo: FAIL", flush=True)
        return 1
