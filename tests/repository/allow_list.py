"""A rule for import-linter: what a room may import, given as a list of all that it may.

A list of what is forbidden passes what nobody has thought of; see pyproject.toml.
"""

import sys

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class AllowListContract(Contract):
    """The source modules import the standard library, one another and the allowed modules alone.

    All of them are meant with what is below them. Imports through others are the others' affair.
    """

    type_name = "allow_list"
    source_modules = fields.ListField(subfield=fields.StringField())
    allowed_modules = fields.ListField(subfield=fields.StringField())

    def check(
        self,
        graph: ImportGraph,
        verbose: bool,
    ) -> ContractCheck:
        sources = [str(each) for each in self.source_modules]  # type: ignore[attr-defined]
        allowed = [*sources, *map(str, self.allowed_modules)]  # type: ignore[call-overload]
        missing = [each for each in sources if each not in graph.modules]
        found = [
            f"{importer} imports {imported}"
            for importer in sorted(graph.modules)
            if _is_within(importer, sources) and not graph.is_module_squashed(importer)
            for imported in sorted(graph.find_modules_directly_imported_by(importer))
            if not _is_within(imported, allowed) and imported not in sys.stdlib_module_names
        ]
        found += [f"there is no module {each}" for each in missing]
        return ContractCheck(kept=not found, metadata={"found": found})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for each in check.metadata["found"]:
            output.print_error(each)


def _is_within(module: str, packages: list[str]) -> bool:
    return any(module == each or module.startswith(f"{each}.") for each in packages)
