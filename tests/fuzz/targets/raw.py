"""Raw printing (port 9100) from the connection to the rows.

One rule: what the framing calls whole and ours is taken to the last byte, and nothing else is; the connection ends.
"""

from __future__ import annotations

from printerd.listener.framing import Foreign
from printerd.listener.raw import Raw
from tests.fuzz.target import Target
from tests.fuzz.targets import framing
from tests.fuzz.targets.framing import ENDS, Began, End, Ended, Piece
from tests.fuzz.world import LARGEST, world

_CLOSED = bytes([ENDS.index(End.CLOSED)])


def once(data: bytes) -> None:
    with world().fresh():
        world().talk(data, Raw(world().intake, "inv", 5.0).serve)
        whole = _whole(data)
        assert len(whole) >= len(taken := world().documents())
        assert set(taken) <= set(whole)


def _whole(stream: bytes) -> list[bytes]:
    """The documents of the stream that came whole."""
    found, piece = list[bytes](), b""
    for event in framing._events([stream], End.CLOSED):
        if isinstance(event, Began | Foreign):
            piece = b""
        elif isinstance(event, Piece):
            piece = event.data
        elif isinstance(event, Ended) and event.whole and len(piece) <= LARGEST:
            found.append(piece)
    return found


def seeds() -> dict[str, bytes]:
    return {name: data[1:] for name, data in framing.seeds().items()}


TARGET = Target(
    once, seeds, lambda data, random: framing.mutate(_CLOSED + data, random)[1:], framing.WORDS, mutations=600
)
