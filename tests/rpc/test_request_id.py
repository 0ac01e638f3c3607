import uuid

from server.rpc.pipeline.request_id import request_id_of


def test_a_request_without_an_id_gets_a_uuid_that_no_other_has() -> None:
    made = [request_id_of({}) for _ in range(5000)]
    assert len(set(made)) == len(made)
    for each in made:
        parsed = uuid.UUID(each)
        assert (str(parsed), parsed.version, parsed.variant) == (each, 4, uuid.RFC_4122)


def test_ids_that_follow_one_another_do_not_tell_how_many_there_were() -> None:
    one, other = (uuid.UUID(request_id_of({})).int for _ in range(2))
    assert abs(one - other) > 1 << 16
