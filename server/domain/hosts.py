"""Names of machines, as they are looked up."""

import re


def can_be_looked_up(host: str) -> bool:
    """Tells whether a host is a name that a resolver can be asked for, or an IP address.

    Libraries differ in what they make of any other: most raise an error of an encoding.
    """
    try:
        # As resolvers have it: labels of 1 to 63 bytes.
        name = host.encode("idna").decode()
    except UnicodeError:
        return False
    return re.fullmatch("[A-Za-z0-9._:-]+(%[A-Za-z0-9._-]+)?", name) is not None
