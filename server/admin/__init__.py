"""Commands for those who run the service: who may call, what e-mails wait, whom to help or erase."""

from server.admin.accounts import keys, service_accounts
from server.admin.audit import audit
from server.admin.context import AdminContext, printable, show_all
from server.admin.customers import customers
from server.admin.iam_keys import iam_keys
from server.admin.invitations import invitations
from server.admin.mail import mail
from server.admin.resellers import resellers
from server.admin.roles import roles
from server.admin.suppressions import suppressions

GROUPS = (
    *(resellers, service_accounts, keys, roles, iam_keys, mail, invitations, customers),
    *(suppressions, audit),
)

__all__ = ["GROUPS", "AdminContext", "mail", "printable", "show_all"]
