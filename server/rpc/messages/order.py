"""The order of lists, as callers write it: https://google.aip.dev/132#ordering."""

from server.domain.errors import invalid_field

_ORDERS = {
    "": False,
    "create_time": True,
    "create_time asc": True,
    "create_time desc": False,
}


def oldest_first(written: str) -> bool:
    """Tells whether a list is to be the oldest first, not the newest. Raises FIELDS_INVALID.

    The lists have an index for this order alone, either way.
    """
    words = written.replace("createTime", "create_time").split()
    order = _ORDERS.get(" ".join(words))
    if order is None:
        raise invalid_field("order_by", _must_be("create_time"), _must_be("createTime"))
    return order


def _must_be(field: str) -> str:
    return (
        f"Must be {field}, {field} desc, or empty, which is the latter: there is an index for these "
        "alone."
    )
