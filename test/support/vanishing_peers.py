# Connections whose peer is gone from one moment to the next, without a FIN or a reset, as when a cable is cut: a filter on the
# socket drops all packets, so that nothing is answered and nothing acknowledged. Arguments: port, then for each peer what it
# says before it vanishes and while it does, as JSON: [[before, expected, last], ...]. Prints a line when all have vanished, and for
# each line on its stdin one with the state of their sockets: [[state of the connection, bytes to read], ...].
import ctypes
import fcntl
import json
import socket
import struct
import sys
import termios

SO_ATTACH_FILTER = 26


def vanish(peer):
    # One instruction: return 0 bytes of every packet, which is to drop it.
    program = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 0))
    filter = struct.pack("@HP", 1, ctypes.addressof(program))
    peer.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, filter)


def state(peer):
    (waiting,) = struct.unpack("i", fcntl.ioctl(peer, termios.FIONREAD, b"\0" * 4))
    return [peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0], waiting]


peers = []
for before, expected, last in json.loads(sys.argv[2]):
    peer = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer.sendall(before.encode())
    got = b""
    while len(got) < len(expected):
        got += peer.recv(65536)
    assert got == expected.encode()
    vanish(peer)
    if last:
        peer.sendall(last.encode())
    peers.append(peer)
print("vanished", flush=True)
for _ in sys.stdin:
    print(json.dumps([state(peer) for peer in peers]), flush=True)
