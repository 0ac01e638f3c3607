"""Commands for those who run the service: who may call, and what they may do."""

from server.admin.accounts import keys, service_accounts
from server.admin.audit import audit
from server.admin.context import AdminContext, admin_context, by_option, printable, show_all
from server.admin.iam_keys import iam_keys
from server.admin.resellers import resellers
from server.admin.roles import roles
from server.admin.suppressions import suppressions

GROUPS = (resellers, service_accounts, keys, roles, iam_keys, suppressions, audit)

__all__ = ["GROUPS", "AdminContext", "admin_context", "by_option", "printable", "show_all"]
