"""The floor: the cost of copying the same bytes into the same number of files, without any knowledge of DICOM.

It calls ``recv_into`` for a buffer and ``os.writev`` for a file, and sends constant bytes after the known length of a
message. ``run.py`` runs it in a process of its own, with all bytes to send in one JSON object on standard input.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading

BUFFER = 256 * 1024


PENDING = b"\0\0\0\t\2\0\0\0\0\xff"  # the element Status (0000,0900) of a pending response


def receive_pdu(sock: socket.socket) -> bytes:
    """Read one PDU."""
    header = receive(sock, 6)
    return receive(sock, int.from_bytes(header[2:6], "big"))


def receive(sock: socket.socket, size: int) -> bytes:
    """Read ``size`` bytes."""
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        if not part:
            raise SystemExit("the sender closed the connection")
        data += part
    return data


def copy(sock: socket.socket, folder: str, length: int, answer: bytes, *, number: int) -> int:
    """Copy messages of one length into files, until the sender sends another PDU. Return the next number."""
    buffer = bytearray(BUFFER)
    view = memoryview(buffer)
    have = 0
    while True:
        while have < 6:
            size = sock.recv_into(view[have:])
            if not size:
                return number
            have += size
        if buffer[0] != 4:  # a release request
            return number
        fd = os.open(f"{folder}/CT.{number}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        left = length
        while True:
            size = min(have, left)
            os.writev(fd, [view[:size]])
            left -= size
            have -= size
            if not left:
                break
            have = sock.recv_into(view)
        os.close(fd)
        view[:have] = view[size : size + have]
        sock.sendall(answer)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        number += 1


def main() -> None:
    """Run as a receiver that knows all messages by heart."""
    work = json.load(sys.stdin)
    constants = {name: bytes.fromhex(text) for name, text in work["constants"].items()}
    listening = socket.create_server((work["host"], work["port"]))
    request = socket.create_connection((work["host"], work["archive"]))
    request.sendall(constants["associate_rq"])
    receive_pdu(request)  # A-ASSOCIATE-AC
    request.sendall(constants["move_rq"])

    def serve(first: int) -> None:
        sock, _ = listening.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        receive_pdu(sock)
        sock.sendall(constants["associate_ac"])
        copy(sock, work["folder"], work["length"], constants["store_rsp"], number=first)
        sock.sendall(constants["release_rp"])

    threads = [threading.Thread(target=serve, args=(n * 10_000_000,)) for n in range(work["associations"])]
    for thread in threads:
        thread.start()
    while PENDING in receive_pdu(request):
        pass
    for thread in threads:
        thread.join()
    request.sendall(constants["release_rq"])
    receive_pdu(request)


if __name__ == "__main__":
    main()
