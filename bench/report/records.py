"""What was measured, as rows; and the numbers that tables and figures are made of. Pure, but for read()."""
import collections
import json
import os
import statistics

from paper.topology import PAPER


def read(path):
    """Rows of results.jsonl, [] without it; a later attempt takes the place of an earlier one. A last line that a stop cut
    in half is left out."""
    rows = {}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            for line in file:
                try:
                    row = json.loads(line)
                except ValueError:
                    continue
                rows[row["key"]] = row
    return list(rows.values())


def end_half_line(file):
    """A stop may have cut the last line of `file` (open for reading and appending): what is added begins on one of its own."""
    file.seek(0)
    text = file.read()
    if text and not text.endswith("\n"):
        file.write("\n")


class Measured:
    """The rows of one workload. A value is found by (competitor, topology, setting, quantity)."""

    def __init__(self, rows, workload):
        self.titles, self.errors, self.quantities, self._values = {}, {}, {}, collections.defaultdict(dict)
        places = {t.name: at for at, t in enumerate(PAPER)}
        topologies, settings = {}, {}
        for row in (r for r in rows if r["workload"] == workload):
            name, result = row["competitor"], row["result"]
            self.titles[name] = row["title"]
            topologies[row["topology"]], settings[row["setting"]] = True, True
            if "error" in result:
                self.errors.setdefault(name, {})[row["topology"], row["setting"]] = result["error"]
                continue
            for quantity, value in result.items():
                self.quantities[quantity] = True
                if value is not None:
                    self._values[name, row["topology"], row["setting"], quantity][row["round"]] = value
        self.topologies = sorted(topologies, key=lambda t: (places.get(t, len(places)), t))
        numbers = all(isinstance(s, (int, float)) for s in settings)
        self.settings = sorted(settings) if numbers else list(settings)

    def __bool__(self):
        return bool(self.titles)

    def values(self, name, topology, setting, quantity):
        return list(self.by_run(name, topology, setting, quantity).values())

    def by_run(self, name, topology, setting, quantity):
        """{number of the run: value}."""
        return self._values.get((name, topology, setting, quantity), {})

    def median(self, name, topology, setting, quantity):
        """None where nothing was measured."""
        return median(self.values(name, topology, setting, quantity))

    def error(self, name, topology, setting):
        return self.errors.get(name, {}).get((topology, setting))


def made_on(machine):
    """One line that says on what it was measured; `machine`: of machine.json."""
    return (f"{machine['processor']}, {machine['cores']} cores, {machine['memory']}, kernel {machine['kernel']}, {machine['libc']}; "
            f"commit {machine['commit']}; lengths: {machine['kind']}")


def median(values):
    return statistics.median(values) if values else None


def deviation(values):
    """Standard deviation of what the runs are a sample of; None of fewer than two."""
    return statistics.stdev(values) if len(values) > 1 else None


def spread(values, digits=None):
    """"12.3 ± 0.4": median and deviation of the runs; the median alone of one run, and "–" of none."""
    return number(median(values), digits) + (f" ± {number(deviation(values), digits)}" if len(values) > 1 else "")


def ratio(value, base):
    return value / base if value is not None and base else None


def starved(values):
    """True if runs of no proxy differ by more than any machine's mood: ports or cores ran out, and ratios mean nothing."""
    return len(values) > 1 and min(values) < 0.5 * max(values)


def less_is_better(quantity):
    return quantity in ("ms", "ports") or quantity.endswith(("_ms", "_kib", "_us", "_s_gib")) or quantity.startswith("cpu")


def off_equation(measured_ms, predicted_ms):
    """True if a mean lies outside of 1.5 ms plus 5 % around what the article's equation says."""
    return abs(measured_ms - predicted_ms) > 1.5 + 0.05 * predicted_ms


def number(value, digits=None):
    """For people: three significant digits, thousands in groups; "–" for None."""
    if value is None:
        return "–"
    if not isinstance(value, (int, float)):
        return str(value)
    if digits is None:
        size = abs(value)
        digits = 0 if size >= 100 or value == int(value) else 1 if size >= 10 else 2
    return f"{value:,.{digits}f}"
