# Sends its input with a FIN in the very packet of the last bytes, which Node cannot: TCP_CORK holds the bytes until shutdown().
# Each connection to it begins with the port of the server and a line feed; then come frames: four bytes, which are a length and, as
# the highest bit, whether these are the last bytes; and the bytes. Bytes of the server go back unchanged. Prints its own port;
# ends with its stdin.
import os
import socket
import sys
import threading

LAST = 1 << 31


def finish(peer, how):
    try:
        peer.shutdown(how)
    except OSError:
        pass  # it has been reset


def back(server, client):
    try:
        while data := server.recv(262144):
            client.sendall(data)
    except OSError:
        pass
    finish(client, socket.SHUT_WR)


def serve(client):
    frames = client.makefile("rb")
    server = socket.create_connection(("127.0.0.1", int(frames.readline())))
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    threading.Thread(target=back, args=(server, client), daemon=True).start()
    try:
        while len(head := frames.read(4)) == 4:
            length = int.from_bytes(head, "big")
            if length & LAST:
                server.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
                server.sendall(frames.read(length - LAST))
                server.shutdown(socket.SHUT_WR)
            else:
                server.sendall(frames.read(length))
    except OSError:
        pass
    finish(server, socket.SHUT_RDWR)


listener = socket.create_server(("127.0.0.1", 0), backlog=256)
print(listener.getsockname()[1], flush=True)


def accept():
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


threading.Thread(target=accept, daemon=True).start()
for _ in sys.stdin:
    pass
os._exit(0)
