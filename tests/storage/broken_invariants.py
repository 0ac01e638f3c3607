"""For each invariant statements, each of which breaks it by itself."""

from server.storage.schema.tables import FOR_EVER
from tests.storage.records import (
    RESELLER,
)
from tests.storage.webhooks import broken as webhooks_broken

_FAILURE = """'["INTERNAL", "…", {}]'"""
_AN_INVITE = "(SELECT min(n) FROM customers WHERE invitation = 1)"
_A_RESENT = "(SELECT min(n) FROM customers WHERE resent_at IS NOT NULL)"
_THE_RESENDS = "(SELECT latest FROM customers WHERE resent_at IS NOT NULL)"
_AN_ACTIVATE = "(SELECT min(n) FROM operations WHERE kind = 4)"
_AN_ENDED = "(SELECT min(n) FROM customers WHERE invitation > 1)"


BREAKS = {
    "an operation's kind is known": ["UPDATE operations SET kind = 9"],
    "an operation is of a known reseller": ["UPDATE operations SET reseller = 99"],
    "an operation ends after it began": ["UPDATE operations SET modified_at = created_at - 1"],
    "an operation is done, due at some time, or held with its reseller": [
        "UPDATE resellers SET suspended_at = NULL, removed_at = NULL",
        "UPDATE operations SET due_at = NULL",
        "UPDATE operations SET due_at = 1 WHERE done",
    ],
    "a claimed operation is not done, and is attempted": [
        "UPDATE operations SET claimed = TRUE WHERE done",
        "UPDATE operations SET attempts = 0 WHERE claimed",
    ],
    "a deferred operation sends an e-mail, and is attempted": [
        "UPDATE operations SET deferral = '[]' WHERE kind = 4",
        "UPDATE operations SET deferral = '[]', attempts = 0",
    ],
    "a failed operation is done": [f"UPDATE operations SET failure = {_FAILURE}"],
    "a deleted operation is done": ["UPDATE operations SET deleted = TRUE WHERE NOT done"],
    "an operation to be cancelled is done, or claimed": [
        "UPDATE operations SET cancel_requested = TRUE"
    ],
    "an operation sends an invitation's e-mail, or is done at once": [
        "UPDATE customers SET invitation = 0",
        "UPDATE operations SET done = FALSE, due_at = 1 WHERE kind = 4",
        "UPDATE operations SET attempts = 1 WHERE kind = 4",
        f"UPDATE operations SET failure = {_FAILURE} WHERE kind = 4",
    ],
    "a deleted customer has no open invitation": [
        "UPDATE customers SET deleted_at = modified_at WHERE invitation = 1"
    ],
    "an operation that is not done has its customer": ["DELETE FROM customers WHERE state = 1"],
    "a failed Invite leaves no invitation that could be accepted": [
        f"UPDATE operations SET failure = {_FAILURE} WHERE n = {_AN_INVITE}"
    ],
    "an operation keeps the IDs of its customer once that is gone, and not before": [
        "UPDATE operations SET customer_id = NULL",
        "UPDATE operations SET billing_account_id = NULL",
        "UPDATE operations SET id = NULL",
        "UPDATE operations SET customer_id = 'bcu'",
        "UPDATE operations SET billing_account_id = 'bac'",
        "DELETE FROM customers WHERE state = 4",
    ],
    "an operation makes the customer that has its number, and no other": [
        "UPDATE operations SET kind = 4 WHERE kind = 1",
        "UPDATE operations SET kind = 3 WHERE kind = 4",
    ],
    "an operation without an ID of its own made its customer": [
        "UPDATE operations SET id = NULL WHERE kind = 4"
    ],
    "an operation and its customer have the same reseller": [
        "UPDATE customers SET reseller = 2",
        "UPDATE operations SET reseller = 2",
    ],
    "of an invitation's operations only the latest is not done": [
        f"UPDATE operations SET done = FALSE, due_at = 1 WHERE n = {_A_RESENT}"
    ],
    "an operation has an idempotency key and its fingerprint, or neither": [
        "UPDATE operations SET key = NULL",
        "UPDATE operations SET fingerprint = NULL",
    ],
    "an idempotency key stands for something": [
        "UPDATE idempotency_keys SET target = 999",
        "UPDATE idempotency_keys SET target_kind = 9",
        "UPDATE customers SET invitation = 0",
    ],
    "an idempotency key stands for one thing": [
        (
            f"UPDATE operations SET fingerprint = 'x', key = (SELECT key FROM idempotency_keys LIMIT 1) "
            f"WHERE n = {_AN_ACTIVATE}"
        )
    ],
    "an event is in the log of a known reseller": [
        "DELETE FROM event_logs",
        "UPDATE events SET reseller = 99 WHERE reseller = 1 AND number = 1",
    ],
    "an event's type is known": ["UPDATE events SET type = 99"],
    "the events of a log have all numbers from the first that is kept to the last": [
        "DELETE FROM events WHERE number = 1",
        "DELETE FROM events WHERE number = 2",
        "UPDATE event_logs SET last = last + 1",
        "UPDATE event_logs SET cleared = cleared + 1",
    ],
    "an operation that ended has its event": [
        "UPDATE events SET operation_id = NULL",
        "UPDATE events SET type = 1 WHERE type = 4",
        "UPDATE events SET type = 1 WHERE type = 5",
    ],
    "a customer's last event shows it as it is": [
        "UPDATE customers SET name = 'Another' WHERE email IS NULL",
        "UPDATE customers SET expires_at = expires_at + 1",
        "UPDATE customers SET state = 3 WHERE state = 2",
        "UPDATE events SET customer = NULL",
    ],
    "an operation is kept for the keys that did not make it": [
        "UPDATE operations SET keyed_at = NULL",
        "UPDATE operations SET keyed_at = keyed_at - 1",
    ],
    "a customer is of a known reseller": ["UPDATE customers SET reseller = 99"],
    "a customer changes after it was made": ["UPDATE customers SET modified_at = created_at - 1"],
    "a customer has the operation that made it": [
        "DELETE FROM operations WHERE kind = 3",
        "DELETE FROM operations WHERE kind = 1",
        "UPDATE operations SET kind = 3 WHERE kind = 1",
        "UPDATE operations SET kind = 1 WHERE kind = 3",
    ],
    "a customer with an invitation has all its parts, and one without has none": [
        "UPDATE customers SET email = NULL",
        "UPDATE customers SET email = 'x@example.com'",
        "UPDATE customers SET address_key = NULL",
        "UPDATE customers SET slot = NULL",
        "UPDATE customers SET expires_at = NULL",
        "UPDATE customers SET latest = NULL",
        "UPDATE customers SET latest = 1 WHERE email IS NULL",
        "UPDATE customers SET ended_at = created_at WHERE email IS NULL",
        "UPDATE customers SET resent_at = created_at WHERE email IS NULL",
        "UPDATE customers SET options = '{}' WHERE email IS NULL",
        "UPDATE customers SET invitation = 0",
        "UPDATE customers SET invitation = 2 WHERE email IS NULL",
    ],
    "a customer's state is what its invitation's makes it": [
        "UPDATE customers SET state = 2",
        "UPDATE customers SET state = 4 WHERE state = 3",
        "UPDATE customers SET state = 4 WHERE email IS NULL",
        "UPDATE customers SET state = 9 WHERE email IS NULL",
        "UPDATE customers SET invitation = 9 WHERE invitation = 2",
    ],
    "a reseller has as many customers as are counted": [
        "UPDATE counts SET count = count + 1",
        "DELETE FROM counts",
        "DELETE FROM customers WHERE email IS NULL",
    ],
    "an e-mail that is counted was accepted, and not for ever": [
        "INSERT INTO counts VALUES ('customers/other', 1, 1)",
        f"INSERT INTO counts VALUES ('hour/{RESELLER}', {FOR_EVER}, 1)",
        f"INSERT INTO counts VALUES ('hour/{RESELLER}', 1, -1)",
    ],
    "an invitation's state is known": ["UPDATE customers SET invitation = 9"],
    "an invitation has an open slot while it is pending, and then one of its own": [
        "UPDATE customers SET slot = -n WHERE invitation = 1",
        "UPDATE customers SET slot = n WHERE invitation > 1",
        f"UPDATE customers SET slot = -999 WHERE n = {_AN_ENDED}",
        "UPDATE customers SET invitation = 4 WHERE invitation = 1",
    ],
    "an invitation that is not pending has ended at some time": [
        "UPDATE customers SET ended_at = NULL",
        "UPDATE customers SET ended_at = expires_at WHERE invitation = 1",
    ],
    "an invitation expires and ends after it was made": [
        "UPDATE customers SET expires_at = created_at",
        "UPDATE customers SET ended_at = created_at - 1 WHERE ended_at IS NOT NULL",
    ],
    "an invitation has the operation that sent it last": [
        "DELETE FROM operations WHERE kind = 2",
        "UPDATE operations SET customer = 999 WHERE kind = 2",
        "UPDATE operations SET kind = 4 WHERE kind = 2",
    ],
    "an invitation that was sent again is not as before": [
        "UPDATE customers SET previous_expires_at = NULL",
        "UPDATE customers SET previous_latest = latest, previous_expires_at = 1 WHERE latest > 0",
        "UPDATE customers SET previous_latest = 999, previous_expires_at = 1 WHERE latest > 0",
    ],
    "a pending invitation's resend that failed is undone": [
        f"UPDATE operations SET failure = {_FAILURE} WHERE n IN {_THE_RESENDS}"
    ],
    "an invitation was sent again by another operation than at first": [
        "UPDATE customers SET resent_at = NULL",
        "UPDATE customers SET resent_at = created_at WHERE invitation > 0",
    ],
    "a pending invitation that was sent can be accepted by a link": [
        "DELETE FROM link_tokens",
        f"UPDATE link_tokens SET operation = {_A_RESENT}",
    ],
    "an invitation tells how its latest e-mail stands that was sent": [
        "UPDATE customers SET sent = NULL"
    ],
    "an address that nothing is sent to is counted beyond all limits": [
        "DELETE FROM counts WHERE scope = (SELECT min(scope) FROM suppressions)",
        "UPDATE suppressions SET reason = 9",
    ],
    "an address that bounced is kept, for whom it did; one whose owner asked is not": [
        "UPDATE suppressions SET email = NULL",
        "UPDATE suppressions SET reseller = NULL",
    ],
    "an address that is counted for ever is one that nothing is sent to": [
        "DELETE FROM suppressions"
    ],
    "only an invitation has e-mails, in a known state": [
        "UPDATE customers SET sent = '[]' WHERE invitation = 0",
        "UPDATE customers SET delivery = 1 WHERE invitation = 0",
        "UPDATE customers SET delivery = 9",
    ],
    "an invitation's links are cleared after its end, and all of them": [
        "UPDATE customers SET has_links = FALSE WHERE invitation = 1",
        "UPDATE customers SET has_links = FALSE WHERE invitation = 2",
    ],
    "two invitations for one address have two slots": [
        (
            "DROP INDEX customers_by_address; "
            "UPDATE customers SET address_key = 1, slot = 1 WHERE ended_at IS NULL; "
            # A database without it is refused before its rows are looked at.
            "CREATE INDEX customers_by_address ON customers (address_key, slot)"
        )
    ],
    "a reminder is of an invitation": [
        "INSERT INTO reminders (n, days, requested_at) VALUES (999, 1, 1)",
    ],
    "a link to the latest e-mail was sent to the invitation's address": [
        "UPDATE link_tokens SET email = 'a@example.com'",
    ],
    "a link leads to an invitation": [
        "UPDATE link_tokens SET customer = 999",
        "UPDATE customers SET invitation = 0",
    ],
    "a link was sent by an operation of its invitation": [
        "UPDATE link_tokens SET operation = 999",
        f"UPDATE link_tokens SET operation = {_AN_ACTIVATE}",
    ],
    "a link is found by its hash": [
        "UPDATE link_tokens SET n = n + 1 WHERE n = (SELECT max(n) FROM link_tokens)"
    ],
    "an invitation's options can be read": [
        f"UPDATE customers SET options = '{options}' WHERE email IS NOT NULL"
        for options in ("x", "[]", "{}", '{"no": 1}', '{"lifetime": 1}', '{"method":"x"}')
    ],
    "an invitation without e-mails is one that asks for none": [
        "UPDATE customers SET delivery = 3 WHERE invitation = 1 AND delivery IS NULL",
        """UPDATE customers SET options = '{"method":"link"}' WHERE delivery IS NULL AND email IS NOT NULL""",
    ],
    "an invitation is found by its address": [
        "UPDATE customers SET email = 'x@example.com' WHERE email IS NOT NULL",
        "UPDATE customers SET address_key = n",
    ],
    "an open invitation has a slot made of its tax number": [
        "UPDATE customers SET person = '{}' WHERE invitation = 1",
        "UPDATE customers SET slot = n WHERE invitation = 1",
    ],
    "one open invitation has the same reseller, address and tax number": [
        (
            "UPDATE customers SET email = 'x@example.com', reseller = 1, address_key = 1, slot = n "
            "WHERE invitation = 1"
        )
    ],
    **webhooks_broken.BREAKS,
    "a reseller's contact details and origins can be read": [
        "UPDATE resellers SET contact_details = 'x'",
        "UPDATE resellers SET contact_details = '[1, 2, 3, 4]'",
        "UPDATE resellers SET return_origins = '[]'",
        """UPDATE resellers SET return_origins = '["ftp://a.example"]'""",
    ],
    "a role is for a reseller that is known": ["DELETE FROM resellers"],
    "the last event of a role tells whether it is held, and since when": [
        "DELETE FROM role_bindings",
        "UPDATE role_bindings SET created_at = created_at + 1",
        "UPDATE role_bindings SET role = 'billing.accounts.owner'",
        "UPDATE events SET type = 20 WHERE type = 19",
    ],
    "an operation on access has no customer, and every other one has": [
        "UPDATE operations SET customer = 1 WHERE kind = 6",
        "UPDATE operations SET kind = 6 WHERE customer <> 0",
    ],
    "a key is a service account's": ["DELETE FROM service_accounts"],
    "the audit tells of each service account": ["DELETE FROM audit_records"],
    "the audit tells of each key": ["DELETE FROM audit_records"],
    "the audit tells of each reseller's removal": ["DELETE FROM audit_records"],
    "the audit tells of each reseller's suspension": ["DELETE FROM audit_records"],
}
