"""End-to-end tests in network namespaces that read like the topology they build. See tests/README.md."""
from .again import Again
from .capture import Capture
from .long_flow import LongFlow, digest_of_all
from .names import remove_leftovers
from .network import Lab, Node, Router, Switch
from .process import Process
from .program import epif, repository, write_json
from .promise import Failure, check, equal, promise, run
from .service import Service, echo
from .setting import Setting
from .wait import wait_until

__all__ = ["Again", "Capture", "Failure", "Lab", "LongFlow", "Node", "Process", "Router", "Service", "Setting", "Switch", "check",
           "digest_of_all", "echo", "epif", "equal", "promise", "remove_leftovers", "repository", "run", "wait_until", "write_json"]
