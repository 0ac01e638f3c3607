"""Links to the page of an invitation."""

from urllib.parse import urlsplit


def link_prefix(prefix: str) -> str:
    """Returns what stands before a link's secret: a slash is added unless it ends in `/ = ? #`.

    Raises ValueError, whose text says why.
    """
    try:
        parts = urlsplit(prefix)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("the link must begin with http:// or https:// and a host")
    if not (prefix.isascii() and prefix.isprintable()) or set(prefix) & set(' "<>'):
        raise ValueError("the link must be ASCII without spaces, quotes and < >")
    return prefix if prefix[-1] in "/=?#" else prefix + "/"
