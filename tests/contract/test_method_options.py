"""Who may call a method and whether it changes anything is said once, in the protos."""

from pathlib import Path

import pytest
from billing.options.v1 import methods_pb2, published_methods_pb2

from gateway.http_rules import DescriptorSet, Method

ROOT = Path(__file__).parents[2]
DESCRIPTORS = DescriptorSet.read(ROOT / "gen" / "descriptors.pb")
METHODS = {method.path[1:].replace("/", "."): method for method in DESCRIPTORS.methods}
TABLE = published_methods_pb2.DESCRIPTOR.GetOptions().Extensions[methods_pb2.published_methods]


@pytest.mark.parametrize("name", sorted({*TABLE.open_to_all, *TABLE.only_reads}))
def test_the_table_names_only_methods_that_are_published(name: str) -> None:
    assert name in METHODS
    assert not name.startswith("billing."), "our own methods say it themselves"


@pytest.mark.parametrize(("name", "method"), sorted(METHODS.items()))
def test_a_method_reads_exactly_where_its_name_says_so(name: str, method: Method) -> None:
    verb = name.rpartition(".")[2]
    assert method.only_reads is verb.startswith(("Get", "List", "Wait", "Watch"))


def test_cancelling_changes_something_although_it_is_published_as_a_get() -> None:
    cancel = METHODS["yandex.cloud.operation.OperationService.Cancel"]
    assert cancel.rules[0].verb == "GET"
    assert not cancel.only_reads


@pytest.mark.parametrize(("name", "method"), sorted(METHODS.items()))
def test_what_is_in_a_body_has_no_name_that_is_a_parameters_too(name: str, method: Method) -> None:
    """Where a field is all of the body, errors name what is in it without that field's name."""
    bodies = {rule.body for rule in method.rules} - {"", "*"}
    if not bodies:
        return
    (body,) = bodies
    assert len({rule.body for rule in method.rules}) == 1
    fields = {each.name: each for each in DESCRIPTORS.messages[method.input_type].field}
    inner = {each.name for each in DESCRIPTORS.messages[fields[body].type_name].field}
    assert inner & set(fields) == set(), name
