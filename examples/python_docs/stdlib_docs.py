"""Read the documentation of the running interpreter's standard library by importing and inspecting it."""

import contextlib
import importlib
import inspect
import io
import pkgutil
import re
import sys
import sysconfig
import typing
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from document import Document, informative, shortened

# Modules and classes left out with all below them. First line: side effects on import, or no library. Second: other
# names for os and os.path. Third, fourth and last: gone from newer Pythons, so that no answer may depend on them. The
# rest is machinery that the library reference tells nobody to import, and the nameless base class of socket.socket.
_UNWANTED = """
    antigravity this idlelib turtle turtledemo tkinter test ensurepip pydoc_data lib2to3 distutils
    posix posixpath nt ntpath genericpath nturl2path
    aifc asynchat asyncore audioop cgi cgitb chunk crypt imghdr imp mailcap msilib nis nntplib ossaudiodev pipes
    smtpd sndhdr spwd sunau telnetlib uu xdrlib
    encodings opcode pyexpat sre_compile sre_constants sre_parse stringprep concurrent.futures.process
    concurrent.futures.thread email.base64mime email.quoprimime importlib.readers importlib.resources.readers
    importlib.resources.simple importlib.simple json.decoder json.encoder json.scanner json.tool socket.SocketType
    xml.dom.NodeFilter xml.dom.domreg xml.dom.expatbuilder xml.dom.minicompat xml.dom.xmlbuilder xml.sax.expatreader
    urllib.request.FancyURLopener urllib.request.URLopener
"""
SKIPPED = frozenset(_UNWANTED.split())

# Of these packages only the modules named here are for users; the others hold what the package exports itself.
SUBMODULES = {
    "asyncio": frozenset[str](),
    "ctypes": frozenset({"util"}),
    "multiprocessing": frozenset({"connection", "managers", "pool", "shared_memory"}),
    "sqlite3": frozenset[str](),
    "unittest": frozenset({"mock"}),
}

# Classes whose names begin like this keep their own document, but get none for each method. Those methods are
# interfaces to implement, commands of a protocol or a debugger, or the same words as in another class. They would be
# a fifth of all documents, and no user looks for them by describing what they do.
_DULL = """
    asyncio.Abstract asyncio.SelectorEventLoop. asyncio.EventLoop. bdb. bz2. cmd. code. codecs. ctypes. curses.
    decimal.Context. doctest. email.charset. email.generator. email.header email.parser. email.policy. http.cookiejar.
    imaplib. importlib. logging.config. lzma. mailbox. numbers. optparse. pdb. poplib. symtable. trace. unicodedata.
    venv. wsgiref. xml.dom. xml.sax. xmlrpc. zipimport.
"""
NO_METHODS = tuple(_DULL.split())

# Defaults that are not the same everywhere: a repr with an address in it, and what depends on the environment.
_ENVIRONMENT = "|".join(re.escape(repr(value)) for value in (sys.executable, sysconfig.get_default_scheme()))
PASSING = re.compile(rf"<(?:[^<>]|<[^<>]*>)*>|{_ENVIRONMENT}")


def stdlib() -> Iterator[Document]:
    """Yield a document for each public module, class, function and method of the standard library, sorted by id."""
    modules = dict(import_modules())
    objects = canonical_objects(modules)
    entries = [Entry(name, name, "module", module) for name, module in modules.items()]
    entries += [*objects, *canonical_methods([entry for entry in objects if entry.kind == "class"])]
    # Of two entries with one name or one text the first stays: a function before a module or a method.
    entries.sort(key=lambda entry: (entry.name.count("."), entry.name, entry.kind == "module"))
    documents: dict[str, Document] = {}
    texts: set[tuple[str, str, str]] = set()
    for entry in entries:
        text = docstring(entry.item)
        told = (entry.module, entry.name.rpartition(".")[2], text)
        if informative(entry.name, text) and told not in texts and entry.name not in documents:
            texts.add(told)
            documents[entry.name] = entry.document(text)
    yield from (documents[name] for name in sorted(documents))


@dataclass(frozen=True)
class Entry:
    """An object of the standard library under the name that a user would write."""

    name: str
    module: str
    kind: str
    item: Any

    def document(self, text: str) -> Document:
        """Make the document; a module and a property have no parameters to show."""
        callable_ = self.kind not in ("module", "property")
        title = self.name + (signature(self.item, text, self.name) if callable_ else "")
        return {"_id": self.name, "title": title, "text": text, "module": self.module, "kind": self.kind}


def import_modules() -> Iterator[tuple[str, ModuleType]]:
    """Import every public module of the standard library that this platform has."""
    for name in sorted(sys.stdlib_module_names):
        if not name.startswith("_"):
            yield from import_tree(name)
    yield "os.path", importlib.import_module("os.path")


def import_tree(name: str) -> Iterator[tuple[str, ModuleType]]:
    """Import a module and the public modules below it."""
    module = None if name in SKIPPED else quiet_import(name)
    if module is None:
        return
    yield name, module
    wanted = SUBMODULES.get(name)
    for info in pkgutil.iter_modules(getattr(module, "__path__", [])):
        if not info.name.startswith("_") and (wanted is None or info.name in wanted):
            yield from import_tree(f"{name}.{info.name}")


def quiet_import(name: str) -> ModuleType | None:
    """Import a module without its warnings and prints; None when this platform or build lacks it."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except Exception:  # some modules raise more than ImportError on the wrong platform
            return None


def canonical_objects(modules: dict[str, ModuleType]) -> list[Entry]:
    """Name each public class and function once, under a module that lists or defines it, and not by an alias."""
    best: dict[int, tuple[tuple[bool, int, bool, int, str], Entry]] = {}
    for module_name, module in modules.items():
        for inner, name, kind, item in offered(module_name, module):
            full = name if module_name == "builtins" else f"{module_name}.{name}"
            alias = getattr(item, "__name__", name) != name  # OSError and not IOError
            rank = (inner, full.count("."), alias, len(full), full)
            key = identity(item)
            if full not in SKIPPED and (key not in best or rank < best[key][0]):
                best[key] = (rank, Entry(full, module_name, kind, item))
    return [entry for _, entry in best.values()]


def offered(module_name: str, module: ModuleType) -> Iterator[tuple[bool, str, str, Any]]:
    """Yield the classes and functions that a module offers, each with whether it really is an inner module's."""
    listed = module_name == "builtins" or hasattr(module, "__all__")
    for name in getattr(module, "__all__", vars(module)):
        item = attribute(module, name)
        kind = kind_of(item)
        if kind is not None and not name.startswith("_") and (listed or defined_in(module_name, item)):
            yield not listed and getattr(item, "__module__", None) != module_name, name, kind, item


def attribute(module: ModuleType, name: str) -> Any:
    """Get an attribute without the warning that a deprecated one gives when it is looked at."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(module, name, None)


def kind_of(item: Any) -> str | None:
    """Name the kind of a module's attribute; None for one that is no class and no function."""
    if inspect.isclass(item) or isinstance(item, typing._SpecialForm):
        return "class"
    return "function" if inspect.isroutine(item) else None


def defined_in(module_name: str, item: Any) -> bool:
    """Say whether a module without `__all__` defines the object, itself or through a private or an inner module."""
    home = getattr(item, "__module__", None) or module_name
    private = any(part.startswith("_") for part in home.split("."))
    return private or home == module_name or home.startswith(f"{module_name}.")


def identity(item: Any) -> int:
    """Tell objects apart; a method bound to two instances, as in `random` and `secrets`, is one object."""
    return id(underlying(item))


def underlying(item: Any) -> Any:
    """Return the function in a static, class or bound method; anything else as it is."""
    return item if inspect.isclass(item) else getattr(item, "__func__", item)


def canonical_methods(classes: Sequence[Entry]) -> Iterator[Entry]:
    """Name each public method once: under the public class that defines it, or inherits it from a private one."""
    public = {entry.item for entry in classes}
    seen: set[int] = set()
    for entry in sorted(classes, key=lambda entry: (entry.name.count("."), entry.name)):
        for name, item in public_members(entry):
            above = [cls for cls in entry.item.__mro__[1:] if cls in public]
            inherited = any(inspect.getattr_static(cls, name, None) is item for cls in above)
            if not inherited and identity(item) not in seen:
                seen.add(identity(item))
                kind = "property" if isinstance(item, property) else "method"
                yield Entry(f"{entry.name}.{name}", entry.module, kind, item)


def public_members(entry: Entry) -> Iterator[tuple[str, Any]]:
    """Yield the public methods and properties of a class, inherited ones too."""
    cls = entry.item
    if not inspect.isclass(cls) or f"{entry.name}.".startswith(NO_METHODS):
        return
    for name in dir(cls):
        item = inspect.getattr_static(cls, name, None)
        twin = cls in (bytes, bytearray) and hasattr(str, name)  # `str` has the same method in nearly the same words
        if not name.startswith("_") and not twin and (inspect.isroutine(item) or isinstance(item, property)):
            yield name, item


def docstring(item: Any) -> str:
    """Return the cleaned docstring of an object; of a class without one, that of its constructor."""
    text = getattr(underlying(item), "__doc__", None)
    if not text and inspect.isclass(item) and inspect.isfunction(vars(item).get("__init__")):
        text = vars(item)["__init__"].__doc__
    return inspect.cleandoc(text).strip() if isinstance(text, str) else ""


def signature(item: Any, text: str, name: str) -> str:
    """Write the parameters of a function or class without annotations, or as its docstring gives them."""
    try:
        parameters = list(inspect.signature(underlying(item)).parameters.values())
    except Exception:  # no signature, or defaults and annotations that cannot be evaluated
        match = re.match(rf"(?:\w+\.)*{re.escape(name.rpartition('.')[2])}(\(.*?\))", text)
        return shortened(match[1]) if match else ""
    if parameters and is_implied(parameters[0]):
        del parameters[0]
    bare = inspect.Signature([p.replace(annotation=inspect.Parameter.empty) for p in parameters])
    return shortened(re.sub(PASSING, "...", str(bare)))


def is_implied(parameter: inspect.Parameter) -> bool:
    """Say whether a first parameter is the object or class, which a caller does not write."""
    in_c = parameter.name == "type" and parameter.kind is parameter.POSITIONAL_ONLY
    return in_c or parameter.name in ("self", "cls")
