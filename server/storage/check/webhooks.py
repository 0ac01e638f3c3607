"""Webhooks and what is to be sent to them."""

from sqlalchemy import and_, exists, func, or_

from server.storage.check.checks import Check, missing, only_one
from server.storage.schema.tables import event_logs, events, resellers
from server.storage.schema.webhook_tables import deliveries, webhooks
from server.storage.webhooks.delivery_rows import DISABLED, IS_ACTIVE, NO_CUSTOMER, TEST
from server.storage.webhooks.health import DISABLING, WARNING

_w, _d, _e = webhooks.c, deliveries.c, events.c

_WEBHOOKS = Check(
    webhooks.outerjoin(resellers, resellers.c.n == _w.reseller).outerjoin(
        event_logs, event_logs.c.reseller == _w.reseller
    ),
    _w.id,
    {
        "a webhook is of a known reseller, and not ahead of its log": or_(
            missing(resellers), _w.position > func.coalesce(event_logs.c.last, 0)
        ),
        "a webhook is enabled, or says why it is not": only_one(
            _w.enabled, _w.disable_reason == ""
        ),
        "a webhook has a former secret and its end, or neither": only_one(
            _w.old_secret.is_(None), _w.old_secret_until.is_(None)
        ),
        "what is to be told of a webhook fits its state, and is due": or_(
            only_one(_w.alert.is_(None), _w.due_at.is_(None)),
            _w.alert.not_in((WARNING, DISABLING, DISABLED)),
            and_(_w.alert == DISABLED, _w.enabled),
            and_(
                _w.alert.in_((WARNING, DISABLING)),
                or_(~_w.enabled, _w.failing_since.is_(None)),
            ),
        ),
    },
)

_has_event = exists().where(_e.reseller == _d.reseller, _e.number == _d.event)
_is_test = exists().where(_e.reseller == _d.reseller, _e.number == _d.event, _e.type == TEST)
_may_be_sent = and_(IS_ACTIVE, or_(_w.verified_at.is_not(None), _is_test))

_DELIVERIES = Check(
    deliveries.outerjoin(webhooks, _w.n == _d.webhook)
    .outerjoin(resellers, resellers.c.n == _d.reseller)
    .outerjoin(event_logs, event_logs.c.reseller == _d.reseller),
    _d.n,
    {
        "a delivery has its webhook, of the same reseller": or_(
            missing(webhooks), _d.reseller != _w.reseller
        ),
        "a delivery has its event, unless that is cleared": or_(
            missing(event_logs), and_(~_has_event, _d.event > event_logs.c.cleared)
        ),
        "a delivery is due, or held with its webhook": only_one(
            _d.due_at.is_not(None), _may_be_sent
        ),
        "a customer's delivery is of what its webhook has come to": and_(
            _d.customer != NO_CUSTOMER, _d.event > _w.position
        ),
        "a delivery that is claimed is due, and is attempted": and_(
            _d.claimed, or_(_d.due_at.is_(None), _d.attempts < 1)
        ),
        "a delivery that is put off has failed": and_(_d.deferral.is_not(None), _d.tries < 1),
    },
)

CHECKS = (_WEBHOOKS, _DELIVERIES)
