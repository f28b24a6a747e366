"""A connection of HTTP/2, the server's side (RFC 9113), for requests that a layer above answers."""

from __future__ import annotations

import logging
from asyncio import BaseTransport, Protocol, Transport
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

from fusee.server.grpc import frames as f
from fusee.server.grpc.budget import Budget
from fusee.server.grpc.frames import ConnectionFault, StreamFault
from fusee.server.grpc.headers import BlockReader, MalformedFields, PartialBlock, check_trailers
from fusee.server.grpc.reader import MAX_FRAME, FrameReader
from fusee.server.grpc.sending import Sender
from fusee.server.grpc.stream import Application, Buffer, Opening, Stream
from fusee.server.grpc.table import StreamTable
from fusee.server.settings import Limits

log = logging.getLogger(__name__)

STREAM_WINDOW = 4 * 1024 * 1024
CONNECTION_WINDOW = 16 * 1024 * 1024
_WRITE_HIGH_BYTES = 2 * 1024 * 1024  # written and not taken by the socket, beyond which answers wait
_WRITE_MOST_BYTES = 2 * _WRITE_HIGH_BYTES + MAX_FRAME  # the socket takes nothing, and still frames ask for answers
_LEAST_READ_BYTES = 64 * 1024  # within the timeout: a trickle does not keep an answer in memory
_TINY_INCREMENT = 1024  # a window update that costs more than it is worth
_FREE_FRAMES = 2000.0
_FREE_FRAMES_PER_S = 400.0
_LINGER_S = 1.0  # for the peer to hang up after our goodbye
_DRAINING = b"draining"
_ALIVE = b"alive???"
_SIZES = {f.PRIORITY: 5, f.RST_STREAM: 4, f.PING: 8, f.WINDOW_UPDATE: 4}


class Peers(NamedTuple):
    """What the connections of a door share."""

    application: Application
    limits: Limits
    clock: Callable[[], float]
    opened: Callable[[Connection], bool]  # False when there is no room for another
    closed: Callable[[Connection], None]


class Connection(Protocol):
    """Speaks HTTP/2 with one peer. Everything is called on the loop's thread."""

    _transport: Transport
    _sender: Sender

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._limits = peers.limits
        self.now_s = self._since_s = peers.clock()  # of the last bytes, and of the first
        self._frames = FrameReader(self, peers.limits.header_bytes)
        self._blocks: BlockReader[Opening] = BlockReader(peers.limits.header_bytes, peers.application.interpret)
        self._budget = Budget(_FREE_FRAMES, _FREE_FRAMES_PER_S, self.now_s)
        self._table = StreamTable()
        self._streams = self._table.open
        self._has_settings = False
        self._block: PartialBlock | None = None
        self._receive_window = CONNECTION_WINDOW
        self._grant_bytes = 0
        self._goodbye: int | None = None  # the last stream that is answered, once the peer was told
        self._is_draining = False
        self._is_closing = False
        self._abort_at_s = 0.0  # when it is closing
        self._pinged_s: float | None = None
        self._moved_s = self.now_s  # when no answer waited, or enough of those that did had gone out
        self._moved_bytes = 0  # then
        self._handlers = {
            f.HEADERS: self._headers,
            f.PRIORITY: self._priority,
            f.RST_STREAM: self._rst_stream,
            f.SETTINGS: self._settings,
            f.PUSH_PROMISE: self._push_promise,
            f.PING: self._ping,
            f.GOAWAY: self._goaway,
            f.WINDOW_UPDATE: self._window_update,
            f.CONTINUATION: self._continuation,
        }

    # -- the transport's calls

    def connection_made(self, transport: BaseTransport) -> None:
        self._transport = cast(Transport, transport)
        self._sender = Sender(self._transport, self._sent)
        if not self._peers.opened(self) or not _speaks_http2(self._transport):
            self._is_closing = True
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=_WRITE_HIGH_BYTES)
        ours = {
            f.MAX_CONCURRENT_STREAMS: self._limits.streams,
            f.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            f.MAX_FRAME_SIZE: MAX_FRAME,
            f.MAX_HEADER_LIST_SIZE: self._limits.header_bytes,
        }
        self._transport.write(f.settings(ours) + f.window_update(0, CONNECTION_WINDOW - f.DEFAULT_WINDOW))

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_closing = True
        self._abandon()
        self._peers.closed(self)

    def pause_writing(self) -> None:
        self._sender.is_paused = True

    def resume_writing(self) -> None:
        self._sender.is_paused = False
        self._sender.resume()

    def data_received(self, data: bytes) -> None:
        if self._is_closing:
            return
        self.now_s = self._peers.clock()
        self._pinged_s = None
        try:
            self._frames.feed(data)
        except ConnectionFault as fault:
            self._fail(fault.code, fault.message)

    # -- the streams' calls

    def send(
        self, stream: Stream, headers: bytes, parts: Sequence[Buffer], size_bytes: int, trailers: bytes | None
    ) -> None:
        """See ``Stream.send``."""
        if not self._is_closing and not stream.has_ended:
            if size_bytes:
                self._budget.earn()
            self._sender.send(stream, headers, parts, size_bytes, trailers)

    def reset(self, stream: Stream, code: int) -> None:
        """See ``Stream.reset``."""
        if self._streams.get(stream.id) is stream:
            self._write(f.rst_stream(stream.id, code))
            self._retire(stream, is_known=stream.is_ended_by_peer)

    def grant(self, stream: Stream) -> None:
        """Give the peer back what it used of a stream's window, when that is worth a frame."""
        if stream.grant_bytes >= STREAM_WINDOW // 2 and not stream.holds_window and not stream.is_ended_by_peer:
            self._write(f.window_update(stream.id, stream.grant_bytes))
            stream.receive_window += stream.grant_bytes
            stream.grant_bytes = 0

    # -- the door's calls

    @property
    def unread_bytes(self) -> int:
        """Of answers that wait for the peer to take them."""
        return self._sender.waiting_bytes if self._sender.is_waiting else 0

    def drain(self) -> None:
        """Take no new requests once the peer knows; close when those under way are answered."""
        if self._is_closing or self._is_draining:
            return
        self._is_draining = True
        self._write(f.goaway(f.LARGEST_WINDOW, f.NO_ERROR, "the server is stopping") + f.ping(_DRAINING))

    def stop(self, message: str) -> None:
        """Close now, whatever is under way."""
        self._fail(f.NO_ERROR, message)
        self._transport.close()

    def sweep(self, now_s: float) -> None:
        """Look at the clocks; called every now and then."""
        if self._is_closing:
            self._sweep_closing(now_s)
            return
        moved_bytes = self._sender.moved_bytes
        if not self._sender.is_waiting or moved_bytes - self._moved_bytes >= _LEAST_READ_BYTES:
            self._moved_s, self._moved_bytes = now_s, moved_bytes
        limits = self._limits
        if not self._has_settings and now_s - self._since_s > limits.header_timeout_s:
            self._fail(f.SETTINGS_TIMEOUT, f"no preface and settings within {limits.header_timeout_s:g} s")
        elif self._block and now_s - self._block.started_s > limits.header_timeout_s:
            self._fail(f.ENHANCE_YOUR_CALM, f"a header block took longer than {limits.header_timeout_s:g} s")
        elif self._sender.is_waiting and now_s - self._moved_s > limits.body_timeout_s:
            self._fail(f.ENHANCE_YOUR_CALM, f"an answer was hardly read for {limits.body_timeout_s:g} s")
        else:
            self._sweep_streams(now_s)
            self._sweep_idle(now_s)

    def _sweep_closing(self, now_s: float) -> None:
        """A peer that does not hang up after our goodbye."""
        if now_s > self._abort_at_s:
            self._transport.abort()

    def _sweep_streams(self, now_s: float) -> None:
        for stream in list(self._streams.values()):
            exchange = stream.exchange
            silent_s = now_s - stream.heard_s
            if exchange and silent_s > self._limits.body_timeout_s and exchange.waits_for_body():
                exchange.abort()
                self.reset(stream, f.CANCEL)

    def _sweep_idle(self, now_s: float) -> None:
        """A silent peer: one without requests is sent away, one with requests is asked whether it lives."""
        silent_s = now_s - self.now_s
        if not self._streams and silent_s > self._limits.idle_timeout_s:
            self._fail(f.NO_ERROR, f"idle for {self._limits.idle_timeout_s:g} s")
        elif self._pinged_s is not None and now_s - self._pinged_s > self._limits.header_timeout_s:
            self._fail(f.NO_ERROR, "the peer does not answer")
        elif self._streams and self._pinged_s is None and silent_s > self._limits.idle_timeout_s:
            self._pinged_s = now_s
            self._write(f.ping(_ALIVE))

    # -- frames

    def frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """Any frame but DATA. Raises ConnectionFault."""
        if not self._has_settings and (kind != f.SETTINGS or flags & f.ACK):
            raise ConnectionFault(f.PROTOCOL_ERROR, f"the first frame is of type {kind}; expected settings")
        if self._block is not None and kind != f.CONTINUATION:
            raise ConnectionFault(f.PROTOCOL_ERROR, f"a frame of type {kind} within a header block")
        size = _SIZES.get(kind)
        if size is not None and len(payload) != size:
            raise ConnectionFault(f.FRAME_SIZE_ERROR, f"a frame of type {kind} with {len(payload)} bytes, not {size}")
        try:
            self._handlers[kind](flags, stream_id, payload)
        except StreamFault as fault:
            self._fail_stream(fault)

    def charge(self, stream_id: int, size_bytes: int) -> Stream | None:
        """See ``Receiver.charge``."""
        if not self._has_settings or self._block is not None:
            raise ConnectionFault(f.PROTOCOL_ERROR, "a DATA frame before the settings or within a header block")
        self._receive_window -= size_bytes
        if self._receive_window < 0:
            raise ConnectionFault(f.FLOW_CONTROL_ERROR, "more data than the connection's window allows")
        self._grant_bytes += size_bytes
        if self._grant_bytes >= CONNECTION_WINDOW // 2:
            self._write(f.window_update(0, self._grant_bytes))
            self._receive_window += self._grant_bytes
            self._grant_bytes = 0
        stream = self._streams.get(stream_id)
        if stream is None:
            self._table.check_late(stream_id, "DATA")
            self._budget.spend("late DATA", self.now_s)
            return None
        if stream.is_ended_by_peer:
            return self._fail_stream(StreamFault(stream_id, f.STREAM_CLOSED, "data after the end of the stream"))
        stream.receive_window -= size_bytes
        if stream.receive_window < 0:
            return self._fail_stream(
                StreamFault(stream_id, f.FLOW_CONTROL_ERROR, "more data than the stream's window allows")
            )
        stream.grant_bytes += size_bytes
        return stream

    def take(self, stream: Stream, piece: Buffer, is_last: bool) -> None:
        """See ``Receiver.take``."""
        exchange = stream.exchange
        if exchange is None:
            return
        stream.heard_s = self.now_s
        if piece:
            exchange.receive(piece)
        elif not is_last:
            self._budget.spend("empty DATA", self.now_s)
        if is_last:
            self._end_by_peer(stream)
        elif stream.exchange is not None:
            self.grant(stream)

    def _headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        priority_bytes = 5 if flags & f.HAS_PRIORITY else 0
        content = f.without_padding(payload, flags, priority_bytes)
        if not stream_id & 1:
            raise ConnectionFault(f.PROTOCOL_ERROR, f"HEADERS on stream {stream_id}; a client's streams are odd")
        ends_stream = flags & f.END_STREAM != 0
        if flags & f.END_HEADERS:
            self._section(stream_id, ends_stream, content)
        else:
            self._block = PartialBlock(stream_id, ends_stream, content, self.now_s)

    def _continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        block = self._block
        if block is None or block.stream_id != stream_id:
            raise ConnectionFault(f.PROTOCOL_ERROR, f"CONTINUATION on stream {stream_id} without its HEADERS")
        block.add(payload, self._limits.header_bytes)
        if flags & f.END_HEADERS:
            self._block = None
            self._section(stream_id, block.ends_stream, block.content())

    def _section(self, stream_id: int, ends_stream: bool, block: bytes) -> None:
        """A header section is complete: of a new request, or trailers."""
        if stream_id > self._table.highest:
            self._open(stream_id, ends_stream, block)
            return
        fields = self._blocks.read_trailers(block)
        stream = self._streams.get(stream_id)
        if stream is None:
            self._table.check_late(stream_id, "HEADERS")
            self._budget.spend("late HEADERS", self.now_s)
            return
        if stream.is_ended_by_peer:
            raise StreamFault(stream_id, f.STREAM_CLOSED, "headers after the end of the stream")
        try:
            check_trailers(fields)
        except MalformedFields as err:
            raise StreamFault(stream_id, f.PROTOCOL_ERROR, str(err)) from err
        if not ends_stream:
            raise StreamFault(stream_id, f.PROTOCOL_ERROR, "a second header section that does not end the stream")
        self._end_by_peer(stream)

    def _open(self, stream_id: int, ends_stream: bool, block: bytes) -> None:
        self._table.highest = stream_id
        try:
            opening = self._blocks.read(block)
        except MalformedFields as err:
            self._table.close(stream_id, is_known=False)
            raise StreamFault(stream_id, f.PROTOCOL_ERROR, str(err)) from err
        if refusal := self._refusal():
            self._table.close(stream_id, is_known=ends_stream)
            raise StreamFault(stream_id, f.REFUSED_STREAM, refusal)
        stream = Stream(self, stream_id, STREAM_WINDOW, self._sender.initial_window)
        self._streams[stream_id] = stream
        exchange = opening.begin(stream)
        if not stream.has_ended:
            stream.exchange = exchange
        if ends_stream:
            self._end_by_peer(stream)

    def _refusal(self) -> str:
        """Why no stream may be opened now; empty when one may."""
        if self._goodbye is not None:
            return "the server is stopping"
        if len(self._streams) >= self._limits.streams:
            return f"{len(self._streams)} streams are open, as many as one connection may have"
        if self._sender.is_waiting and self._sender.waiting_bytes > self._limits.body_bytes:
            return f"{self._sender.waiting_bytes} bytes of answers wait to be read"
        return ""

    def _end_by_peer(self, stream: Stream) -> None:
        stream.is_ended_by_peer = True
        if stream.exchange is not None:
            stream.exchange.end()
        if stream.has_ended:
            self._retire(stream, is_known=True)

    def _priority(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id:
            raise ConnectionFault(f.PROTOCOL_ERROR, "PRIORITY on stream 0")
        self._budget.spend("PRIORITY", self.now_s)

    def _rst_stream(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._table.check_known(stream_id, "RST_STREAM")
        self._budget.spend("RST_STREAM", self.now_s)
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._abort(stream)
            self._retire(stream, is_known=True)

    def _settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id or len(payload) % 6 or (flags & f.ACK and payload):
            code = f.PROTOCOL_ERROR if stream_id else f.FRAME_SIZE_ERROR
            raise ConnectionFault(code, f"settings of {len(payload)} bytes on stream {stream_id}")
        self._has_settings = True
        if flags & f.ACK:
            return
        self._budget.spend("SETTINGS", self.now_s)
        for name, value in f.SETTING.iter_unpack(payload):
            self._budget.spend("SETTINGS", self.now_s)  # a window looks at every stream, and a frame has room for many
            self._set(name, value)
        self._write(f.SETTINGS_ACK)

    def _set(self, name: int, value: int) -> None:
        if name == f.INITIAL_WINDOW_SIZE:
            if value > f.LARGEST_WINDOW:
                raise ConnectionFault(f.FLOW_CONTROL_ERROR, f"an initial window of {value}")
            self._sender.set_initial_window(value, self._streams.values())
        elif name == f.MAX_FRAME_SIZE:
            if not f.SMALLEST_MAX_FRAME <= value <= f.LARGEST_MAX_FRAME:
                raise ConnectionFault(f.PROTOCOL_ERROR, f"a largest frame size of {value}")
            self._sender.max_frame = min(value, MAX_FRAME)
        elif name == f.ENABLE_PUSH and value > 1:
            raise ConnectionFault(f.PROTOCOL_ERROR, f"push enabled by {value}; expected 0 or 1")

    def _push_promise(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise ConnectionFault(f.PROTOCOL_ERROR, "a client cannot promise a push")

    def _ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionFault(f.PROTOCOL_ERROR, f"PING on stream {stream_id}")
        if not flags & f.ACK:
            self._budget.spend("PING", self.now_s)
            self._write(f.ping(payload, f.ACK))
        elif payload == _DRAINING and self._is_draining and self._goodbye is None:
            self._goodbye = self._table.highest
            self._write(f.goaway(self._table.highest, f.NO_ERROR, "the server is stopping"))
            self._close_if_done()

    def _goaway(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id or len(payload) < 8:
            code = f.PROTOCOL_ERROR if stream_id else f.FRAME_SIZE_ERROR
            raise ConnectionFault(code, f"GOAWAY of {len(payload)} bytes on stream {stream_id}")
        self._goodbye = self._table.highest
        self._close_if_done()

    def _window_update(self, flags: int, stream_id: int, payload: bytes) -> None:
        increment = f.U32.unpack(payload)[0] & 0x7FFFFFFF
        if increment < _TINY_INCREMENT:
            self._budget.spend("small WINDOW_UPDATE", self.now_s)
        if not stream_id:
            if not increment:
                raise ConnectionFault(f.PROTOCOL_ERROR, "a window update by 0")
            self._sender.widen(increment)
            return
        self._table.check_known(stream_id, "WINDOW_UPDATE")
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        if not increment:
            raise StreamFault(stream_id, f.PROTOCOL_ERROR, "a window update by 0")
        self._sender.widen_stream(stream, increment)

    # -- ends

    def _sent(self, stream: Stream) -> None:
        """Our side of a stream has ended."""
        if not stream.is_ended_by_peer:  # it need not send the rest
            self._write(f.rst_stream(stream.id, f.NO_ERROR))
            self._retire(stream, is_known=False)
        else:
            self._retire(stream, is_known=True)

    def _retire(self, stream: Stream, is_known: bool) -> None:
        if stream.id not in self._streams:
            return
        stream.exchange = None
        stream.has_ended = True
        if self._sender.is_waiting:
            self._sender.forget(stream)
        self._table.close(stream.id, is_known)
        if self._goodbye is not None:
            self._close_if_done()

    def _abort(self, stream: Stream) -> None:
        exchange, stream.exchange = stream.exchange, None
        if exchange is not None:
            exchange.abort()

    def _abandon(self) -> None:
        for stream in list(self._streams.values()):
            self._abort(stream)
            self._sender.forget(stream)
        self._streams.clear()

    def _fail_stream(self, fault: StreamFault) -> None:
        log.debug("stream %d: %s", fault.stream_id, fault.message)
        self._budget.spend("faulty", self.now_s)
        self._write(f.rst_stream(fault.stream_id, fault.code))
        stream = self._streams.get(fault.stream_id)
        if stream is not None:
            self._abort(stream)
            self._retire(stream, is_known=stream.is_ended_by_peer)

    def _fail(self, code: int, message: str) -> None:
        """Say why, and close. What the peer sends meanwhile is thrown away: a socket that is closed with bytes unread
        is reset, and the reason lost."""
        if self._is_closing:
            return
        if code != f.NO_ERROR:
            log.info("gRPC connection of %s ended: %s", self._transport.get_extra_info("peername"), message)
        self._write(f.goaway(self._table.highest, code, message))
        self._is_closing = True
        self._abort_at_s = self._peers.clock() + _LINGER_S
        self._abandon()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def _close_if_done(self) -> None:
        if not self._streams and not self._is_closing:
            self._is_closing = True
            self._abort_at_s = self._peers.clock() + self._limits.body_timeout_s
            self._transport.close()

    def _write(self, frames: bytes) -> None:
        """Write control frames, while the peer reads them."""
        if self._is_closing:
            return
        self._transport.write(frames)
        if self._sender.is_paused and self._transport.get_write_buffer_size() > _WRITE_MOST_BYTES:
            self._is_closing = True
            self._transport.abort()


def _speaks_http2(transport: Transport) -> bool:
    """Whether TLS agreed on h2; without TLS the preface tells."""
    tls = transport.get_extra_info("ssl_object")
    return tls is None or tls.selected_alpn_protocol() == "h2"
