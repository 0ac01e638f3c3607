"""Command line of the gateway: `python -m gateway --help`."""

from dataclasses import replace
from pathlib import Path

import click

from gateway import openapi
from gateway.certificates import ensure_certificates
from gateway.config import bootstrap, to_yaml
from gateway.docs import static_files
from gateway.http_rules import DescriptorSet
from gateway.settings import GatewaySettings

_HEADING = """\
# What Envoy runs by default. Made from proto/ by `make gen`: change the protos or gateway/, not this.
# By hand, from this folder, once `.venv/bin/python -m gateway certificates` has made var/tls:
#   mkdir -p -m 700 var/envoy && .venv/bin/envoy -c envoy.yaml
# `make run` starts it with the same but for ports, addresses and limits that are set, and /docs.
"""


@click.group()
def main() -> None:
    """The REST side of the service: Envoy's configuration and certificates."""


@main.command()
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("envoy.yaml"),
    show_default=True,
    help="The file to write.",
)
def generate(output: Path) -> None:
    """Write envoy.yaml, gen/openapi.json and gen/transcoded.pb from gen/descriptors.pb.

    Run in the project's folder, by `make gen`. The same protos give the same text.
    """
    openapi.write()
    # Files of installed packages are elsewhere on each machine: /docs comes with the launcher only.
    here = Path.cwd()
    files = [
        replace(file, file=file.file.relative_to(here))
        for file in static_files()
        if file.file.is_relative_to(here / "gen")
    ]
    settings = GatewaySettings(static_files=files)
    descriptors = DescriptorSet.read(settings.descriptors)
    transcoded = settings.descriptors.with_name("transcoded.pb")
    transcoded.write_bytes(descriptors.for_transcoder())
    tree = bootstrap(
        *(Path(), descriptors, settings),
        access_log=Path("/dev/stdout"),
        admin_socket=settings.admin_socket,
        pressure=None,
        refused=None,
        transcoded=transcoded,
    )
    output.write_text(to_yaml(tree, _HEADING))


@main.command()
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("var/tls"),
    show_default=True,
    help="Where they are kept.",
)
def certificates(folder: Path) -> None:
    """Make the certificate for localhost and the CA that signs it, where missing or soon to expire."""
    made = ensure_certificates(folder)
    click.echo(f"CA for clients: {made.ca}")


if __name__ == "__main__":
    main()
