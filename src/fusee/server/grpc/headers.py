"""Header blocks (RFC 7541): decoding with a memory of blocks seen, and encoding without state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from hpack import Decoder, Encoder, HPACKError, NeverIndexedHeaderTuple
from hpack.exceptions import OversizedHeaderListError
from hpack.table import HeaderTable

from fusee.server.grpc.frames import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, ConnectionFault

SIZE_UPDATE_TO_ZERO = b"\x20"
"""Opens the first block to a peer: we keep no dynamic table, whatever size it allows."""

_BLOCKS_KEPT = 64
_FRAMES = 32  # of one header block
_CONNECTION_FIELDS = frozenset({"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"})
_PSEUDO_FIELDS = frozenset({":method", ":scheme", ":authority", ":path"})
_NAME_CHARACTERS = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")
_NEVER_IN_VALUES = frozenset("\0\r\n")

Fields = list[tuple[str, str]]
T = TypeVar("T")


class MalformedFields(Exception):
    """A header section breaks the rules of HTTP/2."""


class Request(NamedTuple):
    """The header section of a request: a stream's first."""

    method: str
    path: str
    metadata: dict[str, str]  # by lower-case name; several values of one name are joined with commas


class PartialBlock:
    """A header block on its way, in several frames."""

    __slots__ = ("_frames", "_parts", "_size_bytes", "ends_stream", "started_s", "stream_id")

    def __init__(self, stream_id: int, ends_stream: bool, first: bytes, started_s: float) -> None:
        self.stream_id = stream_id
        self.ends_stream = ends_stream
        self.started_s = started_s
        self._parts = [first]
        self._size_bytes = len(first)
        self._frames = 1

    def add(self, part: bytes, limit_bytes: int) -> None:
        """Take the content of a CONTINUATION. Raises ConnectionFault."""
        self._parts.append(part)
        self._size_bytes += len(part)
        self._frames += 1
        if self._size_bytes > limit_bytes or self._frames > _FRAMES:
            raise ConnectionFault(
                ENHANCE_YOUR_CALM,
                f"a header block of {self._size_bytes} bytes in {self._frames} frames; up to {limit_bytes} in "
                f"{_FRAMES} are taken",
            )

    def content(self) -> bytes:
        """The whole block, once its last frame is here."""
        return b"".join(self._parts)


class _CountingTable(HeaderTable):
    """A dynamic table that counts its changes."""

    def __init__(self) -> None:
        super().__init__()
        self.changes = 0

    def add(self, name: bytes, value: bytes) -> None:
        self.changes += 1
        super().add(name, value)

    @property
    def maxsize(self) -> int:
        return super().maxsize

    @maxsize.setter
    def maxsize(self, newmax: int) -> None:
        self.changes += 1
        HeaderTable.maxsize.__set__(self, newmax)


class BlockReader(Generic[T]):
    """Decodes one connection's blocks and interprets them.

    A block that leaves the dynamic table as it is means the same until another one changes the table. A client that
    repeats its requests sends such blocks, and those are interpreted once.
    """

    def __init__(self, list_bytes: int, interpret: Callable[[Fields], T]) -> None:
        self._decoder = Decoder(max_header_list_size=list_bytes)
        self._table = _CountingTable()
        self._decoder.header_table = self._table
        self._interpret = interpret
        self._known: dict[bytes, T] = {}

    def read(self, block: bytes) -> T:
        """What the block means. Raises ConnectionFault, and what ``interpret`` raises."""
        known = self._known.get(block)
        if known is not None:
            return known
        changes = self._table.changes
        meaning = self._interpret(self._decode(block))
        if self._table.changes == changes:
            self._remember(block, meaning)
        return meaning

    def read_trailers(self, block: bytes) -> Fields:
        """The fields of a block that opens no request. Raises ConnectionFault."""
        return self._decode(block)

    def _decode(self, block: bytes) -> Fields:
        changes = self._table.changes
        try:
            fields = self._decoder.decode(block, raw=True)
            return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]
        except OversizedHeaderListError as err:
            raise ConnectionFault(ENHANCE_YOUR_CALM, f"header section too large: {err}") from err
        except (HPACKError, IndexError) as err:
            raise ConnectionFault(COMPRESSION_ERROR, f"header block cannot be decoded: {err}") from err
        finally:
            if self._table.changes != changes:
                self._known.clear()

    def _remember(self, block: bytes, meaning: T) -> None:
        if len(self._known) >= _BLOCKS_KEPT:
            del self._known[next(iter(self._known))]
        self._known[block] = meaning


def read_request(fields: Fields) -> Request:
    """Check the header section of a request (RFC 9113, section 8.2 and 8.3). Raises MalformedFields."""
    pseudo: dict[str, str] = {}
    metadata: dict[str, str] = {}
    for name, value in fields:
        if not _NEVER_IN_VALUES.isdisjoint(value):
            raise MalformedFields(f"header {name!r} has a line break or NUL in its value")
        if name.startswith(":"):
            if metadata or name in pseudo or name not in _PSEUDO_FIELDS:
                raise MalformedFields(f"pseudo-header {name!r} is unknown, repeated, or follows other headers")
            pseudo[name] = value
            continue
        _check_field(name, value)
        metadata[name] = f"{metadata[name]},{value}" if name in metadata else value
    if not pseudo.get(":path") or ":method" not in pseudo or ":scheme" not in pseudo:
        raise MalformedFields("a request needs :method, :scheme and :path")
    return Request(pseudo[":method"], pseudo[":path"], metadata)


def check_trailers(fields: Fields) -> None:
    """Raises MalformedFields."""
    for name, value in fields:
        if name.startswith(":"):
            raise MalformedFields(f"pseudo-header {name!r} among trailers")
        _check_field(name, value)


def _check_field(name: str, value: str) -> None:
    if not name or not _NAME_CHARACTERS.issuperset(name):
        raise MalformedFields(f"header name {name!r} has characters that are not allowed; expected lower case")
    if name in _CONNECTION_FIELDS or (name == "te" and value != "trailers"):
        raise MalformedFields(f"header {name}: {value!r} has no place in HTTP/2")


def encode_block(fields: Fields) -> bytes:
    """A block that changes no table: the same bytes serve every connection."""
    literals = [NeverIndexedHeaderTuple(name.encode(), value.encode()) for name, value in fields]
    return Encoder().encode(literals, huffman=False)
