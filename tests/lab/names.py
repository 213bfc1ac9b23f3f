"""Names that say who owns them, so that what a crash leaves behind can be removed by the next run.

A namespace is called `lab<pid>x<start>-<node>`: pid and kernel start time of the Python process that owns it. A state folder has
them in its file `owner`, until its logs are left for the reader of a failure."""
import contextlib
import fcntl
import glob
import os
import re
import shutil
import signal
import subprocess
import sys

from .program import epif, repository
from .promise import Failure
from .wait import wait_until

NETNS_DIR = "/run/netns"
STATE_PARENT = repository / "build/lab"
OWNER = "owner"
ENGINE_S = 90  # to take down containers whose monitors were killed
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
    return f"{_me()}-{name}"


def _me():
    return f"lab{os.getpid()}x{start_time(os.getpid())}"


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
    """Removes what owners that are dead left: namespaces with all that runs inside, container engines with their containers, state
    folders. Returns the namespaces' names and the folders' paths."""
    names = sorted(os.listdir(NETNS_DIR)) if os.path.isdir(NETNS_DIR) else []
    orphans = [n for n in names if _is_orphan(n)]
    remove_namespaces(orphans)
    return orphans + [folder for owner in sorted(glob.glob(f"{STATE_PARENT}/*/{OWNER}")) if (folder := _remove_folder(owner))]


def _remove_folder(owner):
    """The folder of the file `owner`, if its owner is dead and it could be removed; one that somebody else removes just now is his."""
    with contextlib.suppress(FileNotFoundError, BlockingIOError), open(owner, encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        folder = os.path.dirname(owner)
        if _is_orphan(file.read()) and os.path.exists(owner) and remove_engines(folder):
            shutil.rmtree(folder, ignore_errors=True)
            return folder
    return None


def _is_orphan(name):
    owner = _pattern.match(name)
    return bool(owner) and start_time(owner[1]) != int(owner[2])


def own_folder(path):
    """The folder goes, with the engines in it, when this process is dead; unless disown_folder() comes first."""
    with open(os.path.join(path, OWNER), "w", encoding="ascii") as file:
        file.write(_me() + "-")


def disown_folder(path):
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(path, OWNER))


def remove_engines(folder):
    """Takes down what agents (or bf_containers) left in the folders below `folder`: an engine's service, and containers, which live in
    namespaces of their own and outlive whoever made them. In an empty namespace, so that no rule of this host is touched. False,
    and a message, if something stays."""
    clean = True
    for engine in sorted(glob.glob(f"{folder}/*/engine")):
        state = os.path.dirname(engine)
        try:
            done = subprocess.run(["unshare", "--net", epif(), "agent", "--cleanup", "--state", state], capture_output=True, text=True,
                                  timeout=ENGINE_S)
            said = (done.stdout + done.stderr).strip() if done.returncode else ""
        except (Failure, subprocess.TimeoutExpired) as failure:
            said = str(failure)
        if said:
            print(f"lab: {state} is left: {said}", file=sys.stderr)
            clean = False
    return clean
