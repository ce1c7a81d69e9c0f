"""What an installation takes."""

from __future__ import annotations

from clients import CannotDo
from environments import Environment
from peers import Peer
from question import Column, Question

from questions.imports import PEERS

__all__ = ("QUESTION", "measure")

QUESTION = Question(
    title="Install size",
    says="MB of the files in an environment that has it and what it depends on, and how many distributions that is.",
    columns=(Column("size", "MB"), Column("distributions", "distributions", 0)),
    peers=PEERS,
    ratio="size",
    rounds=1,
    warm=False,
    inside=False,
)


def measure(peer: Peer, environment: Environment) -> dict[str, float]:
    """Look it up: it was taken when the environment was made."""
    if environment.size is None or len({peer.name, peer.environment}) > 1:
        raise CannotDo("has no environment of its own")
    return {"size": environment.size, "distributions": environment.distributions}
