"""HAProxy in mode tcp with splice, one hop."""
from . import Base

CONFIG = """global
  maxconn 8500
  maxpipes 500
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option splice-auto
listen bench
  bind 10.71.0.2:8082 backlog 4096
  server one 10.73.0.20:80
"""


class Competitor(Base):
    title = "HAProxy tcp"
    method = "nginx"
    needs = ("haproxy",)
    ports = {"proxy": (8082,)}
    url = "http://10.71.0.2:8082/"
    place = 12

    def start(self, world):
        super().start(world)
        config = world.lab.path("haproxy.cfg")
        with open(config, "w", encoding="ascii") as file:
            file.write(CONFIG)
        self.run(world.proxy, "haproxy", "-db", "-f", config, port=8082)
