"""Rows about throughput of the whole: 3 against the FastAPI peer, 5 PostgreSQL against SQLite."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench import http
from bench.dependencies import envoy, peer, postgres
from bench.load import generator
from bench.measure import Row, Scale, format_medians, interleaved, rates, ratio, sample
from bench.rows_calls import invite_job
from bench.service import prepare, server, settings

Step = Callable[[str], None]


def against_peer(folder: Path, scale: Scale, step: Step) -> list[Row]:
    """Row 3. Both over HTTP/1.1 with the same bodies, headers and connections."""
    chosen = settings(folder / "service")
    prepare(chosen)
    with ExitStack() as parts:
        ours, address = parts.enter_context(server(chosen))
        gate, url = parts.enter_context(envoy(folder / "envoy", [address]))
        other, other_url = parts.enter_context(peer(folder / "peer"))
        path = "/billing/v1/customers:invite"
        found = interleaved(
            {
                "peer": partial(
                    sample,
                    [other],
                    partial(http.invites, other_url + path, scale.seconds, scale.at_once),
                ),
                "ours": partial(
                    sample,
                    [ours, gate],
                    partial(http.invites, url + path, scale.seconds, scale.at_once),
                ),
            },
            scale.rounds,
            step,
        )
        return [
            Row(
                "3",
                "Invite over REST through Envoy against the FastAPI peer: throughput",
                *ratio(rates(found["ours"]), rates(found["peer"])),
                goal=6,
                at_least=True,
                ours=format_medians(found["ours"]),
                baseline=format_medians(found["peer"]),
                meaning="How many times as many customers an hour the same machine invites.",
                samples=found,
            )
        ]


def on_postgres(folder: Path, scale: Scale, step: Step) -> list[Row]:
    """Row 5. Both with the same server, clients and default durability."""
    with ExitStack() as parts:
        url = parts.enter_context(postgres(folder / "postgres"))
        variants = {}
        for name, chosen in (
            ("SQLite", settings(folder / "sqlite")),
            ("PostgreSQL", settings(folder / "service", url)),
        ):
            prepare(chosen)
            program, address = parts.enter_context(server(chosen))
            load = parts.enter_context(generator(address))
            variants[name] = partial(sample, [program], partial(load.run, invite_job(scale)))
        found = interleaved(variants, scale.rounds, step)
        return [
            Row(
                "5",
                "Invite on PostgreSQL against SQLite: throughput",
                *ratio(rates(found["PostgreSQL"]), rates(found["SQLite"])),
                goal=0.8,
                at_least=True,
                ours=format_medians(found["PostgreSQL"]),
                baseline=format_medians(found["SQLite"]),
                meaning="What several machines cost a single one; the database shares its 2 cores.",
                samples=found,
            )
        ]
