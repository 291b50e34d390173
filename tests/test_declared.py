"""Every package and app declares each distribution that its modules import, wherever in a module it imports it."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MEMBERS = sorted([*ROOT.glob("packages/*"), *ROOT.glob("apps/*")])
DISTRIBUTIONS = packages_distributions()


def imported(node: ast.AST) -> Iterator[str]:
    """Names the top-level modules that a piece of code imports at run time."""
    match node:
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return
        case ast.Import(names=names):
            yield from (name.name.partition(".")[0] for name in names)
        case ast.ImportFrom(module=str(module), level=0):
            yield module.partition(".")[0]
    for child in ast.iter_child_nodes(node):
        yield from imported(child)


def declared(member: Path) -> set[str]:
    """Names the distributions that a member declares, those of its extras with them."""
    project = tomllib.loads((member / "pyproject.toml").read_text())["project"]
    extras = project.get("optional-dependencies", {}).values()
    needs = [*project["dependencies"], *(need for extra in extras for need in extra)]
    return {re.split(r"[^\w-]", need, maxsplit=1)[0] for need in needs}


def undeclared(member: Path, code: str) -> set[str]:
    """Names what some code of a member imports without a declaration."""
    known = declared(member) | {member.name}
    names = set(imported(ast.parse(code))) - sys.stdlib_module_names
    return {name for name in names if not known & {canonical(d) for d in [*DISTRIBUTIONS.get(name, ()), name]}}


def canonical(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


@pytest.mark.parametrize("member", MEMBERS, ids=lambda path: path.name)
def test_a_member_declares_what_it_imports(member: Path) -> None:
    modules = [*(member / "src").rglob("*.py")]
    assert modules
    assert {path: names for path in modules if (names := undeclared(member, path.read_text()))} == {}


@pytest.mark.parametrize(
    "code", ["import flask", "def f():\n    from flask.views import View", "import flask.views as v"]
)
def test_an_undeclared_import_is_found(code: str) -> None:
    assert undeclared(ROOT / "packages" / "cdm-core", code) == {"flask"}
