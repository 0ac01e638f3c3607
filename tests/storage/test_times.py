from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from server.rpc.messages.timestamps import timestamp
from server.storage.sql.times import from_micros, micros

# They are given without a zone, and made UTC.
_FIRST, _LAST = datetime(1970, 1, 1), datetime(2242, 1, 1)  # noqa: DTZ001
_TIMES = st.datetimes(_FIRST, _LAST, timezones=st.just(UTC))


@given(_TIMES)
def test_times_come_back_exactly(at: datetime) -> None:
    assert from_micros(micros(at)) == at
    assert timestamp(at).ToDatetime(UTC) == at
