"""What the tests of limits share: src/base/limits.h as it is written, who uses a limit of it, and the tables of a page."""
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent
TELLERS = ("limit_metrics.cc", "fixed_limits.cc")  # who only tells a limit does not use it


def limits():
    """(section, name, value) of each limit."""
    section = ""
    for line in (ROOT / "src/base/limits.h").read_text(encoding="utf-8").splitlines():
        if line.startswith("// "):
            section = line[3:]
        found = re.match(r"inline constexpr \S+ (\w+) = ([^;]+);", line)
        if found:
            yield section, found[1], eval(found[2].replace("'", "").replace("ull", ""))


def used_in(*modules):
    """Names of the limits that the code of these modules uses, tests apart."""
    sources = [path for module in modules for path in sorted((ROOT / "src" / module).iterdir())
               if path.suffix in (".cc", ".h") and not path.stem.endswith("_test") and path.name not in TELLERS]
    return {name for path in sources for name in re.findall(r"\blimits::(\w+)", path.read_text(encoding="utf-8"))}


def told(metrics, family):
    """name -> value of a family of limits in metrics."""
    return {name: float(value) for name, value in re.findall(family + r'\{limit="(\w+)"\} (\S+)', metrics)}


def twice(metrics):
    """Series that are there twice, which Prometheus refuses."""
    series = [line.rpartition(" ")[0] for line in metrics.splitlines() if line and not line.startswith("#")]
    return sorted({one for one in series if series.count(one) > 1})


def rows(page):
    """(names, text of the value) of each row of the tables of a page of docs/."""
    for line in (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines():
        if line.startswith("| `"):
            name, value = line.split("|")[1:3]
            yield re.findall(r"`(\w+)`", name), value


def numbers(page):
    """(name, value) of those rows whose values are numbers, one for each name or one for all."""
    for names, text in rows(page):
        values = [float(value.replace(",", "")) for value in re.findall(r"[\d,]*\d", text)]
        yield from zip(names, values * len(names) if len(values) == 1 else values)
