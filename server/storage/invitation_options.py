"""An invitation's options as a row keeps them: a JSON object of those that are set, NULL for none."""

from collections.abc import Mapping
from typing import Any

from server.domain.invitation_options import NO_OPTIONS, DeliveryMethod, InvitationOptions
from server.storage.schema.tables import OptionsJson
from server.storage.sql.json_texts import from_json, to_json
from server.storage.sql.times import MICROSECOND

_UNSET: Mapping[str, Any] = NO_OPTIONS._asdict()


def options_json(options: InvitationOptions) -> OptionsJson | None:
    """Returns options as the database keeps them."""
    if options == NO_OPTIONS:
        return None
    values = {name: value for name, value in options._asdict().items() if value != _UNSET[name]}
    if options.lifetime is not None:
        values["lifetime"] = options.lifetime // MICROSECOND
    return OptionsJson(to_json(values))


def read_options(text: OptionsJson | None) -> InvitationOptions:
    """Returns what `options_json` was given."""
    if text is None:
        return NO_OPTIONS
    values = from_json(text)
    if "lifetime" in values:
        values["lifetime"] *= MICROSECOND
    if "reminders" in values:
        values["reminders"] = tuple(values["reminders"])
    if "method" in values:
        values["method"] = DeliveryMethod(values["method"])
    return InvitationOptions(**values)
