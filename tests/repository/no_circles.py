"""A rule for import-linter: no module imports itself by way of others.

The library's own rule (`acyclic_siblings`) is about packages: two folders of the storage may well import
modules of one another, as long as none of those can be reached from itself.
"""

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, output


class NoCirclesContract(Contract):
    """Modules can be put in an order in which each imports earlier ones alone."""

    type_name = "no_circles"

    def check(
        self,
        graph: ImportGraph,
        verbose: bool,
    ) -> ContractCheck:
        imported = {
            module: graph.find_modules_directly_imported_by(module) for module in graph.modules
        }
        importing = {
            module: graph.find_modules_that_directly_import(module) for module in graph.modules
        }
        left = set(graph.modules)
        # Whoever imports nothing that is left, or is imported by nothing that is, is in no circle.
        while free := {
            each for each in left if not imported[each] & left or not importing[each] & left
        }:
            left -= free
        return ContractCheck(kept=not left, metadata={"found": sorted(left)})

    def render_broken_contract(self, check: ContractCheck) -> None:
        output.print_error("these import one another: " + ", ".join(check.metadata["found"]))
