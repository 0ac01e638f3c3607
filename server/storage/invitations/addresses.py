"""What a reseller has at most one open invitation for: an address by its key, and a tax number.

Both are kept as hashes, in one unique index that also serves lists by address and finds what all
resellers have sent to one. While an invitation is open, its `slot` is 0 or greater and made of the
reseller and the tax number; once it has ended, its slot is the negative of its number, so that the
index has those that have ended newest first. Two things that have one hash are told apart by comparing
the rows whole: the later one takes a slot from DISPLACED on, and all slots of its address from there on
are looked at.
"""

import hashlib

from server.storage.schema.tables import AddressKey, CustomerNumber, Slot

# Slots from here on are for invitations whose own slot was taken by something else.
DISPLACED = 1 << 31


def address_hash(email_key: str) -> AddressKey:
    """Returns the hash of an address's key: a signed number of 64 bits."""
    digest = hashlib.blake2b(email_key.encode(), digest_size=8).digest()
    return AddressKey(int.from_bytes(digest, signed=True))


def open_slot(reseller_id: str, tin: str) -> Slot:
    """Returns the first slot to try for a reseller's open invitation with this tax number."""
    text = f"{reseller_id}\0{tin.strip()}"
    return Slot(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) % DISPLACED)


def next_slot(slot: Slot) -> Slot:
    """Returns the slot to try after one that something else has taken."""
    return Slot(slot + DISPLACED)


def is_slot_of(slot: Slot, reseller_id: str, tin: str) -> bool:
    """Tells whether an open invitation with this tax number can have got the slot."""
    return slot % DISPLACED == open_slot(reseller_id, tin)


def ended_slot(number: CustomerNumber) -> Slot:
    """Returns the slot of an invitation that has ended."""
    return Slot(-number)
