"""The SOCKS codecs alone: requests parsed a second on one core, and allocations, of which there must be none."""
from campaign import Step

from .google_benchmark import measured, program

TITLE = "Codecs: requests parsed on one core"
PLACE = 37
SETTING = ""
COLUMNS = {"requests_s": "requests/s", "allocations": "allocations"}
ALONE = True
TITLES = {"socks6_address": "SOCKS6, address", "socks6_name": "SOCKS6, name",
          "socks6_password_and_initial_data": "SOCKS6, password and initial data",
          "socks6_session_token_and_stack": "SOCKS6, session, token and stack options", "socks5_request": "SOCKS5", "socks4a_request": "SOCKS4a",
          "socksx_request": "SOCKS6 in the dialect of socksx"}
LENGTHS = {"quick": (1, 0.05), "full": (3, 0.5), "paper": (5, 2)}  # rounds, seconds


def steps(lengths, topologies, competitors):
    return [Step("codec", name, "", 1, r) for r in range(LENGTHS[lengths.kind][0]) for name in TITLES] if "epif" in competitors else []


def seconds(step, lengths):
    return 2 * LENGTHS[lengths.kind][1]  # it looks for the number of turns first


def once(world, rival, step, lengths):
    found = measured(program("socks", "socks_bench"), f"^{step.competitor}$", LENGTHS[lengths.kind][1])
    return {"requests_s": found["items_per_second"], "allocations": found["allocations"]}
