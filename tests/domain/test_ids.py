import re

from server.domain import ids


def test_ids_have_the_contracts_form_and_do_not_repeat() -> None:
    made = [ids.new_id(ids.OPERATION) for _ in range(10_000)]
    assert all(re.fullmatch("[a-z]{3}[0-9a-v]{17}", each) for each in made)
    assert len(set(made)) == len(made)


def test_every_random_position_takes_every_digit() -> None:
    made = [ids.new_id("abc")[3:] for _ in range(3_000)]
    assert all(len({each[position] for each in made}) == 32 for position in range(17))
