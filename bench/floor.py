"""The floor: what copying the same bytes into the same number of files costs, with no knowledge of DICOM at all.

``recv_into`` a buffer, ``os.writev`` to a file, and constant bytes for an answer after as many bytes as a message is
known to have. Run by ``run.py`` in a process of its own; what it says to its peers was made before and comes as
arguments: one JSON object on standard input.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading

BUFFER = 256 * 1024


def receive_pdu(sock: socket.socket) -> None:
    """Take one PDU, whatever it is."""
    header = receive(sock, 6)
    receive(sock, int.from_bytes(header[2:6], "big"))


def receive(sock: socket.socket, size: int) -> bytes:
    """Take so many bytes."""
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        if not part:
            raise SystemExit("the sender is gone")
        data += part
    return data


def copy(sock: socket.socket, folder: str, length: int, answer: bytes, *, number: int) -> int:
    """Copy messages of one length into files, until the sender says something else."""
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
    """Do what a receiver does, by rote."""
    work = json.load(sys.stdin)
    constants = {name: bytes.fromhex(text) for name, text in work["constants"].items()}
    listening = socket.create_server((work["host"], work["port"]))
    request = socket.create_connection((work["host"], work["archive"]))
    request.sendall(constants["associate_rq"])
    receive_pdu(request)
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
    for thread in threads:
        thread.join()
    receive_pdu(request)
    request.sendall(constants["release_rq"])
    receive_pdu(request)


if __name__ == "__main__":
    main()
