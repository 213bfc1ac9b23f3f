#!/usr/bin/python3
"""The rules of the house that a machine can check, each with a control that shows its teeth:
includes against the layering of src/CMakeLists.txt, long files, leftovers, paths of somebody's machine."""
import pathlib
import re
import subprocess

from lab import check, equal, promise, repository, run

MAX_LINES = 500
SOURCES = {".h", ".c", ".cc", ".py", ".ts", ".tsx", ".js", ".css", ".sh", ".cmake"}
PROSE = {".md", ".txt", ".yaml", ".yml", ".json", ".cedar", ""}
# The words are built, so that this file is no finding of its own.
MARKERS = ["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK", "st" + "ub", "not imple" + "mented", "unimple" + "mented",
           "GTEST_" + "SKIP", "DISABLED" + "_"]
MACHINE_PATHS = ["/wo" + "rk/", "/ho" + "me/", "/ro" + "ot/", "/Us" + "ers/"]
_marker = re.compile("|".join(rf"(?<![A-Za-z]){re.escape(m)}(?![A-Za-rt-z])" if m[-1] != "_" else rf"\b{m}" for m in MARKERS),
                     re.IGNORECASE)
_dead_code = re.compile(r"^\s*//\s*(if|for|while|switch|return|auto|const|co_await|std::\w+)\b.*[;{]\s*$")
_include = re.compile(r'^\s*#\s*include\s+"([^"/]+)/')


def files():
    """Every file of the repository that is, or is about to be, under version control."""
    listed = subprocess.run(["git", "-C", str(repository), "ls-files", "-co", "--exclude-standard"], capture_output=True,
                            text=True)
    if listed.returncode == 0:
        names = listed.stdout.splitlines()
    else:  # an unpacked archive
        names = [str(p.relative_to(repository)) for p in repository.rglob("*") if p.is_file()]
    for name in names:
        path = repository / name
        if path.suffix in SOURCES | PROSE and not name.startswith(("build/", "fuzz/corpus/")) and path.is_file():
            try:
                yield name, path.read_text(encoding="utf-8")
            except (UnicodeDecodeError, FileNotFoundError):
                continue


def modules(cmake):
    """{module: modules it may include}, itself and what its DEPENDS reach."""
    direct = {}
    for name, words in re.findall(r"^epif_module\((\w+)([^)]*)\)", cmake, re.MULTILINE):
        depends = re.search(r"\bDEPENDS((?:\s+[a-z_]+)+)", words)
        direct[name] = depends[1].split() if depends else []
    reach = {}
    for name, depends in direct.items():  # CMake reads from above, so what a module needs is known before it
        for other in depends:
            check(other in reach, f"src/CMakeLists.txt: {name} needs {other}, which does not stand above it")
        reach[name] = {name}.union(*(reach[d] for d in depends))
    return reach


def wrong_includes(name, text, reach):
    parts = pathlib.PurePath(name).parts
    if len(parts) < 3 or parts[0] != "src":
        return []
    allowed = reach.get(parts[1])
    if allowed is None:
        return [f"{name}: no module {parts[1]} in src/CMakeLists.txt"]
    return [f"{name}:{number}: {parts[1]} may not include {match[1]} (allowed: {', '.join(sorted(allowed))})"
            for number, line in enumerate(text.splitlines(), 1)
            if (match := _include.match(line)) and match[1] in reach and match[1] not in allowed]


def too_long(name, text):
    lines = text.count("\n")
    return [f"{name}: {lines} lines, at most {MAX_LINES}"] if pathlib.PurePath(name).suffix in SOURCES and lines > MAX_LINES else []


def leftovers(name, text):
    found = [f"{name}:{number}: leftover {match[0]!r}" for number, line in enumerate(text.splitlines(), 1)
             if (match := _marker.search(line))]
    if name.endswith((".h", ".c", ".cc")):
        found += [f"{name}:{number}: commented-out code" for number, line in enumerate(text.splitlines(), 1)
                  if _dead_code.match(line)]
    return found


def machine_paths(name, text):
    return [f"{name}:{number}: names a path of one machine ({path})" for number, line in enumerate(text.splitlines(), 1)
            for path in MACHINE_PATHS if re.search(r"(?<![\w.)}])" + path, line)]


def none_in_the_repository(rule):
    findings = [finding for name, text in files() for finding in rule(name, text)]
    check(not findings, "\n".join(findings))


@promise("no module includes what src/CMakeLists.txt does not list in its DEPENDS")
def layering():
    reach = modules((repository / "src/CMakeLists.txt").read_text())
    check({"base", "net", "model", "planner", "proxy", "agent"} <= set(reach), f"modules read: {sorted(reach)}")
    control = wrong_includes("src/base/x.h", '#pragma once\n#include "net/tcp.h"\n', reach)
    equal(len(control), 1, "findings in a base header that includes net")
    equal(wrong_includes("src/proxy/x.cc", '#include "base/fd.h"\n#include "net/tcp.h"\n', reach), [], "an allowed include")
    none_in_the_repository(lambda name, text: wrong_includes(name, text, reach))


@promise(f"no source file is longer than {MAX_LINES} lines")
def length():
    equal(len(too_long("src/x.cc", "x\n" * (MAX_LINES + 1))), 1, "findings in a file that is one line too long")
    equal(too_long("src/x.cc", "x\n" * MAX_LINES), [], "findings in a file that just fits")
    none_in_the_repository(too_long)


@promise("no leftover marker and no commented-out code stands in the repository")
def markers():
    for marker in MARKERS:
        equal(len(leftovers("src/x.h", f"// {marker} later\n")), 1, f"findings for {marker}")
    equal(len(leftovers("src/x.cc", "  // return old(value);\n")), 1, "findings for commented-out code")
    equal(leftovers("src/x.cc", "// A comment that returns to the reason; why it is so.\nint stubborn;\n"), [], "plain prose")
    none_in_the_repository(leftovers)


@promise("no file names a path of somebody's machine")
def paths():
    for path in MACHINE_PATHS:
        equal(len(machine_paths("README.md", f"see {path}me/file\n")), 1, f"findings for {path}")
    equal(machine_paths("Makefile", "build/work/x ${prefix}/home/x\n"), [], "a relative path")
    none_in_the_repository(machine_paths)


def absent_tests(text, root=repository):
    """Of "`file` "words", "words"" in the threat model: what is not there."""
    missing = []
    for cell in (line.rstrip(" |").rpartition(" | ")[2] for line in text.splitlines() if line.startswith("|")):
        content = ""
        for file, words in re.findall(r'`([^`]+)`|"([^"]+)"', cell):
            if file:
                content = (root / file).read_text() if (root / file).is_file() else ""
                missing += [] if content else [f"no file {file}"]
            elif words not in content:
                missing.append(f"no test {words!r} in {cell}")
    return missing


@promise("every test that THREAT_MODEL.md names exists")
def threat_model():
    equal(len(absent_tests('| a | b | c | `tests/layering.py` "no such words stand" |'.replace("no such", "never"))), 1, "findings for an absent test")
    text = (repository / "THREAT_MODEL.md").read_text()
    check(text.count("`") >= 2 * 20, "the table lost its rows")
    missing = absent_tests(text)
    check(not missing, "\n".join(missing))


if __name__ == "__main__":
    run(needs_root=False)
