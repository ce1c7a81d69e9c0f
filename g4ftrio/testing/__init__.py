"""What you need to test your own code with this library; nothing here opens a socket.

``Scripted`` is a provider that says what it is told, when it is told. ``record`` and ``replay`` put real answers on a
tape and give them back. ``forbid_network`` makes a connection attempt an error. ``check_provider`` holds a provider
of yours against what every provider must do, ``check_decoder`` a dialect of yours against a recorded answer.
"""

from g4ftrio.testing._conformance import check_provider
from g4ftrio.testing._decoding import check_decoder
from g4ftrio.testing._network import NetworkForbidden, forbid_network
from g4ftrio.testing._scripted import Scripted
from g4ftrio.testing._tape import Tape, record, replay

__all__ = (
    "NetworkForbidden",
    "Scripted",
    "Tape",
    "check_decoder",
    "check_provider",
    "forbid_network",
    "record",
    "replay",
)
