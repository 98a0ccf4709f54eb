"""No network in the tests but loopback, for this process and its children."""

import ctypes
import fcntl
import ipaddress
import os
import socket
import struct
import sys
from typing import Any

_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1
_WATCHED = ("socket.connect", "socket.sendto", "socket.getaddrinfo")


def leave_the_network() -> None:
    """Moves into a network of our own that has loopback alone, which needs Linux and root; else
    Python's connections to anywhere else raise, in this process.
    """
    if sys.platform == "linux" and os.geteuid() == 0 and _unshare():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            request = struct.pack("16sh14x", b"lo", _IFF_UP)
            fcntl.ioctl(any_socket, _SIOCSIFFLAGS, request)
    else:
        sys.addaudithook(_refuse)


def _unshare() -> bool:
    """Whether the kernel gave this thread, and what it starts, an empty network."""
    return ctypes.CDLL(None).unshare(_CLONE_NEWNET) == 0


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in _WATCHED:
        return
    where = arguments[0] if event == "socket.getaddrinfo" else arguments[1]
    host = where[0] if isinstance(where, tuple) else where
    if not isinstance(where, tuple) and event != "socket.getaddrinfo":
        return  # the path of a socket of this machine
    if not is_loopback(host):
        raise OSError(f"tests use no network, and this one asks for {host!r}")


def is_loopback(host: Any) -> bool:
    """Whether an address or a name is this machine's own."""
    if host in (None, "", b"", "localhost", b"localhost"):
        return True
    try:
        return ipaddress.ip_address(host if isinstance(host, str) else host.decode()).is_loopback
    except ValueError:
        return False
