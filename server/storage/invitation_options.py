"""An invitation's options as a row keeps them: a JSON object of those that are set, NULL for none."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from server.domain.invitation_options import NO_OPTIONS, DeliveryMethod, InvitationOptions
from server.storage.schema.tables import OptionsJson

_as_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_UNSET: Mapping[str, Any] = NO_OPTIONS._asdict()
_MICROSECOND = timedelta(microseconds=1)


def options_json(options: InvitationOptions) -> OptionsJson | None:
    """Returns options as the database keeps them."""
    if options == NO_OPTIONS:
        return None
    values = {name: value for name, value in options._asdict().items() if value != _UNSET[name]}
    if options.lifetime is not None:
        values["lifetime"] = options.lifetime // _MICROSECOND
    return OptionsJson(_as_json(values))


def read_options(text: OptionsJson | None) -> InvitationOptions:
    """Returns what `options_json` was given."""
    if text is None:
        return NO_OPTIONS
    values = json.loads(text)
    if "lifetime" in values:
        values["lifetime"] *= _MICROSECOND
    if "reminders" in values:
        values["reminders"] = tuple(values["reminders"])
    if "method" in values:
        values["method"] = DeliveryMethod(values["method"])
    return InvitationOptions(**values)
