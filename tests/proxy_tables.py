"""Route tables that tests write, and two proxies in a row."""
import contextlib
import os
import pathlib
import subprocess
import tempfile

from lab import write_json
from proxy_world import Proxy, free_port


class Table:
    """A routes.json in a folder of its own."""

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="epif-routes-")
        self.path = pathlib.Path(self._folder.name, "routes.json")
        return self

    def __exit__(self, *failure):
        self._folder.cleanup()

    def write(self, *routes, **fields):
        write_json(self.path, {"routes": list(routes), **fields})
        return str(self.path)


def openssl(*words):
    subprocess.run(["openssl", *words], check=True, capture_output=True)


class Pair:
    """Near and far proxy with certificates of one authority; `near` and `far` are their routes."""

    def __init__(self, near, far, expected="research/proxy", far_words=()):
        self.near_routes, self.far_routes, self.expected, self.far_words = near, far, expected, far_words

    def __enter__(self):
        self.stack = contextlib.ExitStack()
        self.folder = self.stack.enter_context(tempfile.TemporaryDirectory(prefix="epif-next-"))
        openssl("req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", self.at("ca.key"), "-out", self.at("ca.pem"),
                "-days", "2", "-subj", "/CN=test", "-addext", "basicConstraints=critical,CA:TRUE")
        port = free_port()
        self.write_far(*self.far_routes)
        self.far = self.stack.enter_context(Proxy("--tls-listen", f"127.0.0.1:{port}", *self.identity("research/proxy"),
                                                  "--routes", self.at("far.json"), *self.far_words, listen=None))
        self.next = {"proxy": f"127.0.0.1:{port}", "identity": self.expected}
        self.write_near(*self.near_routes)
        self.near = self.stack.enter_context(Proxy(*self.identity("umc/proxy"), "--routes", self.at("near.json")))
        return self

    def __exit__(self, *failure):
        self.stack.close()

    def at(self, name):
        return os.path.join(self.folder, name)

    def identity(self, name, named=None):
        """Makes or renews the files of `name`; the certificate names `named`, if given."""
        stem = self.at(name.replace("/", "-"))
        openssl("req", "-newkey", "ed25519", "-nodes", "-keyout", stem + ".key", "-out", stem + ".csr", "-subj", "/CN=x")
        with open(stem + ".ext", "w", encoding="ascii") as file:
            file.write(f"subjectAltName=URI:epif://{named or name}\n")
        openssl("x509", "-req", "-in", stem + ".csr", "-CA", self.at("ca.pem"), "-CAkey", self.at("ca.key"),
                "-CAcreateserial", "-days", "2", "-extfile", stem + ".ext", "-out", stem + ".pem")
        return ["--cert", stem + ".pem", "--key", stem + ".key", "--ca", self.at("ca.pem")]

    def write_near(self, *routes):
        write_json(self.at("near.json"), {"node": "umc/proxy", "routes": [{**r, "next": self.next} for r in routes]})

    def write_far(self, *routes):
        write_json(self.at("far.json"), {"node": "research/proxy", "routes": list(routes)})
