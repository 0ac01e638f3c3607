"""The whole service on PostgreSQL, seen from outside: tests of other modules, on this database."""

from collections.abc import Iterator

import grpc
import pytest

from tests.chaos.process_killer import exposed
from tests.e2e.test_grpc import (
    test_a_repeat_shows_the_operation_as_it_is_now,
    test_errors_carry_their_details,
    test_fifty_calls_with_one_key_are_one,
    test_google_api_cores_future,
    test_list_pages_newest_first,
    test_one_record_through_three_doors,
    test_times_of_an_operation_are_of_the_call_to_the_microsecond,
    test_wait_ends_with_the_operation,
)
from tests.e2e.test_invitations import (
    test_a_resent_one_is_a_new_message_in_the_same_thread,
    test_declined_and_revoked_invitations_are_not_pending,
    test_from_invitation_to_active_customer,
)
from tests.e2e.test_rest import (
    test_a_foreign_reseller_is_denied_whether_or_not_it_exists,
    test_a_key_used_for_another_request_is_refused,
    test_a_second_open_invitation_names_the_first,
    test_google_style_operations_are_served_over_rest,
    test_invite_answers_with_the_seeds_operation,
)
from tests.service import Service

__all__ = [
    "test_a_foreign_reseller_is_denied_whether_or_not_it_exists",
    "test_a_key_used_for_another_request_is_refused",
    "test_a_repeat_shows_the_operation_as_it_is_now",
    "test_a_resent_one_is_a_new_message_in_the_same_thread",
    "test_a_second_open_invitation_names_the_first",
    "test_declined_and_revoked_invitations_are_not_pending",
    "test_errors_carry_their_details",
    "test_fifty_calls_with_one_key_are_one",
    "test_from_invitation_to_active_customer",
    "test_google_api_cores_future",
    "test_google_style_operations_are_served_over_rest",
    "test_invite_answers_with_the_seeds_operation",
    "test_list_pages_newest_first",
    "test_one_record_through_three_doors",
    "test_times_of_an_operation_are_of_the_call_to_the_microsecond",
    "test_wait_ends_with_the_operation",
]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One of its own: lists are in order only where no clock was wrong."""
    with exposed("postgresql", tmp_path_factory.mktemp("postgresql")) as (running, _):
        yield running.service


@pytest.fixture
def channel(service: Service) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(service.rest.removeprefix("http://")) as opened:
        yield opened
