"""Peers of RTMP that cost next to nothing themselves: players whose bytes are counted and thrown away, and publishers.

Enough of RTMP to be let in: handshake without digests, connect, createStream, play or publish. What comes back is not
looked into.
"""

import select
import socket
import struct
import threading

from lib import require

HANDSHAKE = 1 + 2 * 1536


def text(value):
    return b"\x02" + struct.pack(">H", len(value)) + value.encode()


def number(value):
    return b"\x00" + struct.pack(">d", value)


def message(kind, body):
    """One message in chunks of 128 bytes on chunk stream 3, message stream 1."""
    head = b"\x03\0\0\0" + struct.pack(">I", len(body))[1:] + bytes([kind]) + struct.pack("<I", 1 if kind == 20 else 0)
    return head + b"\xc3".join(body[at:at + 128] for at in range(0, len(body), 128))


def connect(app, port):
    members = [("app", app), ("tcUrl", f"rtmp://127.0.0.1:{port}/{app}")]
    pairs = b"".join(text(key)[1:] + text(value) for key, value in members)
    return message(20, text("connect") + number(1) + b"\x03" + pairs + b"\0\0\x09")


def command(name, transaction, *values):
    return message(20, text(name) + number(transaction) + b"\x05" + b"".join(values))


def video(time, body, key=True):
    """A frame of H.264 as far as RTMP is concerned, in one chunk of at most 128 bytes on chunk stream 4."""
    body = (b"\x17" if key else b"\x27") + b"\x01\0\0\0" + body
    require(len(body) <= 128, "more than a chunk")
    return b"\x04" + struct.pack(">I", time)[1:] + struct.pack(">I", len(body))[1:] + b"\x09\x01\0\0\0" + body


def player(port, app, name):
    """A socket to which the stream comes."""
    return peer(port, app, command("createStream", 2) + command("play", 3, text(name)))


def publisher(port, app, name):
    """A socket that takes the stream."""
    return peer(port, app, command("createStream", 2) + command("publish", 3, text(name), text("live")))


def peer(port, app, commands):
    s = socket.create_connection(("127.0.0.1", port), 10)
    s.sendall(b"\x03" + bytes(1536))
    answer = b""
    while len(answer) < HANDSHAKE:
        piece = s.recv(HANDSHAKE - len(answer))
        require(piece, "the handshake was cut")
        answer += piece
    s.sendall(answer[1:1537] + connect(app, port) + commands)
    return s


class Players:
    """Reads `count` players until it is left."""

    def __init__(self, count, port, app, name):
        self.sockets = [player(port, app, name) for _ in range(count)]
        self.bytes, self.ended = 0, 0
        self.stop = False
        self.thread = threading.Thread(target=self.read, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop = True
        self.thread.join(10)
        for s in self.sockets:
            s.close()

    def read(self):
        poll = select.epoll()
        by_fd = {s.fileno(): s for s in self.sockets}
        for fd in by_fd:
            poll.register(fd, select.EPOLLIN)
        scrap = bytearray(1 << 18)
        while not self.stop:
            for fd, _ in poll.poll(0.2):
                count = by_fd[fd].recv_into(scrap)
                if count == 0:
                    self.ended += 1
                    poll.unregister(fd)
                self.bytes += count
