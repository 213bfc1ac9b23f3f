"""NGINX as a TCP reverse proxy, one hop."""
import os

from . import Base

MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"
CONFIG = """load_module {module};
daemon off; master_process off; worker_processes 1; pid {state}/nginx-stream.pid; error_log {state}/nginx-stream-error.log;
events {{ worker_connections 8192; }}
stream {{ server {{ listen 10.71.0.2:8081 backlog=4096; proxy_pass 10.73.0.20:80; }} }}
"""


class Competitor(Base):
    title = "NGINX stream"
    method = "nginx"
    needs = ("nginx",)
    url = "http://10.71.0.2:8081/"
    place = 11

    def missing(self):
        return super().missing() + ([] if os.path.exists(MODULE) else ["libnginx-mod-stream"])

    def start(self, world):
        super().start(world)
        config = world.lab.path("nginx-stream.conf")
        with open(config, "w", encoding="ascii") as file:
            file.write(CONFIG.format(state=world.lab.state, module=MODULE))
        self.run(world.proxy, "nginx", "-c", config, "-p", world.lab.state, port=8081)
