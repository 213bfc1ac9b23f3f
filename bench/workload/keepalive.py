"""wrk on connections that stay: what a request costs once its connection stands."""
from campaign import Step

from .rate import COLUMNS as COLUMNS, wrk

TITLE = "Kept alive: requests on connections that stay"
PLACE = 21
SETTING = "connections"
SHARES = True


def steps(lengths, topologies, competitors):
    return [Step("keepalive", name, "", connections, r) for r in range(min(3, lengths.rate_rounds))
            for connections in lengths.kept_connections for name in competitors]


def seconds(step, lengths):
    return lengths.kept_seconds


def once(world, rival, step, lengths):
    return wrk(world, rival, step.setting, lengths.kept_seconds, close=False)
