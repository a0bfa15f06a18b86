"""Strategies: how a device computes several members."""

import dataclasses

from mecheval_jax.errors import UserError, choose

KINDS = ("vmap", "scan", "loop")
"""How a device computes several members: some or all of them as one batched program (``vmap``),
one after the other inside one program, each through all steps of a stretch (``scan``), or one after
the other as programs that the host starts (``loop``)."""


@dataclasses.dataclass(frozen=True)
class Strategy:
    """How members are computed.

    Attributes:
        kind: One of `KINDS`.
        at_once: Number of members that a device computes together.
    """

    kind: str
    at_once: int = 1

    def __post_init__(self):
        choose("strategy", self.kind, KINDS)
        if not isinstance(self.at_once, int) or self.at_once < 1:
            raise UserError(f"members at once are {self.at_once!r}: at least 1")

    def __str__(self):
        return f"vmap of {self.at_once}" if self.kind == "vmap" else self.kind
