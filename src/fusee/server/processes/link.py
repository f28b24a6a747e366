"""What a front end and the engine process have between them: a ring for requests and a socket for the rest."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from fusee.server.processes.channel import Ends, new_wake
from fusee.server.processes.ring import Layout, create


class Kind(IntEnum):
    """What a message in the ring is; 0 is the ring's own."""

    REQUEST = 1
    ANSWER = 2
    CANCEL = 3


class Link(NamedTuple):
    """One side of a link. Who attaches it owns its descriptors."""

    ends: Ends
    control: socket.socket

    def descriptors(self) -> list[int]:
        """For passing to another process, where ``link_of`` makes a link of them."""
        return [*self.ends, self.control.fileno()]

    def close(self) -> None:
        """Close the descriptors of a link that was passed on, or is not wanted."""
        for fd in self.ends:
            os.close(fd)
        self.control.close()


def link_of(descriptors: Sequence[int]) -> Link:
    """The link of descriptors that came from another process."""
    memory, wake, wake_other, control = descriptors
    return Link(Ends(memory, wake, wake_other), socket.socket(fileno=control))


def new_link(layout: Layout) -> tuple[Link, Link]:
    """Both sides of a new link: the front end's, the engine's."""
    memory, front_wake, engine_wake = create(layout), new_wake(), new_wake()
    front, engine = socket.socketpair()
    return (
        Link(Ends(memory, front_wake, engine_wake), front),
        Link(Ends(os.dup(memory), os.dup(engine_wake), os.dup(front_wake)), engine),
    )
