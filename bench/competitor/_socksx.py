"""The authors' own programs, from the folder SOCKSX_DIR: `proxy` (or `socksx`) and `redirector` of the project socksx.

Their command lines differ by version: 0.1 takes the proxy's host and port as words, later ones as --host and --port; the
first proxies know SOCKS5 alone and no option. All listen on port 42000 at the client, and by default on 1080 at the proxy."""
import os
import subprocess

from world import PROXY, Unfit

from . import Base
from ._socks_pair import capture, release

LISTEN = 42000
PORT = 1080
NAMES = (("proxy", "socksx"), ("redirector",))  # each by one of its names
HELP_S = 3  # the oldest proxies know no --help: they start to serve


def folder():
    return os.environ.get("SOCKSX_DIR", "")


def program(*names):
    """Path of the first of `names` that the folder has, or ""."""
    paths = [os.path.join(os.path.abspath(folder()), name) for name in names if folder()]
    return next((path for path in paths if os.access(path, os.X_OK) and os.path.isfile(path)), "")


def programs():
    """Paths of those that the folder has of the two."""
    return [path for names in NAMES if (path := program(*names))]


def usage(world, node, path):
    """What `path --help` prints, in `node`, where nothing else is disturbed if it starts to serve instead."""
    try:
        done = node.run(path, "--help", timeout=HELP_S, check=False)
        return done.stdout + done.stderr
    except subprocess.TimeoutExpired:
        return ""


class Socksx(Base):
    version = 0
    ports = {"proxy": (PORT,), "client": (LISTEN,)}

    @staticmethod
    def offered():
        return bool(folder())

    def missing(self):
        if not folder():
            return ["SOCKSX_DIR, the folder of the authors' `proxy` and `redirector`"]
        return [f"{' or '.join(names)} in SOCKSX_DIR ({folder()})" for names in NAMES if not program(*names)]

    def start(self, world):
        super().start(world)
        proxy, redirector = programs()
        knows = usage(world, world.proxy, proxy)
        if "--socks" not in knows and self.version == 6:
            raise Unfit(f"{proxy} knows no --socks, so it speaks SOCKS5 alone")
        words = (["--socks", str(self.version)] if "--socks" in knows else []) + (["--host", PROXY] if "--host" in knows else [])
        self.run(world.proxy, proxy, *words, port=PORT, name="socksx-proxy")
        where = ["--host", PROXY, "--port", str(PORT)] if "--host" in usage(world, world.client, redirector) else [PROXY, str(PORT)]
        self.run(world.client, redirector, *where, "--socks", str(self.version), port=LISTEN, name="socksx-redirector")
        capture(world, LISTEN)

    def stop(self, world):
        release(world)
        super().stop(world)
