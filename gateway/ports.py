"""The ports that Envoy is to listen on, looked at before it starts."""

import ipaddress
import socket

from gateway.settings import GatewaySettings


class GatewayError(Exception):
    """Envoy can't be started; the text is one line for the person who started it."""


def check_ports(settings: GatewaySettings) -> None:
    """Raises GatewayError for what Envoy itself would not notice, or say in many words."""
    if not _is_loopback(settings.http_address):
        raise GatewayError(
            f"refusing to serve without TLS on {settings.http_address}: only loopback is allowed"
        )
    for address, port, what in (
        (settings.http_address, settings.http_port, "HTTP"),
        (settings.address, settings.https_port, "HTTPS"),
    ):
        # Envoy's sockets would share the port with another Envoy's and take half of its calls.
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
                probe.listen()
            except OSError as error:
                raise GatewayError(
                    f"port {port} on {address}, for {what}, can't be used: {error.strerror}"
                ) from None


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
