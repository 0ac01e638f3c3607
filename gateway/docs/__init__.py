"""The page at /docs, its parts, and the description that it shows, as files for Envoy to serve."""

import gzip
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

from files.private import replace_private
from gateway.openapi import DOCUMENT
from gateway.settings import StaticFile

_HERE = Path(__file__).parent
_JAVASCRIPT = "text/javascript; charset=utf-8"
_STYLES = "text/css; charset=utf-8"
# Nothing comes from elsewhere and no text in the page is a script or a style. Swagger UI carries
# its icons in its style sheet as data: URLs.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_ALL = {"x-content-type-options": "nosniff", "cache-control": "max-age=3600"}
_FRESH = _ALL | {"cache-control": "no-cache"}
_PAGE = _FRESH | {"content-security-policy": _POLICY, "referrer-policy": "no-referrer"}


def static_files() -> list[StaticFile]:
    """Returns all that /docs consists of, and /openapi.json."""
    page = _HERE / "index.html"
    return [
        StaticFile("/openapi.json", DOCUMENT, "application/json", _FRESH),
        StaticFile("/docs", page, "text/html; charset=utf-8", _PAGE),
        StaticFile("/docs/", page, "text/html; charset=utf-8", _PAGE),
        StaticFile("/docs/start.js", _HERE / "start.js", _JAVASCRIPT, _FRESH),
        StaticFile("/docs/docs.css", _HERE / "docs.css", _STYLES, _FRESH),
        _swagger("swagger-ui-bundle.js", _JAVASCRIPT),
        _swagger("swagger-ui.css", _STYLES),
        _swagger("favicon-32x32.png", "image/png"),
    ]


def packed(files: Iterable[StaticFile], folder: Path) -> Iterator[StaticFile]:
    """Yields the files with what is packed of them in the folder; images are packed as they are."""
    for file in files:
        if file.content_type.startswith("image/"):
            yield file
            continue
        there = folder / f"{file.path.strip('/').replace('/', '-')}.gz"
        replace_private(there, _gzipped(file.file))
        yield replace(file, packed=there)


@cache
def _gzipped(file: Path) -> bytes:
    return gzip.compress(file.read_bytes(), mtime=0)


def _swagger(name: str, content_type: str) -> StaticFile:
    # Found without an import: that would load Flask.
    file = distribution("flask-swagger-ui").locate_file(f"flask_swagger_ui/dist/{name}")
    return StaticFile(f"/docs/{name}", Path(str(file)), content_type, _ALL)
