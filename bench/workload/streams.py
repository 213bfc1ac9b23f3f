"""mosquitto: many small publishes on connections that stay, as a hospital's monitors send them. QoS 1, so each is answered.

mqtt_load (bench/streams) publishes at the client; its subscriber sits at the broker, behind no proxy."""
import os

from campaign import Step
from lab.names import NETNS_DIR
from world import HTTP_PORT, SERVER, Unfit, epif

from .dialogue import dialogue
from .processes import cpu_s, cpu_since
from .serving import instead

TITLE = "Streams: small messages on long connections (MQTT)"
PLACE = 40
SETTING = "connections"
COLUMNS = {"messages_s": "messages/s", "cpu_us": "CPU of its programs, µs a message", "p50_ms": "delivery, median, ms",
           "p95_ms": "delivery, 95 %, ms", "p99_ms": "delivery, 99 %, ms"}
NEEDS = ("mosquitto",)
STARTS = True
PAYLOAD_BYTES = 100
PACED_PER_S = 4000  # of all connections together: some of the slowest competitor's rate
PATIENCE_S = 20
WINDOW = 8          # messages without their answer, each connection
NOTE = (f"{PAYLOAD_BYTES} bytes a message. Messages/s: as fast as answers come, {WINDOW} under way on each connection. Delivery: from when a "
        f"message was due to the subscriber, at {PACED_PER_S:,} messages/s in all for everybody; CPU at that load.")
LENGTHS = {"quick": (0.3, 0.25, (32,), 1), "full": (2, 2, (16, 256), 3), "paper": (30, 30, (16, 256), 5)}  # s paced, s as fast as it goes
BROKER = """listener {port}
allow_anonymous true
persistence false
set_tcp_nodelay true
max_queued_messages 0
max_inflight_messages 0
log_type error
user root
"""


def steps(lengths, topologies, competitors):
    _, _, connections, rounds = LENGTHS[lengths.kind]
    return [Step("streams", name, "", n, r) for r in range(rounds) for n in connections for name in competitors]


def seconds(step, lengths):
    paced_s, window_s, _, _ = LENGTHS[lengths.kind]
    return paced_s + window_s + 0.5  # the connections, and the servers' change


def once(world, rival, step, lengths):
    paced_s, window_s, _, _ = LENGTHS[lengths.kind]
    if "http" in step.competitor:
        raise Unfit("it carries HTTP alone")
    with instead(world, lambda: broker(world)):
        rival.start(world)
        with dialogue(world, world.client, *words(world, rival.url, step.setting)) as (_, ask):
            before = cpu_s(rival.processes)
            paced = ask(f"paced {PACED_PER_S} {paced_s}", paced_s + PATIENCE_S)
            used = sum(cpu_since(rival.processes, before).values())
            fast = ask(f"window {WINDOW} {window_s}", window_s + PATIENCE_S)
    for phase in (paced, fast):
        if phase["delivered"] != phase["sent"]:
            raise Unfit(f"{phase['sent'] - phase['delivered']} of {phase['sent']} messages were lost")
    return {"messages_s": fast["delivered"] / fast["seconds"], "cpu_us": used / paced["delivered"] * 1e6 if rival.processes else None,
            **{name: paced[name] for name in ("p50_ms", "p95_ms", "p99_ms", "max_ms")}, "messages": paced["delivered"] + fast["delivered"],
            "busy_p50_ms": fast["p50_ms"], "busy_p99_ms": fast["p99_ms"]}


def broker(world):
    path = world.lab.path("mosquitto.conf")
    with open(path, "w", encoding="ascii") as file:
        file.write(BROKER.format(port=HTTP_PORT))
    process = world.server.start("mosquitto", "-c", path, name="mosquitto")
    world.server.wait_for_port(HTTP_PORT, process=process)
    return process


def words(world, url, connections):
    at = url.removeprefix("http://").strip("/")
    program = os.path.join(os.path.dirname(epif()), "mqtt_load")
    return [program, at if ":" in at else f"{at}:{HTTP_PORT}", connections, PAYLOAD_BYTES, f"{NETNS_DIR}/{world.server.netns}",
            f"{SERVER}:{HTTP_PORT}"]
