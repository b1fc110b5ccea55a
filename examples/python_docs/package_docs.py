"""Read the documentation of installed distributions from their source code, without importing any of it."""

import ast
import contextlib
import gc
import importlib.metadata
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice, zip_longest
from pathlib import Path

from document import Document, informative, shortened

_CORE = "numpy scipy numba bm25s pyarrow orjson ir-measures typer rich pydantic"
CORE_DISTRIBUTIONS = tuple(_CORE.split())

# Folders and files not read: tests, copies of other distributions, and pydantic's copy of its former self.
SKIPPED = frozenset({"conftest", "test", "tests", "externals", "vendor", "vendored", "_vendor", "_vendored", "v1"})

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = ast.ClassDef | Function


def packages(distributions: Iterable[str] = CORE_DISTRIBUTIONS, limit: int = 2000) -> Iterator[Document]:
    """Yield documents of installed distributions, sorted by id; those not installed are passed over.

    The distributions take turns until there are `limit` documents, each giving its shallow names first and, of
    equally deep ones, the first of every module before the second of any.
    """
    turns = zip_longest(*(documents_of(name) for name in distributions))
    documents = (document for document in chain.from_iterable(turns) if document is not None)
    yield from sorted(islice(documents, limit), key=lambda document: document["_id"])


def documents_of(distribution: str) -> Iterator[Document]:
    """Yield the documents of a distribution, the shallow names first."""
    for candidate in shallow_first(candidates(dict(parse_distribution(distribution)))):
        text = candidate.text()
        if informative(candidate.name, text):
            yield candidate.document(text) | {"package": distribution}


@dataclass(frozen=True)
class Candidate:
    """A module or definition under its public name, documented or not."""

    name: str
    module: str
    kind: str
    node: ast.Module | Definition

    def text(self) -> str:
        """Return the docstring; of a class without one, that of its constructor."""
        text = ast.get_docstring(self.node)
        if not text and isinstance(self.node, ast.ClassDef):
            text = "".join(ast.get_docstring(init) or "" for init in methods(self.node) if init.name == "__init__")
        return (text or "").strip()

    def document(self, text: str) -> Document:
        """Make the document, its title with the parameters that a caller gives."""
        title = self.name + self.parameters()
        return {"_id": self.name, "title": title, "text": text, "module": self.module, "kind": self.kind}

    def parameters(self) -> str:
        """Write the parameters without annotations; an empty string where there are none to show."""
        if isinstance(self.node, ast.ClassDef):
            inits = [init for init in methods(self.node) if init.name == "__init__"]
            return parameters_of(inits[0], drop=1) if inits else ""
        if isinstance(self.node, ast.Module) or self.kind == "property":
            return ""
        bound = self.kind == "method" and "staticmethod" not in decorators(self.node)
        return parameters_of(self.node, drop=int(bound))


def methods(node: ast.ClassDef) -> list[Function]:
    """Return the methods that a class body defines."""
    return [item for item in node.body if isinstance(item, Function)]


def decorators(node: Function) -> list[str]:
    """Return the decorators of a function as they are written."""
    return [ast.unparse(decorator) for decorator in node.decorator_list]


def parameters_of(node: Function, drop: int) -> str:
    """Write the parameters of a function without annotations and without the first `drop` ones."""
    every = node.args
    positional = [*every.posonlyargs, *every.args][drop:]
    split = max(0, len(every.posonlyargs) - drop)
    bare = ast.arguments(
        posonlyargs=[ast.arg(argument.arg) for argument in positional[:split]],
        args=[ast.arg(argument.arg) for argument in positional[split:]],
        vararg=every.vararg and ast.arg(every.vararg.arg),
        kwonlyargs=[ast.arg(argument.arg) for argument in every.kwonlyargs],
        kw_defaults=every.kw_defaults,
        kwarg=every.kwarg and ast.arg(every.kwarg.arg),
        defaults=every.defaults,
    )
    return shortened(f"({ast.unparse(bare)})")


def shallow_first(found: Iterable[Candidate]) -> list[Candidate]:
    """Sort by the depth of the name, then by how many of the same depth and module come before."""
    counts: Counter[tuple[int, str]] = Counter()
    ranked: list[tuple[int, int, str, Candidate]] = []
    for candidate in sorted(found, key=lambda candidate: candidate.name):
        depth = candidate.name.count(".")
        counts[depth, candidate.module] += 1
        ranked.append((depth, counts[depth, candidate.module], candidate.name, candidate))
    return [candidate for *_, candidate in sorted(ranked, key=lambda entry: entry[:3])]


def candidates(sources: "dict[str, Source]") -> Iterator[Candidate]:
    """Yield the public modules, and each public object of a distribution under its shortest public name."""
    best: dict[tuple[str, str], tuple[int, int, str, str]] = {}
    for module, source in sources.items():
        if any(part.startswith("_") for part in module.split(".")):
            continue
        yield Candidate(module, module, "module", source.head)
        for name in source.public_names(sources):
            full = f"{module}.{name}"
            rank = (full.count("."), len(full), full, module)
            home = find_definition(sources, module, name)
            if home and full not in sources:  # a module wins over a function of its name
                best[home] = min(best.get(home, rank), rank)
    for (module, name), (*_, full, public) in best.items():
        yield from definition_candidates(sources[module].definitions[name], full, public)


def definition_candidates(node: Definition, full: str, module: str) -> Iterator[Candidate]:
    """Yield a function, or a class and its public methods and properties."""
    if not isinstance(node, ast.ClassDef):
        yield Candidate(full, module, "function", node)
        return
    yield Candidate(full, module, "class", node)
    for name, method in {method.name: method for method in methods(node)}.items():
        if not name.startswith("_"):
            is_property = any(decorator.endswith("property") for decorator in decorators(method))
            yield Candidate(f"{full}.{name}", module, "property" if is_property else "method", method)


@dataclass
class Source:
    """What a parsed module defines and imports."""

    is_package: bool
    head: ast.Module
    listed: list[str] | None = None
    definitions: dict[str, Definition] = field(default_factory=dict)
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)

    def public_names(self, sources: "dict[str, Source]") -> list[str]:
        """Name what the module offers: what it lists; else what it defines and, in a package, what it imports."""
        names = self.listed
        if names is None:
            names = [*self.definitions]
        if self.listed is None and self.is_package:
            names += self.imports
            names += [name for star in self.stars if star in sources for name in sources[star].public_names(sources)]
        return [name for name in names if not name.startswith("_")]


def parse_distribution(name: str) -> Iterator[tuple[str, Source]]:
    """Parse the Python files of an installed distribution; none when it is not installed."""
    try:
        files = importlib.metadata.distribution(name).files or []
    except importlib.metadata.PackageNotFoundError:
        return
    for file in sorted(files):
        parts = file.with_suffix("").parts
        if file.suffix == ".py" and all(part.isidentifier() and part not in SKIPPED for part in parts):
            is_package = parts[-1] == "__init__"
            module = ".".join(parts[:-1] if is_package else parts)
            with contextlib.suppress(SyntaxError, ValueError, OSError):  # templates, and files removed since
                yield module, parse_source(Path(str(file.locate())).read_bytes(), module, is_package)


def parse_source(code: bytes, module: str, is_package: bool) -> Source:
    """Collect the docstring, definitions, imports and `__all__` of a module."""
    tree = parse(code)
    source = Source(is_package, ast.Module(tree.body[:1], []))
    for node in top_level(tree.body):
        if isinstance(node, Definition):
            source.definitions[node.name] = trimmed(node)
        elif isinstance(node, ast.ImportFrom):
            add_imports(source, node, imported_module(node, module, is_package))
        elif isinstance(node, ast.Assign) and any(ast.unparse(target) == "__all__" for target in node.targets):
            with contextlib.suppress(ValueError):  # a list that is computed stays unknown
                source.listed = list(ast.literal_eval(node.value))
    return source


def parse(code: bytes) -> ast.Module:
    """Parse without warnings about other people's strings, and without garbage collection.

    Trees have no cycles, and looking for some while one grows takes longer than the parsing itself.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(code)
    finally:
        if was_enabled:
            gc.enable()


def top_level(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a module, also those under `if` and `try`."""
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try):
            yield from top_level(node.body)
            yield from top_level(node.orelse)


def trimmed(node: Definition) -> Definition:
    """Throw away the code of functions, which would hold several hundred megabytes."""
    for function in methods(node) if isinstance(node, ast.ClassDef) else [node]:
        function.body = function.body[:1]
    return node


def imported_module(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    """Return the full name of the module that an import statement names."""
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    base = parts[: len(parts) - node.level + is_package]
    return ".".join([*base, node.module] if node.module else base)


def add_imports(source: Source, node: ast.ImportFrom, target: str) -> None:
    """Note the names that an import statement brings into a module."""
    for alias in node.names:
        if alias.name == "*":
            source.stars.append(target)
        else:
            source.imports[alias.asname or alias.name] = (target, alias.name)


def find_definition(sources: dict[str, Source], module: str, name: str, hops: int = 9) -> tuple[str, str] | None:
    """Follow a name through the imports of a distribution to the module that defines it."""
    source = sources.get(module)
    if source is None or not hops:  # another distribution, or a circle of imports
        return None
    if name in source.definitions:
        return module, name
    if name in source.imports:
        return find_definition(sources, *source.imports[name], hops - 1)
    found = (find_definition(sources, star, name, hops - 1) for star in source.stars)
    return next(filter(None, found), None)
