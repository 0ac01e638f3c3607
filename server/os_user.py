"""Who runs this process, as the operating system knows it."""

import os
import pwd

_LONGEST = 64


def user_name() -> str:
    """Returns the name of the user whose process this is."""
    uid = os.getuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def os_user() -> str:
    """Returns the same, with the name that sudo was called under, if it was."""
    sudo = os.environ.get("SUDO_USER", "")
    if not sudo.isprintable() or not 0 < len(sudo) <= _LONGEST:
        return user_name()
    return f"{user_name()} (sudo by {sudo})"
