"""What Envoy does before its connections or its memory run out: it sheds what costs most and does least."""

from pathlib import Path
from typing import Any

_TYPES = "type.googleapis.com/envoy.extensions"
_CONNECTIONS = "envoy.resource_monitors.injected_resource"
_HEAP = "envoy.resource_monitors.fixed_heap"
# Shares of the connections: from the first on idle ones end sooner, from the second on at once.
_MANY, _TOO_MANY = 0.4, 0.7
# What "at once" means for a connection that says nothing, and for a request that does not go on.
_LEAST_IDLE_S = 1
_LEAST_STALL_S = 2
# MiB of the heap that Envoy takes at rest, and a margin; shares of what is left of it. From the first
# on what says nothing ends sooner, and from the second on at once; from the third on streams that hold
# most of it are reset; the last is for what no reset helps against.
PROGRAM_MIB = 80
_MUCH, _TOO_MUCH = 0.05, 0.15
_LARGE, _TOO_LARGE, _FULL = 0.1, 0.25, 0.95
# Streams that hold less than this, 2 to the power of it in bytes, are never reset.
_SMALL_POWER = 16


def overload_manager(
    max_connections: int, memory_mib: int, pressure: Path | None
) -> dict[str, Any]:
    """Returns Envoy's OverloadManager.

    `pressure` is a file that holds the share of `max_connections` that are open: Envoy refuses new
    ones by its own count, but can't base any other action on it. None where nobody writes it.
    """

    def share(of_rest: float) -> float:
        return (PROGRAM_MIB + of_rest * (memory_mib - PROGRAM_MIB)) / memory_mib

    heap = {"name": _HEAP, "threshold": {"value": _FULL}}
    return {
        "refresh_interval": "0.1s",
        "resource_monitors": [
            _monitor(
                "envoy.resource_monitors.global_downstream_max_connections",
                "downstream_connections.v3.DownstreamConnectionsConfig",
                max_active_downstream_connections=max_connections,
            ),
            _monitor(_HEAP, "fixed_heap.v3.FixedHeapConfig", max_heap_size_bytes=memory_mib << 20),
            *([_connections(pressure)] if pressure else []),
        ],
        "actions": [
            _action("reset_high_memory_stream", _scaled(_HEAP, share(_LARGE), share(_TOO_LARGE))),
            _action("shrink_heap", heap),
            _action("stop_accepting_requests", heap),
            _shed_idle(_scaled(_HEAP, share(_MUCH), share(_TOO_MUCH)), pressure),
        ],
        "buffer_factory_config": {"minimum_account_to_track_power_of_two": _SMALL_POWER},
    }


def _monitor(name: str, kind: str, **settings: Any) -> dict[str, Any]:
    return {
        "name": name,
        "typed_config": {"@type": f"{_TYPES}.resource_monitors.{kind}", **settings},
    }


def _connections(pressure: Path) -> dict[str, Any]:
    kind = "injected_resource.v3.InjectedResourceConfig"
    return _monitor(_CONNECTIONS, kind, filename=str(pressure))


def _scaled(name: str, from_: float, to: float) -> dict[str, Any]:
    return {"name": name, "scaled": {"scaling_threshold": from_, "saturation_threshold": to}}


def _action(name: str, *triggers: dict[str, Any], **config: Any) -> dict[str, Any]:
    return {"name": f"envoy.overload_actions.{name}", "triggers": list(triggers), **config}


def _shed_idle(memory: dict[str, Any], pressure: Path | None) -> dict[str, Any]:
    """Ten thousand requests without end take little of a buffer each, but 200 MiB in all."""
    least_s = {
        "HTTP_DOWNSTREAM_CONNECTION_IDLE": _LEAST_IDLE_S,
        "TRANSPORT_SOCKET_CONNECT": _LEAST_IDLE_S,
        "HTTP_DOWNSTREAM_STREAM_IDLE": _LEAST_STALL_S,
        "HTTP_DOWNSTREAM_STREAM_FLUSH": _LEAST_STALL_S,
    }
    return _action(
        "reduce_timeouts",
        memory,
        *([_scaled(_CONNECTIONS, _MANY, _TOO_MANY)] if pressure else []),
        typed_config={
            "@type": "type.googleapis.com/envoy.config.overload.v3.ScaleTimersOverloadActionConfig",
            "timer_scale_factors": [
                {"timer": timer, "min_timeout": f"{seconds}s"} for timer, seconds in least_s.items()
            ],
        },
    )
