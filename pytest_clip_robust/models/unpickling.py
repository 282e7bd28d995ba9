"""Restricted unpickling of torch checkpoints: tensors and containers are built, other objects become placeholders.

Training checkpoints hold more than tensors: NumPy scalars in the optimizer's state, an `argparse.Namespace`, a config
object. ``torch.load(weights_only=True)`` refuses them. Here, nothing that a file names is imported or called, except
the few functions of torch that build tensors. A file that names a function for running code is refused as a whole.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, BinaryIO, Self

import torch

BUILT_INS = frozenset(
    {"bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "object", "range", "set"}
    | {"slice", "str", "tuple", "Ellipsis", "NotImplemented"}
)
"""Built-in types that are built."""

RUN_CODE = frozenset(
    {"os", "posix", "nt", "sys", "subprocess", "shutil", "socket", "runpy", "importlib", "imp", "code", "codeop", "pty"}
    | {"commands", "webbrowser", "ctypes", "pdb", "timeit", "pip", "asyncio"}
    | {f"builtins.{name}" for name in ("__import__", "breakpoint", "compile", "delattr", "eval", "exec", "exit")}
    | {f"builtins.{name}" for name in ("globals", "input", "open", "print", "quit", "setattr")}
    | {"io.open", "_io.open"}
)
"""Modules and functions that only a hostile checkpoint names: it is refused, although nothing would be called."""


class RefusedError(Exception):
    """The file names a function that runs code; the message is its name."""


class Placeholder(dict[Any, Any]):
    """Takes the place of an object of a type that is not built.

    Items of dict subclasses are kept, so that parameters in one can be found; all other content is dropped.
    """

    name = "object"
    """The full name of the type in the file."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self:
        """Accept the arguments of any constructor."""
        return super().__new__(cls)

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        super().__init__()

    def __call__(self, *_args: Any, **_kwargs: Any) -> Placeholder:
        """Return a placeholder for the result of a call."""
        return Placeholder()

    def __setstate__(self, _state: object) -> None:
        """Drop the attributes."""

    def append(self, _item: object) -> None:
        """Drop an item of a list subclass."""

    def extend(self, _items: object) -> None:
        """Drop the items of a list subclass."""

    def add(self, _item: object) -> None:
        """Drop an item of a set subclass."""

    # Objects can be keys of dicts and members of sets.
    __hash__ = object.__hash__  # type: ignore[assignment]
    __eq__ = object.__eq__
    __ne__ = object.__ne__


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        module = "builtins" if module == "__builtin__" else module  # its name in Python 2, and in protocol 2
        if module.partition(".")[0] in RUN_CODE or f"{module}.{name}" in RUN_CODE:
            raise RefusedError(f"{module}.{name}")
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "builtins" and name in BUILT_INS:
            return super().find_class(module, name)
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        if (module, name) in _BUILDERS:
            return _sealed(_BUILDERS[module, name])
        return _placeholder(f"{module}.{name}")


def load_restricted(file: BinaryIO) -> object:
    """Return the content of a torch checkpoint that is neither TorchScript nor in the tar format of 2016.

    Raises:
        RefusedError: the file names a function that runs code.
        Exception: the file is damaged, or is not a torch checkpoint.
    """
    module = SimpleNamespace(__name__=__name__, Unpickler=_Unpickler, load=_load)
    return torch.load(file, map_location="cpu", pickle_module=module, weights_only=False)


def _load(file: BinaryIO, **options: Any) -> Any:
    return _Unpickler(file, **options).load()


def _placeholder(name: str) -> type[Placeholder]:
    return type(Placeholder.__name__, (Placeholder,), {"name": name})


def _sealed(build: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function in a new one, because a pickle can set attributes on what it names."""

    def sealed(*arguments: Any) -> Any:
        return build(*arguments)

    return sealed


def _attribute(owner: object, name: object) -> type[Placeholder]:
    """Return a placeholder for an attribute: protocol 2 names a nested class as an attribute of the outer one."""
    return _placeholder(f"{getattr(owner, 'name', 'object')}.{name}")


def _tensor_alone(tensor: Any, *_settings: Any) -> Any:
    """Build an `nn.Parameter` as a tensor, without its hooks."""
    return tensor


def _tensor_of_subclass(build: Callable[..., Any], _type: object, arguments: tuple[Any, ...], _state: object) -> Any:
    """Build an instance of a subclass of `torch.Tensor` as a tensor, without its attributes."""
    return build(*arguments)


_BUILDERS: dict[tuple[str, str], Callable[..., Any]] = {
    ("builtins", "getattr"): _attribute,
    ("torch", "Size"): tuple,
    ("torch._utils", "_rebuild_tensor"): torch._utils._rebuild_tensor,  # noqa: SLF001 - named in every checkpoint
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,  # noqa: SLF001 - as above
    ("torch._utils", "_rebuild_parameter"): _tensor_alone,
    ("torch._utils", "_rebuild_parameter_with_state"): _tensor_alone,
    ("torch._tensor", "_rebuild_from_type_v2"): _tensor_of_subclass,
}
