"""NGINX as the article uses it: an HTTP reverse proxy, which the client has to name."""
from . import Base

CONFIG = """daemon off; user root; worker_processes auto; pid {state}/nginx-http.pid; error_log {state}/nginx-http-error.log;
events {{ worker_connections 19000; }}
http {{ access_log off; keepalive_requests 1000000000;
  client_body_temp_path {state}/h1; proxy_temp_path {state}/h2; fastcgi_temp_path {state}/h3;
  uwsgi_temp_path {state}/h4; scgi_temp_path {state}/h5;
  client_max_body_size 0; proxy_request_buffering off;
  server {{ listen 10.71.0.2:8080 backlog=4096; location / {{ proxy_pass http://10.73.0.20:80; }} }} }}
"""


class Competitor(Base):
    title = "NGINX http"
    method = "nginx"
    needs = ("nginx",)
    ports = {"proxy": (8080,)}
    url = "http://10.71.0.2:8080/"
    place = 10

    def start(self, world):
        super().start(world)
        config = world.lab.path("nginx-http.conf")
        with open(config, "w", encoding="ascii") as file:
            file.write(CONFIG.format(state=world.lab.state))
        self.run(world.proxy, "nginx", "-c", config, "-p", world.lab.state, port=8080)
