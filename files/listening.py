"""Why nobody can listen at an address, in words for the person who chose it."""

import errno
import socket

_WHY = {
    errno.EADDRINUSE: "another program listens there: stop it, or choose another port",
    errno.EADDRNOTAVAIL: "it is no address of this machine",
    errno.EACCES: "this user may not: choose a port from 1024 on",
}


def why_not(host: str, port: int) -> str:
    """Returns why a server can't listen there, "" where it can. An IPv6 address may be in brackets."""
    try:
        places = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError):
        return f"no name server knows {host}, or none answers: give an address of this machine"
    for family, kind, protocol, _, place in places:
        try:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(place)
                probe.listen()
        except OSError as error:
            return _WHY.get(error.errno or 0) or error.strerror or type(error).__name__
    return ""
