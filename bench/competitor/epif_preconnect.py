"""epif by routes, with connections to the server kept ready: for servers without TCP Fast Open."""
from lab import write_json
from world import HTTP_PORT, SERVER

from ._ours import Ours


class Competitor(Ours):
    title = "epif, pre-connect"
    tls = True
    once_only = True
    place = 33

    def start(self, world):
        routes = write_json(world.lab.path("routes.json"), {"node": "proxy/node", "routes": [
            {"id": "bench", "peers": ["client/node"], "destination": f"{SERVER}:{HTTP_PORT}", "preconnect": 8}]})
        self.rules = ("--routes", routes)
        super().start(world)
