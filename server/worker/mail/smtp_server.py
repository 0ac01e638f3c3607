"""Which SMTP server to use, and how: one setting, a URL."""

import ipaddress
import ssl
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from server.domain.hosts import can_be_looked_up

_PORTS = {"smtp": 25, "smtps": 465}
# Where clients with a name and password hand mail in (RFC 6409).
_SUBMISSION_PORT = 587
_STARTTLS = {"offered": None, "required": True, "never": False}


class SmtpUrlError(ValueError):
    """An SMTP URL that can't be used; one line that says what is wrong without quoting it."""


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """An SMTP server as told by a URL.

    `starttls`: None if used when offered, True if required, False if forbidden.
    """

    host: str
    port: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    implicit_tls: bool = False
    starttls: bool | None = None
    tls: ssl.SSLContext = field(default_factory=ssl.create_default_context, repr=False)

    @classmethod
    def from_url(cls, url: str) -> "SmtpServer":
        """Reads `smtp[s]://[user:password@]host[:port][?starttls=offered|required|never&ca=path]`.

        User and password are percent-encoded. `smtps` is TLS from the start; `smtp` uses STARTTLS
        when the server offers it, unless told otherwise. Certificates are verified, against the
        file `ca` where given. The port is 465 for `smtps`; for `smtp` 587 with a user, else 25.
        Credentials go over TLS, which is then required, unless the host is loopback.
        Raises SmtpUrlError.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise SmtpUrlError("not a URL: host or port (1 to 65535) is malformed") from None
        if parts.scheme not in _PORTS:
            raise SmtpUrlError("must begin with smtp:// or smtps://")
        host = parts.hostname
        if not host or port == 0:
            raise SmtpUrlError("needs a host and, where given, a port from 1 to 65535")
        if not can_be_looked_up(host):
            raise SmtpUrlError("its host is no name like mail.example.com, and no IP address")
        if parts.path.strip("/") or parts.fragment:
            raise SmtpUrlError("nothing but ?starttls= and &ca= may follow host and port")
        user, password = _credentials(parts.username, parts.password)
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        starttls = _starttls(options.pop("starttls", "offered"), parts.scheme)
        tls = _context(options.pop("ca", None))
        if options:
            raise SmtpUrlError("the options are starttls and ca, no others")
        if user is not None and parts.scheme == "smtp" and not is_loopback(host):
            if starttls is False:
                raise SmtpUrlError("user and password can't be sent without TLS: drop starttls")
            starttls = True
        default_port = _SUBMISSION_PORT if user and parts.scheme == "smtp" else _PORTS[parts.scheme]
        return cls(
            host=host,
            port=port or default_port,
            user=user,
            password=password,
            implicit_tls=parts.scheme == "smtps",
            starttls=starttls,
            tls=tls,
        )


def _credentials(user: str | None, password: str | None) -> tuple[str | None, str | None]:
    if user is None and password is None:
        return None, None
    if not user or password is None:
        raise SmtpUrlError("needs user and password both, or neither: smtp://user:password@host")
    try:
        return unquote(user, errors="strict"), unquote(password, errors="strict")
    except UnicodeDecodeError:
        raise SmtpUrlError("user and password must be percent-encoded UTF-8") from None


def _starttls(option: str, scheme: str) -> bool | None:
    if option not in _STARTTLS:
        raise SmtpUrlError(f"starttls must be one of {', '.join(_STARTTLS)}")
    if scheme == "smtps":
        if option == "required":
            raise SmtpUrlError("smtps:// is TLS from the start: drop starttls or use smtp://")
        return False
    return _STARTTLS[option]


def _context(ca: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ValueError):
        raise SmtpUrlError("ca must name a readable file with PEM certificates") from None


def is_loopback(host: str) -> bool:
    """Tells whether a host is this machine itself."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
