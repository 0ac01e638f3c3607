"""Who may call a method and whether it changes anything is said once, in the protos."""

from pathlib import Path

import pytest
from billing.options.v1 import methods_pb2, published_methods_pb2

from gateway.http_rules import DescriptorSet, Method

ROOT = Path(__file__).parents[2]
METHODS = {
    method.path[1:].replace("/", "."): method
    for method in DescriptorSet.read(ROOT / "gen" / "descriptors.pb").methods
}
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
