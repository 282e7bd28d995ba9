"""Restricted unpickling of torch checkpoints: tensors and containers are built, other objects become placeholders.

Training checkpoints hold more than tensors: NumPy scalars in the optimizer's state, an `argparse.Namespace`, a config
object. ``torch.load(weights_only=True)`` refuses them. Here, nothing that a file names is imported or called, except
the few functions of torch that build tensors. A file that names a function for running code is refused as a whole.

Some trainers save a whole model in place of its parameters. Its tensors are attributes of its modules, so they are
found without the model's code.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, BinaryIO, Self

import torch
from torch.serialization import MAGIC_NUMBER

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


ZIP = b"PK\x03\x04"
"""What a file of torch.save starts with; until 2020, it started with a pickle of MAGIC_NUMBER."""


MOST_TENSORS = 1_000_000
"""Most tensors of a module: a small file could name the same ones in exponentially many places."""


class RefusedError(Exception):
    """The file names a function that runs code; the message is its name."""


class Placeholder(dict[Any, Any]):
    """Takes the place of an object of a type that is not built.

    Items of dict subclasses are kept, so that parameters in one can be found. The object of a module becomes its
    state_dict. All other content is dropped.
    """

    name = "object"
    """The full name of the type in the file."""
    is_module = False
    """Whether the object is a `torch.nn.Module`."""
    dump_patches = False
    """Asked by torch for modules in its format of before 2020, whose source code it compares."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self:
        """Accept the arguments of any constructor."""
        return super().__new__(cls)

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        super().__init__()

    def __call__(self, *_args: Any, **_kwargs: Any) -> Placeholder:
        """Return a placeholder for the result of a call."""
        return Placeholder()

    def __setstate__(self, state: object) -> None:
        """Keep the tensors of a module under their names in a state_dict; drop all other attributes."""
        if isinstance(state, dict) and isinstance(state.get("_modules"), dict):
            self.is_module = True
            self.update(_state_dict(state))

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


def _state_dict(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return what `torch.nn.Module.state_dict` returns for a module with these attributes."""
    found: dict[str, Any] = {}
    left_out = attributes.get("_non_persistent_buffers_set")
    for kind in ("_parameters", "_buffers"):
        tensors = attributes.get(kind)
        for name, tensor in tensors.items() if isinstance(tensors, dict) else ():
            if isinstance(tensor, torch.Tensor) and not (isinstance(left_out, set) and name in left_out):
                found[str(name)] = tensor
    for name, module in attributes["_modules"].items():
        if isinstance(module, Placeholder):
            found |= {f"{name}.{inner}": tensor for inner, tensor in module.items()}
        if len(found) > MOST_TENSORS:
            raise ValueError(f"a module has more than {MOST_TENSORS:,} tensors")
    return found


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
    """Return the content of a pickle, or of a torch checkpoint, neither TorchScript nor in the tar format of 2016.

    Raises:
        RefusedError: the file names a function that runs code.
        Exception: the file is damaged, or is not a torch checkpoint.
    """
    if file.read(len(ZIP)) != ZIP:
        file.seek(0)
        content = _Unpickler(file).load()
        if content != MAGIC_NUMBER:
            return content  # written by pickle, not by torch.save
    file.seek(0)
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


def _latin1(text: str, _encoding: str = "") -> bytes:
    """Build bytes, which protocol 2 stores as a text in Latin-1."""
    return text.encode("latin-1")


def _storage(content: bytes) -> Any:
    """Build a tensor's memory, which pickle stores as the bytes of a torch checkpoint."""
    return load_restricted(io.BytesIO(content))


_BUILDERS: dict[tuple[str, str], Callable[..., Any]] = {
    ("builtins", "getattr"): _attribute,
    ("_codecs", "encode"): _latin1,
    ("torch", "Size"): tuple,
    ("torch.storage", "_load_from_bytes"): _storage,
    ("torch._utils", "_rebuild_tensor"): torch._utils._rebuild_tensor,  # noqa: SLF001 - named in every checkpoint
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,  # noqa: SLF001 - as above
    ("torch._utils", "_rebuild_parameter"): _tensor_alone,
    ("torch._utils", "_rebuild_parameter_with_state"): _tensor_alone,
    ("torch._tensor", "_rebuild_from_type_v2"): _tensor_of_subclass,
}
