"""The gateway's access log: one line of JSON for each request, with the gRPC code that was answered.

REST answers hold no gRPC code by the time that they are logged, and Envoy would guess one from the
HTTP status. So filters note the code where the server's answer comes by: an error's before the
transcoder takes it away, success once the transcoder has read it.
"""

import json
from pathlib import Path
from typing import Any

from gateway.replies import REPLIES

_TYPES = "type.googleapis.com/envoy.extensions"
_NAMESPACE, _KEY = "answer", "grpc_status"
# By these the server says behind an answer who called, and which operation it was.
_IDS = {"caller": "x-call-caller", "operation": "x-call-operation"}
_NOTE_IDS = """\
function envoy_on_response(handle)
  local place = handle:headers()
  if not place:get("grpc-status") then place = handle:trailers() end
  if not place then return end
  for name, header in pairs(%s) do
    local id = place:get(header)
    if id then
      handle:streamInfo():dynamicMetadata():set("%s", name, id)
      place:remove(header)
    end
  end
end
"""
# Of REST: native answers are 200 whatever their code. Success of Envoy's own, a static file or a
# preflight, is no gRPC.
_OWN_REFUSAL = "response.code >= 400 && response.code_details != 'via_upstream'"


def grpc_status_filter(name: str) -> dict[str, Any]:
    """Returns an HTTP filter that notes the gRPC code of an answer that comes by."""
    noted = {"metadata_namespace": _NAMESPACE, "key": _KEY, "type": "NUMBER"}
    return {
        "name": name,
        "typed_config": {
            "@type": f"{_TYPES}.filters.http.header_to_metadata.v3.Config",
            "response_rules": [{"header": "grpc-status", "on_header_present": noted}],
        },
    }


def ids_filter(name: str) -> dict[str, Any]:
    """Returns an HTTP filter that notes the IDs that come with an answer, and takes them out of it.

    It stands behind the transcoder, which drops what comes behind an answer. Native calls are spared
    it: the log finds theirs where they are.
    """
    names = ", ".join(f'{key} = "{header}"' for key, header in _IDS.items())
    return {
        "name": name,
        "typed_config": {
            "@type": f"{_TYPES}.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": _NOTE_IDS % (f"{{ {names} }}", _NAMESPACE)},
        },
    }


def access_log(file: Path) -> dict[str, Any]:
    """Returns the log. Routes, never paths or addresses: those name people or hold secrets."""
    return {
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": f"{_TYPES}.access_loggers.file.v3.FileAccessLog",
            "path": str(file),
            "log_format": {
                "json_format": {
                    "at": "%START_TIME(%Y-%m-%dT%H:%M:%E3SZ)%",
                    "route": "%ROUTE_NAME%",
                    "protocol": "%PROTOCOL%",
                    "status": "%RESPONSE_CODE%",
                    "grpc_status": _grpc_status(),
                    "flags": "%RESPONSE_FLAGS%",
                    "details": "%RESPONSE_CODE_DETAILS%",
                    "duration_ms": "%DURATION%",
                    "received_bytes": "%BYTES_RECEIVED%",
                    "sent_bytes": "%BYTES_SENT%",
                    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
                    "upstream": "%UPSTREAM_HOST%",
                    "request_id": "%REQ(X-REQUEST-ID)%",
                    **{name: _id(name, header) for name, header in _IDS.items()},
                }
            },
        },
    }


def _grpc_status() -> str:
    """Returns what was noted; else a native answer's; else the code in the body of a refusal.

    A call that was broken off has none. %GRPC_STATUS_NUMBER% would make one up.
    """
    # What is no HTTP has no route, so that looking at one would be an error; only native routes count.
    own = "".join(
        f"{reply.when} ? {reply.code} : " for reply in REPLIES if "route_name" not in reply.when
    )
    native = "".join(
        f"'grpc-status' in {place} ? int({place}['grpc-status']) : "
        for place in ("response.trailers", "response.headers")
    )
    operators = [
        {"command": "DYNAMIC_METADATA", "param": f"{_NAMESPACE}:{_KEY}"},
        {"command": "TYPED_CEL", "param": f"{_OWN_REFUSAL} ? ({own}null) : {native}null"},
    ]
    return _first_of(operators)


def _id(name: str, header: str) -> str:
    """Returns what was noted; else what a native answer has behind it, or an error with it."""
    operators = [{"command": "DYNAMIC_METADATA", "param": f"{_NAMESPACE}:{name}"}]
    operators += [{"command": command, "param": header} for command in ("TRAILER", "RESP")]
    return _first_of(operators)


def _first_of(operators: list[dict[str, str]]) -> str:
    return f"%COALESCE({json.dumps({'operators': operators})})%"
