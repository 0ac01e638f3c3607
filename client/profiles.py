"""Where to call and as whom: profiles in a file of the user's own, environment, `make run`'s dev.json."""

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import click

from client.errors import NOT_LOGGED_IN, USAGE, ClientError


@dataclass(frozen=True)
class Profile:
    """One service and one way to prove who calls; empty texts are unset."""

    endpoint: str = ""
    reseller: str = ""
    # A file of certificates to verify the service by; the system's own where unset.
    ca: str = ""
    # One of these three: a service account's key file, a token, a command that prints one.
    key_file: str = ""
    token: str = ""
    token_command: str = ""


def folder() -> Path:
    """Returns the folder of profiles and tokens."""
    own = os.environ.get("BILLING_CLI_CONFIG")
    return Path(own) if own else Path(click.get_app_dir("billing"))


class Profiles:
    """The profiles in the file, and which of them is used unless another is asked for."""

    def __init__(self) -> None:
        self._file = folder() / "profiles.json"
        try:
            content = json.loads(self._file.read_text())
            self.current: str = content["current"]
            self.all = {
                name: _profile(values, str(self._file))
                for name, values in content["profiles"].items()
            }
        except FileNotFoundError:
            self.current, self.all = "", {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not as it was written"
            raise ClientError(
                f"{self._file} can't be read ({why}): mend it, or delete it and log in again"
            ) from None

    def save(self, name: str, profile: Profile) -> None:
        """Keeps a profile, and uses it from now on."""
        self.all[name] = profile
        self.use(name)

    def use(self, name: str) -> None:
        """Uses a profile from now on."""
        self.get(name)
        self.current = name
        profiles = {
            name: {key: value for key, value in asdict(each).items() if value}
            for name, each in self.all.items()
        }
        write_private(self._file, {"current": self.current, "profiles": profiles})

    def get(self, name: str) -> Profile:
        """Returns the profile of that name."""
        try:
            return self.all[name]
        except KeyError:
            known = ", ".join(sorted(self.all)) or "none yet"
            raise ClientError(
                f"there is no profile {name!r} (there are: {known}): make it with "
                f"`billing login --profile {name}`",
                USAGE,
            ) from None


def chosen(name: str, given: Mapping[str, str], *, dev: bool) -> Profile:
    """Returns the profile to use, with what options and environment say in place of its own."""
    if dev:
        profile = _dev()
    else:
        profiles = Profiles()
        name = name or profiles.current
        profile = profiles.get(name) if name else Profile()
    changes = {key: value for key, value in given.items() if value}
    if changes.keys() & {"key_file", "token"}:
        profile = Profile(profile.endpoint, profile.reseller, profile.ca)
    profile = replace(profile, **changes)
    if not profile.endpoint:
        raise ClientError(
            "no service to call: log in with `billing login`, or use a running `make run` with "
            "`billing --dev …`",
            NOT_LOGGED_IN,
        )
    return profile


def _dev() -> Profile:
    file = Path(os.environ.get("BILLING_VAR") or "var") / "dev.json"
    try:
        said = json.loads(file.read_text())
        endpoint = said["rest_tls"].removeprefix("https://")
        return Profile(endpoint, said["resellerId"], said["ca"], token=said["token"])
    except FileNotFoundError:
        raise ClientError(
            f"{file} is not there: start `make run` first, or say in BILLING_VAR which folder it keeps "
            "all in",
            USAGE,
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not as `make run` writes it"
        raise ClientError(f"{file} can't be read: {why}", USAGE) from None


def _profile(values: Mapping[str, object], file: str) -> Profile:
    known = {field.name for field in fields(Profile)}
    if unknown := values.keys() - known:
        raise ValueError(f"unknown in {file}: {', '.join(sorted(unknown))}")
    return Profile(**values)  # type: ignore[arg-type]


def write_private(file: Path, content: object) -> None:
    """Writes JSON to a file that its owner alone may read: whole, or not at all."""
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileNotFoundError):
            partial.unlink()
        with open(partial, "x", opener=lambda path, flags: os.open(path, flags, 0o600)) as out:
            json.dump(content, out, indent=2)
            out.write("\n")
        partial.replace(file)
    except OSError as error:
        raise ClientError(f"{file} can't be written: {error.strerror}") from None
