"""NGINX as a TCP reverse proxy, one hop."""
import os

from . import Base

MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"
CONFIG = """load_module {module};
daemon off; user root; worker_processes auto; pid {state}/{name}.pid; error_log {state}/{name}-error.log;
events {{ worker_connections 19000; }}
stream {{ server {{ listen {listen} backlog=4096; proxy_pass {to}; }} }}
"""
PROXY = "10.71.0.2:8081"


class Competitor(Base):
    title = "NGINX stream"
    method = "nginx"
    needs = ("nginx",)
    ports = {"proxy": (8081,)}
    url = f"http://{PROXY}/"
    place = 11

    def missing(self):
        return super().missing() + ([] if os.path.exists(MODULE) else ["libnginx-mod-stream"])

    def start(self, world):
        super().start(world)
        self.hop(world, world.proxy, PROXY, "10.73.0.20:80")

    def hop(self, world, node, listen, to):
        name = f"nginx-stream-{node.name}"
        config = world.lab.path(name + ".conf")
        with open(config, "w", encoding="ascii") as file:
            file.write(CONFIG.format(state=world.lab.state, module=MODULE, name=name, listen=listen, to=to))
        self.run(node, "nginx", "-c", config, "-p", world.lab.state, port=int(listen.rpartition(":")[2]))
