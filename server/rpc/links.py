"""What the holder of an invitation's link can do: without credentials, so wrong links are counted."""

from server.domain.errors import BillingError, Reason
from server.domain.invitations import Invitation, InvitationView, is_link_token
from server.rpc.pipeline.call_context import CallContext
from server.rpc.pipeline.rate_limit import RateLimit
from server.use_cases.invitations import Invitations
from server.use_cases.suppressions import Suppressions


class Links:
    """The use cases by link. `address` is where the call comes from.

    Each raises NOT_FOUND for a link that leads nowhere, whatever is wrong with it, and RATE_EXCEEDED
    in its place for an address that tried too many of them; a right link opens whatever came from
    its address.
    """

    def __init__(
        self, invitations: Invitations, suppressions: Suppressions, wrong_links: RateLimit
    ) -> None:
        """`wrong_links` is how many links that lead nowhere one address may try."""
        self._invitations = invitations
        self._suppressions = suppressions
        self._wrong_links = wrong_links

    async def look_up(self, token: str, address: str) -> InvitationView:
        """Returns the invitation that the link leads to, or led to; changes nothing."""
        found = await self._invitations.look_up(token)
        if found is None:
            raise self._refusal(token, address)
        return found

    async def accept(self, token: str, call: CallContext) -> Invitation:
        """Accepts; see Invitations.accept."""
        await self.look_up(token, call.address)
        accepted = await self._invitations.accept(token, call.request_id, call.idempotency_key)
        if accepted is None:
            raise _no_such_link()
        return accepted

    async def decline(self, token: str, call: CallContext) -> Invitation:
        """Declines; see Invitations.decline."""
        await self.look_up(token, call.address)
        declined = await self._invitations.decline(token, call.request_id, call.idempotency_key)
        if declined is None:
            raise _no_such_link()
        return declined

    async def request_renewal(self, token: str, call: CallContext) -> bool:
        """Asks for a new invitation; False where this one has not expired."""
        await self.look_up(token, call.address)
        return await self._invitations.request_renewal(token, call.request_id)

    async def gets_e_mails(self, token: str) -> bool:
        """Tells whether anything is sent to whom a link, that was looked up, was sent to."""
        return await self._suppressions.by_link(token) is None

    async def stop_e_mails(self, token: str, call: CallContext) -> None:
        """Has nothing more sent to whom the link was sent to, by anybody."""
        await self.look_up(token, call.address)
        if not await self._suppressions.stop_by_link(token, call.request_id):
            raise _no_such_link()

    async def resume_e_mails(self, token: str, call: CallContext) -> None:
        """Takes that back."""
        await self.look_up(token, call.address)
        if not await self._suppressions.release_by_link(token, call.request_id):
            raise _no_such_link()

    def _refusal(self, token: str, address: str) -> BillingError:
        """Returns the refusal of a wrong link, and counts it if it could have been right."""
        if is_link_token(token):
            try:
                self._wrong_links.admit(address)
            except BillingError as error:
                return BillingError(
                    error.reason,
                    "Too many links that lead nowhere were tried from here; a right one opens all "
                    "the same. Try again later.",
                    retry_after_s=error.retry_after_s,
                )
        return _no_such_link()


def _no_such_link() -> BillingError:
    return BillingError(
        Reason.NOT_FOUND,
        "There is no such link, or no longer: take the one in the latest e-mail, whole, or ask who "
        "invited you.",
    )
