"""A user of the orchestrator's API with a connection that stands, and a watch that stamps every event: no command's own start is
in a measured time."""
import http.client
import json
import ssl
import threading
import time

from lab import Failure

HOST, PORT = "10.9.0.7", 7443


class Api:
    """`world`: control_world.World, started."""

    def __init__(self, world):
        self.world = world
        self.context = ssl.create_default_context(cafile=world.env["EPIF_CA"])
        with open(world.env["EPIF_TOKEN_FILE"], encoding="ascii") as file:
            self.headers = {"Authorization": "Bearer " + file.read().strip()}
        self.connection = self.connect()

    def connect(self):
        made = http.client.HTTPSConnection(HOST, PORT, timeout=30, context=self.context)
        with self.world.hosts["orchestrator"].inside():
            made.connect()
        return made

    def ask(self, method, path, body=None):
        self.connection.request(method, path, body, self.headers)
        answer = self.connection.getresponse()
        said = answer.read().decode()
        if answer.status >= 300:
            raise Failure(f"{method} {path}: {answer.status} {said.strip()[:300]}")
        return json.loads(said) if said else None

    def apply(self, text):
        return self.ask("POST", "/v1/apply", text)

    def close(self):
        self.connection.close()


class Phases:
    """Follows all applications: what phase each is in, and since when (monotonic clock)."""

    def __init__(self, api):
        self.now, self.changed, self.connection = {}, threading.Condition(), api.connect()
        listed = api.ask("GET", "/v1/applications")
        self.connection.request("GET", f"/v1/applications?watch=1&since={listed['revision']}", None, api.headers)
        self.stream = self.connection.getresponse()
        self.thread = threading.Thread(target=self._follow, daemon=True)
        self.thread.start()

    def _follow(self):
        try:
            while line := self.stream.readline():
                at = time.monotonic()
                if line.startswith(b"data:"):
                    resource = json.loads(line[5:])
                    if isinstance(resource, dict) and resource.get("kind") == "Application":
                        with self.changed:
                            status = resource.get("status") or {}
                            self.now[resource["metadata"]["name"]] = (status.get("phase"), at, status.get("reason", ""))
                            self.changed.notify_all()
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            return  # closed

    def wait(self, name, phases, since, within=60):
        """When `name` came into one of `phases` after `since`."""
        def reached():
            phase, at, _ = self.now.get(name, (None, 0, ""))
            return at if phase in phases and at > since else None
        with self.changed:
            if not self.changed.wait_for(reached, within):
                raise Failure(f"{name} is not {' or '.join(phases)} after {within} s but {self.now.get(name)}")
            return reached()

    def close(self):
        sock = self.connection.sock or self.stream.fp.raw._sock
        try:
            sock.shutdown(2)
        except OSError:
            pass
        self.thread.join(5)
        self.connection.close()
