"""Names that say who owns them, so that what a crash leaves behind can be removed by the next run.

A namespace is called `lab<pid>x<start>-<node>`: pid and kernel start time of the Python process that owns it."""
import os
import re
import signal
import subprocess

from .wait import wait_until

NETNS_DIR = "/run/netns"
_pattern = re.compile(r"^lab(\d+)x(\d+)-")


def start_time(pid):
    """Clock ticks after boot at which `pid` started; None if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return None if fields[0] == "Z" else int(fields[19])
    except OSError:
        return None


def owned(name):
    """The full name of this process's namespace `name`."""
    return f"lab{os.getpid()}x{start_time(os.getpid())}-{name}"


def is_mine(full_name):
    return full_name.startswith(owned(""))


def processes_inside(namespaces):
    """Ids of all processes whose network namespace is one of `namespaces` (names in /run/netns)."""
    wanted = set()
    for name in namespaces:
        try:
            wanted.add(os.stat(f"{NETNS_DIR}/{name}").st_ino)
        except OSError:
            pass
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if os.stat(f"/proc/{entry}/ns/net").st_ino in wanted:
                    found.append(int(entry))
            except OSError:
                pass
    return found


def remove_namespaces(names):
    """Kills what still runs inside and deletes the namespaces."""
    def kill_all():
        inside = processes_inside(names)
        for pid in inside:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return not inside
    if names:
        wait_until(kill_all, "a process inside of the lab survives SIGKILL", within=10)
    for name in names:
        subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def remove_leftovers():
    """Removes the namespaces of owners that are dead; returns their names."""
    names = sorted(os.listdir(NETNS_DIR)) if os.path.isdir(NETNS_DIR) else []
    orphans = [n for n in names if (m := _pattern.match(n)) and start_time(m[1]) != int(m[2])]
    remove_namespaces(orphans)
    return orphans
