"""A copy of the tree in which every change lies ready, to be switched on by its name.

mutmut makes the changes. It leaves decorated functions alone, so in the copy a property is a plain
method and an assignment, which is the same thing: otherwise `available` would go unjudged. It takes
text in triple quotes for prose; in the copy so stands whatever text holds a space, since what
people read is not judged by the letter. It leaves calls of `len` alone: in the copy all calls of
`log` are within one.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import libcst as cst
import libcst.matchers as m
from mutmut.mutation.file_mutation import MutatedFile, mutate_file_contents

from tests.mutants.changes import Change
from tests.mutants.parts import MutantsError, Part
from tests.teeth.copies import copy_tree

GETTER = "_getter"
"""What the name of a property's plain method ends in."""

_NUMBERED = re.compile(r"(?P<function>.+)__mutmut_\d+")
_ORIGINAL = "__mutmut_orig"
_IN_CLASS = "ǁ"
_PLAIN = "x_"
_PROSE = '"""'
_IS_PROPERTY = m.FunctionDef(decorators=[m.Decorator(decorator=m.Name("property"))])
_IS_LOGGING = m.Call(func=m.Attribute(value=m.Name("log")))


def prepare(tree: Path, place: Path, part: Part, modules: Sequence[str]) -> dict[str, Change]:
    """Copy `tree` to `place`, which must not exist, with all changes of `part` ready in it.

    `modules` are names of files without suffix; without any, all of the part's are changed. Gives
    the changes by the name that switches each on. Raises MutantsError.
    """
    copy_tree(tree, place)
    changes: dict[str, Change] = {}
    for path in sorted((place / part.folder).glob("*.py")):
        if modules and path.stem not in modules:
            continue
        source = plain(path.read_text(encoding="utf-8"))
        mutated = mutate_file_contents(str(path.relative_to(place)), source)
        path.write_text(mutated.code, encoding="utf-8")
        module = f"{part.folder.replace('/', '.')}.{path.stem}"
        changes |= {f"{module}.{name}": change for name, change in _changes(module, mutated)}
    if not changes:
        raise MutantsError(f"nothing to change in {part.folder}")
    return changes


def plain(source: str) -> str:
    """`source` with undecorated properties, and prose in triple quotes."""
    return cst.parse_module(source).visit(_Plain()).code


class _Plain(cst.CSTTransformer):
    def leave_FunctionDef(  # noqa: N802  # the name of libcst
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.BaseStatement | cst.FlattenSentinel[cst.BaseStatement]:
        if not m.matches(original_node, _IS_PROPERTY):
            return updated_node
        name = updated_node.name.value
        method = updated_node.with_changes(name=cst.Name(name + GETTER), decorators=())
        assigned = cst.parse_statement(f"{name} = property({name}{GETTER})")
        return cst.FlattenSentinel([method, assigned])

    def leave_Call(  # noqa: N802  # the name of libcst
        self, original_node: cst.Call, updated_node: cst.Call
    ) -> cst.BaseExpression:
        if not m.matches(original_node, _IS_LOGGING):
            return updated_node
        told = cst.Tuple([cst.Element(updated_node)])
        return cst.Call(cst.Name("len"), [cst.Arg(told)])

    def leave_SimpleString(  # noqa: N802  # the name of libcst
        self, original_node: cst.SimpleString, updated_node: cst.SimpleString
    ) -> cst.BaseExpression:
        text = original_node.raw_value
        if original_node.quote != '"' or " " not in text.strip() or '"' in text:
            return updated_node
        return updated_node.with_changes(value=f"{original_node.prefix}{_PROSE}{text}{_PROSE}")


def _changes(module: str, mutated: MutatedFile) -> Iterator[tuple[str, Change]]:
    lines = mutated.code.splitlines()
    sources = {
        name: lines[span.start - 1 : span.end]
        for name, span in mutated.line_span_by_function_name.items()
    }
    seen: Counter[Change] = Counter()
    for name in mutated.mutant_names:
        match = _NUMBERED.fullmatch(name)
        if match is None:
            raise MutantsError(f"{name} is no name of a mutant")
        original = match["function"] + _ORIGINAL
        was, now = _difference(sources[original], sources[name], original, name)
        change = Change(f"{module}.{_readable(match['function'])}", was, now)
        seen[change] += 1
        yield name, Change(change.where, was, now, seen[change])


def _difference(
    original: Sequence[str], changed: Sequence[str], original_name: str, changed_name: str
) -> tuple[str, str]:
    """The lines that go and those that come; more than these may lie between them."""
    renamed = [line.replace(changed_name, original_name) for line in changed]
    gone: list[str] = []
    came: list[str] = []
    matcher = difflib.SequenceMatcher(None, original, renamed, autojunk=False)
    for tag, first, last, new_first, new_last in matcher.get_opcodes():
        if tag != "equal":
            gone += original[first:last]
            came += renamed[new_first:new_last]
    return _text(gone), _text(came)


def _text(lines: Sequence[str]) -> str:
    return "\n".join(line.strip().replace(_PROSE, '"') for line in lines)


def _readable(function: str) -> str:
    if _IN_CLASS in function:
        _, *names = function.split(_IN_CLASS)
    else:
        names = [function.removeprefix(_PLAIN)]
    return ".".join(names).removesuffix(GETTER)
