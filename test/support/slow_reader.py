"""A peer with a receive window of 4 KiB, which node:net cannot ask for: sends lines or bytes, and reads back slowly.

Arguments: port, bytes to send, what each line begins with ('' for an echo of bytes). Prints "same" or where it differs.
"""
import socket
import sys
import threading

port, size, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
lines = [b"%07d" % i + b"abcdefghijklmnopqrstuvwxyz"[: i % 26] + b"\n" for i in range(size // 20)]
expected = b"".join(lines)
sent = b"".join(command.encode() + line for line in lines)

peer = socket.socket()
peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
peer.connect(("127.0.0.1", port))


def send():
    peer.sendall(sent)
    peer.shutdown(socket.SHUT_WR)


threading.Thread(target=send, daemon=True).start()
received = b""
while True:
    chunk = peer.recv(1000)
    if not chunk:
        break
    received += chunk
peer.close()
if received == expected:
    print("same", end="")
else:
    at = next((i for i, (a, b) in enumerate(zip(received, expected)) if a != b), min(len(received), len(expected)))
    print("%d of %d bytes, differs at %d" % (len(received), len(expected), at), end="")
