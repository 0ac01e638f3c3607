"""A mail server that misbehaves in every way at once: each e-mail gets what is right for it."""

import asyncio
from collections import Counter
from pathlib import Path

import httpx
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.chaos.audit import unfinished
from tests.chaos.load import by_rest
from tests.chaos.stack import stack
from tests.service import Service
from tests.worker.mail_server import MailServer, hang_up, serving

# Many more than a process of this test sends at once.
_HANGING = 12
_CONNECTIONS = 4
# Three rounds of those that hang, on a busy machine; far below the time limit of a send,
# after which those that hang would make room by themselves only to hang again.
_SOON_S = 20.0


class FlakyMailServer(MailServer):
    """Treats recipients by the first word of their address; all but `refused` get better in time."""

    def __init__(self) -> None:
        super().__init__()
        self.recovered = asyncio.Event()
        self.tries: Counter[str] = Counter()

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.tries[address] += 1
        match address.partition("-")[0]:
            case "refused":
                return "550 5.1.1 no such user"
            case "later" if self.tries[address] < 3:
                return "451 4.7.1 greylisted"
            case "hanging":
                await self.recovered.wait()
            case "slow":
                await asyncio.sleep(1)
            case "dropped" if self.tries[address] < 2:
                hang_up(server)
        return await super().handle_RCPT(server, session, envelope, address, options)


async def _invited(service: Service, kind: str, count: int) -> set[str]:
    async with httpx.AsyncClient(base_url=service.rest) as client:
        send = by_rest(client, service)
        made = set()
        for _ in range(count):
            body = service.invitation()
            body["invitationEmail"] = f"{kind}-{body['invitationEmail']}"
            answer = await send(body, None)
            assert answer.operation, answer.refusal
            made.add(answer.operation["id"])
    return made


async def test_each_e_mail_gets_what_is_right(tmp_path: Path) -> None:
    async with serving(FlakyMailServer()) as mail:
        assert isinstance(mail, FlakyMailServer)
        with stack(
            tmp_path / "var", smtp_url=mail.url, mail_connections=_CONNECTIONS, mail_lease_s=30
        ) as running:
            service = running.service
            hanging = await _invited(service, "hanging", _HANGING)
            others = {
                kind: await _invited(service, kind, 5)
                for kind in ("good", "refused", "later", "slow", "dropped")
            }
            async with asyncio.timeout(_SOON_S):
                while unfinished(running.database_url) != hanging:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            mail.recovered.set()
            async with asyncio.timeout(_SOON_S):
                while unfinished(running.database_url):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            for kind, ids in {**others, "hanging": hanging}.items():
                for id_ in ids:
                    ended = await asyncio.to_thread(service.operation, id_)
                    assert ("error" in ended) is (kind == "refused"), (kind, ended)
        sent = Counter(recipient for each in mail.received for recipient in each.recipients)
        assert set(sent.values()) == {1}
        assert len(sent) == _HANGING + 4 * 5
