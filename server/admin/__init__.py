"""Commands for those who run the service: who may call, and what they may do."""

from server.admin.accounts import keys, service_accounts
from server.admin.context import Services, printable
from server.admin.records import audit, iam_keys
from server.admin.resellers import resellers
from server.admin.roles import roles

GROUPS = (resellers, service_accounts, keys, roles, iam_keys, audit)

__all__ = ["GROUPS", "Services", "printable"]
