import re

import pytest

from server.domain import ids


def test_ids_have_the_contracts_form_and_do_not_repeat() -> None:
    made = [ids.new_id(ids.OPERATION) for _ in range(10_000)]
    assert all(re.fullmatch("[a-z]{3}[0-9a-v]{17}", each) for each in made)
    assert len(set(made)) == len(made)


def test_every_random_position_takes_every_digit() -> None:
    made = [ids.new_id("abc")[4:] for _ in range(3_000)]
    assert all(len({each[position] for each in made}) == 32 for position in range(16))


def test_the_first_digit_goes_round_with_the_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    digits = []
    for second in range(1_800_000_000, 1_800_000_064):
        monkeypatch.setattr("time.time", lambda second=second: second + 0.9)
        digits.append(ids.new_id("abc")[3])
    assert "".join(digits) == "0123456789abcdefghijklmnopqrstuv" * 2


def test_digits_of_the_moment_change_32_times_a_second_and_go_round_in_nine_hours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ticks = [0, 1, 31, 32, 1024, 32_768, 32**4 - 1, 32**4]
    moments = []
    for tick in ticks:
        monkeypatch.setattr("time.time", lambda tick=tick: tick / 32)
        moments.append(ids.time_prefix())
    assert moments == ["0000", "1000", "v000", "0100", "0010", "0001", "vvvv", "0000"]
