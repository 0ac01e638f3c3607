"""Where settings come from: the environment, files that hold secrets, a TOML file, defaults.

In this order: what comes first holds. A name that is no setting is an error, so that a misspelt
one does not start a service that nobody has asked for.
"""

import contextlib
import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from server.config import Settings, SettingsError
from server.domain.texts import printable

_PREFIX = "BILLING_"
# Those of the command line `billing`, which reads them itself.
_OF_THE_CLIENT = "BILLING_CLI_"
_FILE = "_FILE"
_DEFAULT = "default"
_MOST_BYTES = 1 << 20  # of a file of settings
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


def log_format() -> str:
    """Returns the form of log lines that is asked for, also where settings can't be used."""
    given = {name.upper(): value for name, value in os.environ.items()}
    wanted = given.get(variable("log_format"))
    config = given.get(variable("config"))
    if wanted is None and config:
        with contextlib.suppress(SettingsError, ValueError, RecursionError):
            wanted = tomllib.loads(_text(Path(config))).get("log_format")
    return "json" if wanted == "json" else "text"


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
    given: dict[str, tuple[str, str]] = {}
    for name, value in os.environ.items():
        upper = name.upper()
        if not upper.startswith(_PREFIX) or upper.startswith(_OF_THE_CLIENT):
            continue
        if upper in given:
            wrong.append(f"{given[upper][0]} and {name}: set one of them")
        given[upper] = name, value
    known = {variable(name): name for name in Settings.model_fields}
    files = {variable(name) + _FILE: name for name in secret_settings()}
    wrong += [
        f"{printable(name)}: there is no such setting{_meant(upper, [*known, *files])}"
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
            if not given[upper][1]:
                wrong.append(f"{upper}: is empty: name a file, or leave it out")
                continue
            try:
                values[name] = _secret(Path(given[upper][1]))
                origins[name] = f"{given[upper][1]} ({upper})"
            except SettingsError as error:
                wrong.append(f"{upper}: {error}")
    for upper, name in known.items():
        if upper in given:
            values[name] = given[upper][1]
            origins[name] = "environment"
    wrong += [
        f"{_place(name, origins)}: {problem}"
        for name, value in values.items()
        if isinstance(value, str) and (problem := _unfit(value))
    ]
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
        found = tomllib.loads(_text(file))
    except SettingsError as error:
        raise SettingsError(f"{variable('config')}: {error}") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError(f"{where} is not TOML: {error}") from None
    names = [name for name in Settings.model_fields if name != "config"]
    wrong = [
        f"{where}: there is no setting {name!r}{_meant(name.lower().removeprefix(_PREFIX.lower()), names)}"
        for name in found
        if name not in names
    ]
    wrong += [
        f"{where}: {name} is one text, number or truth value"
        for name, value in found.items()
        if name in names and not isinstance(value, str | int | float)
    ]
    wrong += [
        f"{where}: {name} is no truth value"
        for name, value in found.items()
        if isinstance(value, bool) and name in names and not _is_truth_value(name)
    ]
    if isinstance(found.get("var"), str) and not Path(found["var"]).expanduser().is_absolute():
        wrong.append(f"{where}: var is a folder's whole path, which begins with /")
    if wrong:
        raise SettingsError("\n".join(wrong))
    return found


def _secret(file: Path) -> str:
    """Returns what a file holds, without the line's end; raises SettingsError."""
    text = _text(file).removesuffix("\n").removesuffix("\r")
    if not text.strip():
        raise SettingsError(f"{file} is empty")
    return text


def _text(file: Path) -> str:
    """Returns what a file of settings or of one of them holds; raises SettingsError."""
    try:
        with file.expanduser().open("rb") as opened:
            content = opened.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise SettingsError(f"{file} has more than {_MOST_BYTES >> 10} KiB")
        return content.decode()
    except OSError as error:
        raise SettingsError(f"{file} can't be read: {error.strerror}") from None
    except RuntimeError:
        raise SettingsError(f"{file} can't be read: there is no such user") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{file} is not UTF-8") from None


def _is_truth_value(name: str) -> bool:
    return Settings.model_fields[name].annotation is bool


def _unfit(text: str) -> str:
    """Returns why a text can be the value of no setting, "" if it can."""
    if any(char < " " or char == "\x7f" for char in text):
        return "holds control characters, such as the end of a line"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "is not UTF-8"
    return ""


def _place(name: str, origins: Mapping[str, str]) -> str:
    """Returns a setting's variable, and its file if it stands in one."""
    origin = origins.get(name, "environment")
    return variable(name) + ("" if origin == "environment" else f" in {origin}")


def _meant(name: str, known: Iterable[str]) -> str:
    """Returns what the name was probably meant to be, as the end of a sentence."""
    # By what differs from one name to the next, so that the prefix makes none alike.
    names = {each.removeprefix(_PREFIX): each for each in known}
    close = difflib.get_close_matches(name.removeprefix(_PREFIX), names, n=1, cutoff=0.6)
    return f"; {names[close[0]]} was probably meant" if close else "; `settings` lists them all"


def _problems(error: ValidationError, origins: Mapping[str, str]) -> Iterable[str]:
    """Returns a line for each wrong setting: its variable, its file if it stands in one, and why."""
    for problem in error.errors(include_input=False, include_url=False):
        parts = [_place(str(part), origins) for part in problem["loc"]]
        yield ": ".join([*parts, problem["msg"]])
