"""redsocks at the client, microsocks at the proxy."""
from ._socks_pair import SocksPair


class Competitor(SocksPair):
    title = "redsocks + microsocks"
    needs = ("redsocks", "microsocks")
    place = 41

    def serve(self, world):
        self.run(world.proxy, "microsocks", "-i", "10.71.0.2", "-p", str(self.port), port=self.port)
