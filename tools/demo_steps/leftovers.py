"""What of the demo still exists on this machine: asked before the start and at the end."""
import os
import re
import shutil
import subprocess

from lab.names import start_time

WATCHED_FOLDERS = ["/run", "/run/netns", "/tmp", "/var/lib", "/etc", "/etc/nftables.d", "/var/lib/containers/storage",
                   "/run/containers", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/memory"]

PROGRAMS = ["epif", "orthanc", "nginx", "mysql", "mariadb", "podman", "containers", "conmon", "runc", "libpod", "dcm", "tcpdump"]


def _listing(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    return set(done.stdout.split("\n")) - {""} if done.returncode == 0 else set()


def _entries(folder):
    try:
        return {os.path.join(folder, name) for name in os.listdir(folder)}
    except OSError:
        return set()


def marked_processes(marker):
    """Processes that carry our environment variable: all descendants, daemons as well. {pid: command line}
    `marker` None: those of any run."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            with open(f"/proc/{entry}/environ", "rb") as environ, open(f"/proc/{entry}/cmdline", "rb") as line:
                marks = [word[10:].decode() for word in environ.read().split(b"\0") if word.startswith(b"EPIF_DEMO=")]
                if marks and marker in (None, marks[0]):
                    found[int(entry)] = line.read().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
    return found


def running_demos():
    """Process ids of other demos that are being played now."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) not in (os.getpid(), os.getppid()):
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as line:
                    words = line.read().split(b"\0")
            except OSError:
                continue
            if len(words) > 1 and b"python" in words[0] and words[1].endswith(b"tools/demo"):
                found.append(int(entry))
    return found


def _mounts():
    with open("/proc/mounts", encoding="utf-8", errors="replace") as mounts:
        return {line.split()[1] for line in mounts}


def snapshot():
    """What the demo could leave on this machine: {kind: names}."""
    return {"namespace": _entries("/run/netns"), "nftables table": _listing("nft", "list", "tables"), "mount": _mounts(),
            "container": _listing("podman", "ps", "-aq", "--no-trunc"), "image": _listing("podman", "images", "-q"),
            "file": {path for folder in WATCHED_FOLDERS for path in _entries(folder) if _may_be_ours(path)},
            "interface": _entries("/sys/class/net")}


def difference(before):
    """Lines that name what is there now and was not before. What other labs own, that still run, is not ours."""
    after = snapshot()
    return {f"{kind} {name}" for kind in before for name in after[kind] - before[kind] if not _other_labs(name)}


def _may_be_ours(path):
    """Every program of the machine writes to /tmp; there, only what is named like one of our programs counts."""
    return not path.startswith("/tmp/") or any(word in path.lower() for word in PROGRAMS)


def _other_labs(name):
    owner = re.search(r"/lab(\d+)x(\d+)-", name)
    return "/build/lab/" in name or bool(owner and int(owner[1]) != os.getpid() and start_time(owner[1]) == int(owner[2]))


def unmount_below(folder):
    """Storage of the container engines below the state folder is mounted; a folder can go only after its mounts."""
    for mount in sorted((m for m in _mounts() if m.startswith(str(folder) + "/")), reverse=True):
        subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)


def remove_tree(folder):
    unmount_below(folder)
    shutil.rmtree(folder, ignore_errors=True)
