"""What a mutation is, and how a process comes to run with one."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType

ROOT = Path(__file__).parents[2]


def is_test(name: str) -> bool:
    """Whether that is a pytest test or a file of them; else it is a case of `scenarios/`."""
    return name.startswith("tests/")


@dataclass(frozen=True)
class Mutation:
    """`old` stands once in `module`'s source and becomes `new`; `by` must fail then.

    `by`: a case of `scenarios/`, which then fails at a step whose title holds `at`; or a pytest test or file of tests, whose
    failure then holds `at`.
    """

    name: str
    module: str
    old: str
    new: str
    by: str
    at: str = ""

    @property
    def path(self) -> Path:
        """The file of the module."""
        bare = ROOT / self.module.replace(".", "/")
        return bare / "__init__.py" if bare.is_dir() else bare.with_suffix(".py")


class Mutator(importlib.abc.MetaPathFinder, importlib.machinery.SourceFileLoader):
    """Loads one module with one change in its source, and everything else as it is. Goes into `sys.meta_path`."""

    def __init__(self, mutation: Mutation) -> None:
        self._mutation = mutation
        importlib.machinery.SourceFileLoader.__init__(self, mutation.module, str(mutation.path))

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._mutation.module:
            return None
        return importlib.util.spec_from_file_location(fullname, self.path, loader=self)

    def get_code(self, fullname: str) -> CodeType:
        source = Path(self.path).read_text()
        return compile(source.replace(self._mutation.old, self._mutation.new), self.path, "exec")
