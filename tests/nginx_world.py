"""What the tests of the NGINX method share: two clients, a proxy node with NGINX, a server.

   client 10.1.0.10 fd01::10 ─┐
   other  10.1.0.11 fd01::11 ─┼─ gate ─┬─ 10.2.0.20 fd02::20 server
   proxy  10.3.0.30 fd03::30 ─┘        └─ (all of it)"""
import json
import os
import re
import signal
import socket
import threading

from lab import Failure, Lab, Setting, check, epif, wait_until, write_json

PORT, PORT6 = 21000, 21001


class World(Setting):
    def __init__(self, name):
        super().__init__(Lab(name))
        self.generation = 0

    def take_down(self):
        if os.path.isdir(self.state):
            for process in self.lab.processes:
                if " nginx --routes" in " ".join(process.command):
                    process.stop()
            self.proxy.run(epif(), "nginx", "--cleanup", "--state", self.state, check=False)

    def build(self):
        lab = self.lab
        self.gate = lab.router("gate")
        self.client, self.other, self.proxy, self.server = (lab.node(n) for n in ("client", "other", "proxy", "server"))
        lab.link(self.client, "10.1.0.10/24 fd01::10/64", self.gate, "10.1.0.1/24 fd01::1/64")
        lab.link(self.other, "10.4.0.11/24 fd04::11/64", self.gate, "10.4.0.1/24 fd04::1/64")
        lab.link(self.proxy, "10.3.0.30/24 fd03::30/64", self.gate, "10.3.0.1/24 fd03::1/64")
        lab.link(self.server, "10.2.0.20/24 fd02::20/64", self.gate, "10.2.0.1/24 fd02::1/64")
        self.state = os.path.join(lab.state, "nginx")
        self.routes_file, self.admin = lab.path("routes.json"), lab.path("nginx.sock")
        self.client_routes, self.client_admin = lab.path("client.json"), lab.path("redirect.sock")

    # The two routes files: what the agents of both nodes would write

    def write(self, *routes):
        """The proxy's table."""
        self.generation += 1
        write_json(self.routes_file, {"generation": self.generation, "routes": list(routes)})

    def write_client(self, *routes):
        """The client's table: what has no route to the server is refused, as the orchestrator has it."""
        self.generation += 1
        refusals = [{"destination": address, "reason": "no flow"} for address in ("10.2.0.20", "fd02::20")]
        write_json(self.client_routes, {"generation": self.generation, "routes": list(routes), "refusals": refusals})

    def write_both(self, *routes):
        self.write_client(*routes)
        self.write(*routes)

    def start(self, *flags, ready=True):
        self.nginx = self.proxy.start(epif(), "nginx", "--routes", self.routes_file, "--state", self.state, "--admin",
                                      f"unix:{self.admin}", *flags, name="nginx")
        return self.settled() if ready else self

    def start_redirector(self):
        self.redirector = self.client.start(epif(), "redirect", "--routes", self.client_routes, "--state", self.lab.path("redirect", "x")[:-2],
                                            "--admin", f"unix:{self.client_admin}", name="redirect")
        self.redirector.wait_for_log("captures")
        return self

    def metric(self, name, admin=None):
        with socket.socket(socket.AF_UNIX) as out:
            out.settimeout(5)
            out.connect(admin or self.admin)
            out.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            text = b"".join(iter(lambda: out.recv(65536), b"")).decode()
        found = re.search(rf"^{name} (\d+)$", text, re.MULTILINE)
        check(found, f"no metric {name} in\n{text}")
        return int(found[1])

    def settled(self, generation=None):
        """Waits until NGINX serves this generation, by default the last one written."""
        wanted = generation or self.generation

        def serves():
            try:
                return self.metric("epif_nginx_routes_generation") == wanted
            except OSError:
                return False
        self.nginx.wait_for(serves, f"NGINX serves generation {wanted}")
        return self

    def captured(self):
        """Waits until the redirector follows the last routes that it was given."""
        with open(self.client_routes, encoding="utf-8") as file:
            wanted = json.load(file)["generation"]
        self.redirector.wait_for(lambda: self.metric("epif_redirect_routes_generation", self.client_admin) == wanted,
                                 f"the redirector follows generation {wanted}")
        return self

    def processes(self):
        """{pid: parent} of all processes of NGINX."""
        found = {}
        for entry in os.listdir("/proc"):
            try:
                if entry.isdigit() and os.readlink(f"/proc/{entry}/cwd").startswith(self.state + "/"):
                    with open(f"/proc/{entry}/stat", encoding="ascii") as file:
                        found[int(entry)] = int(file.read().rpartition(")")[2].split()[1])
            except OSError:
                pass
        return found

    def workers(self):
        running = self.processes()
        return {pid for pid, parent in running.items() if parent in running}


def route(identity="a", listen=f"10.3.0.30:{PORT}", destination="10.2.0.20:4242", clients=("10.1.0.10",), peer="umc/client", carries="bytes",
          **more):
    return {"id": identity, "flow": "imaging/" + identity, "peers": [peer], "destination": destination,
            "nginx": {"listen": listen, "clients": list(clients), "carries": carries}, **more}


def route6(**more):
    return route(**{"identity": "a6", "listen": f"[fd03::30]:{PORT6}", "destination": "[fd02::20]:4242", "clients": ("fd01::10",), **more})


class Ends:
    """A server that keeps each connection's bytes and how it ended: "end" or "reset"."""

    def __init__(self, node, port, address="0.0.0.0", greeting=b"", flood=False):
        self.listener = node.listen(port, address)
        self.listener.settimeout(None)
        self.greeting, self.flood = greeting, flood
        self.seen, self.changed = [], threading.Condition()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                peer, address = self.listener.accept()
            except OSError:
                return
            one = {"from": address[0], "bytes": 0, "how": None}
            with self.changed:
                self.seen.append(one)
                self.changed.notify_all()
            threading.Thread(target=self._flood if self.flood else self._read, args=(peer, one), daemon=True).start()

    def _note(self, one, **what):
        with self.changed:
            one.update(what)
            self.changed.notify_all()

    def _read(self, peer, one):
        with peer:
            try:
                peer.sendall(self.greeting)
                while data := peer.recv(65536):
                    self._note(one, bytes=one["bytes"] + len(data))
                self._note(one, how="end")
            except OSError:
                self._note(one, how="reset")

    def _flood(self, peer, one):
        with peer:
            try:
                while True:
                    self._note(one, bytes=one["bytes"] + peer.send(bytes(65536)))
            except OSError:
                self._note(one, how="reset")

    def wait(self, condition, what, within=5.0):
        with self.changed:
            if not self.changed.wait_for(lambda: condition(self.seen), within):
                raise Failure(f"{what}: {self.seen}")


def how_it_ends(connection, within=2.0):
    """"end", "reset" or "still open"."""
    connection.settimeout(within)
    try:
        while connection.recv(65536):
            pass
        return "end"
    except socket.timeout:
        return "still open"
    except OSError:
        return "reset"


def refused(node, address, port):
    try:
        with node.connect(address, port, 3) as out:
            return how_it_ends(out)
    except socket.timeout:
        return "timeout"
    except OSError as error:
        return type(error).__name__


__all__ = ["Ends", "PORT", "PORT6", "World", "how_it_ends", "refused", "route", "route6", "signal", "wait_until"]
