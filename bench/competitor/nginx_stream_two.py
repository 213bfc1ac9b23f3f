"""NGINX as a TCP reverse proxy at the client and at the proxy: as many hops, and connections for each request, as a redirector
and a proxy make. What it loses against one hop is the price of the second, whoever's program it is."""
from . import nginx_stream

CLIENT = "127.0.0.1:8082"


class Competitor(nginx_stream.Competitor):
    title = "NGINX stream, two hops"
    method = ""
    ports = {"proxy": (8081,), "client": (8082,)}
    url = f"http://{CLIENT}/"
    once_only = True
    place = 12

    def start(self, world):
        super().start(world)
        self.hop(world, world.client, CLIENT, nginx_stream.PROXY)
