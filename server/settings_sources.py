"""Where settings come from: the environment, files that hold secrets, a TOML file, defaults.

In this order: what comes first holds. A name that is no setting is an error, so that a misspelt
one does not start a service that nobody has asked for.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from server.config import Settings, SettingsError

_PREFIX = "BILLING_"
# Those of the command line `billing`, which reads them itself.
_OF_THE_CLIENT = "BILLING_CLI_"
_FILE = "_FILE"
_DEFAULT = "default"
# Whom e-mails are handed to, whom they are from, and where their links lead.
_FOR_PRODUCTION = ("smtp_url", "mail_from", "invitation_url")


class LoadedSettings(NamedTuple):
    """The settings in force, and by a setting's name where its value comes from."""

    settings: Settings
    origins: Mapping[str, str]


def secret_settings() -> set[str]:
    """Returns the names of the settings that hold a password; each can be in a file of its own."""
    return {
        name
        for name, field in Settings.model_fields.items()
        if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("secret")
    }


def variable(name: str) -> str:
    """Returns the environment variable of a setting."""
    return f"{_PREFIX}{name.upper()}"


def read_settings() -> Settings:
    """Returns the settings in force; raises SettingsError with one line for each wrong one."""
    return load_settings().settings


def is_set(name: str) -> bool:
    """Tells whether a setting is given, by the environment or the file that that names; raises
    SettingsError for a file that can't be read."""
    if variable(name) in os.environ:
        return True
    config = os.environ.get(variable("config"))
    return bool(config) and name in _from_toml(Path(config or ""))


def require_for_production(loaded: LoadedSettings) -> None:
    """Raises SettingsError that names what is not set and has a default for development alone."""
    missing = [
        variable(name)
        for name in _FOR_PRODUCTION
        if loaded.origins[name] == _DEFAULT or not getattr(loaded.settings, name)
    ]
    if missing:
        raise SettingsError(
            f"set {', '.join(missing)}: without, e-mails would go to the catcher of `make run`, and "
            "their links to this machine; --dev is for that"
        )


def load_settings() -> LoadedSettings:
    """Returns the settings in force and their origins; raises SettingsError."""
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    wrong: list[str] = []
    given = {
        name.upper(): (name, value)
        for name, value in os.environ.items()
        if name.upper().startswith(_PREFIX) and not name.upper().startswith(_OF_THE_CLIENT)
    }
    known = {variable(name): name for name in Settings.model_fields}
    files = {variable(name) + _FILE: name for name in secret_settings()}
    wrong += [
        f"{name}: there is no such setting{_meant(upper, [*known, *files])}"
        for upper, (name, _) in sorted(given.items())
        if upper not in known and upper not in files
    ]
    _, config = given.get(variable("config"), ("", ""))
    if config:
        try:
            values = _from_toml(Path(config))
            origins = dict.fromkeys(values, config)
        except SettingsError as error:
            wrong.append(str(error))
    for upper, name in files.items():
        if upper in given:
            if variable(name) in given:
                wrong.append(f"{variable(name)} and {upper}: set one of them")
            try:
                values[name] = _secret(Path(given[upper][1]))
                origins[name] = f"{given[upper][1]} ({upper})"
            except SettingsError as error:
                wrong.append(f"{upper}: {error}")
    for upper, name in known.items():
        if upper in given:
            values[name] = given[upper][1]
            origins[name] = "environment"
    if wrong:
        raise SettingsError("\n".join(wrong))
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise SettingsError("\n".join(_problems(error, origins))) from None
    return LoadedSettings(
        settings, {name: origins.get(name, _DEFAULT) for name in Settings.model_fields}
    )


def shown(settings: Settings, name: str) -> str:
    """Returns the value in force as people may see it: without passwords."""
    computed = {
        "database_url": "database",
        "smtp_url": "smtp",
        "invitation_url": "invitation_link",
    }
    value = str(getattr(settings, computed.get(name, name)))
    return _without_secret(value) if name in secret_settings() else value


def _without_secret(url: str) -> str:
    """Hides user, password and the values of parameters; all of what is no URL.

    A password that should have been percent-encoded may hold @, / and ?: all up to the last @ goes.
    """
    if not url:
        return ""
    found = re.fullmatch(r"([a-z0-9+.-]+://)(.*@)?([^@?]*)(\?.*)?", url, re.DOTALL | re.IGNORECASE)
    if not found:
        return "***"
    scheme, user, place, parameters = found.groups()
    hidden = re.sub(r"=[^&]*", "=***", parameters or "")
    return f"{scheme}{'***@' if user else ''}{place}{hidden}"


def _from_toml(file: Path) -> dict[str, Any]:
    """Returns the settings of a file; raises SettingsError."""
    where = f"{variable('config')}: {file}"
    try:
        found = tomllib.loads(file.read_text())
    except OSError as error:
        raise SettingsError(f"{where} can't be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{where} is not TOML: {error}") from None
    names = [name for name in Settings.model_fields if name != "config"]
    wrong = [
        f"{where}: there is no setting {name!r}{_meant(name, names)}"
        for name in found
        if name not in names
    ]
    wrong += [
        f"{where}: {name} is one text, number or truth value"
        for name, value in found.items()
        if name in names and not isinstance(value, str | int | float)
    ]
    if isinstance(found.get("var"), str) and not Path(found["var"]).expanduser().is_absolute():
        wrong.append(f"{where}: var is a folder's whole path, which begins with /")
    if wrong:
        raise SettingsError("\n".join(wrong))
    return found


def _secret(file: Path) -> str:
    """Returns what a file holds, without the line's end; raises SettingsError."""
    try:
        text = file.read_text().rstrip("\r\n")
    except OSError as error:
        raise SettingsError(f"{file} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{file} is not UTF-8") from None
    if not text:
        raise SettingsError(f"{file} is empty")
    return text


def _meant(name: str, known: Iterable[str]) -> str:
    """Returns what the name was probably meant to be, as the end of a sentence."""
    # By what differs from one name to the next, so that the prefix makes none alike.
    names = {each.removeprefix(_PREFIX): each for each in known}
    close = difflib.get_close_matches(name.removeprefix(_PREFIX), names, n=1, cutoff=0.6)
    return f"; {names[close[0]]} was probably meant" if close else "; `settings` lists them all"


def _problems(error: ValidationError, origins: Mapping[str, str]) -> Iterable[str]:
    """Returns a line for each wrong setting: its variable, its file if it stands in one, and why."""
    for problem in error.errors(include_input=False, include_url=False):
        parts = []
        for part in map(str, problem["loc"]):
            origin = origins.get(part, "environment")
            parts.append(variable(part) + ("" if origin == "environment" else f" in {origin}"))
        yield ": ".join([*parts, problem["msg"]])
