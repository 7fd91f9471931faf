"""A ``pickle_module`` for ``torch.load`` that builds allowed objects alone.

For versions of torch before 2.6, which have no allow-list of their own: what torch's
restricted unpickler of today does, with the same instructions. Anything else that a
pickle can say is refused before it is done.
"""

import _compat_pickle
import pickle
from _codecs import encode
from collections import Counter, OrderedDict
from types import SimpleNamespace

import numpy as np
import torch
from torch import _utils, _weights_only_unpickler

# The instructions of pickle's protocol 2 that torch.save uses
INSTRUCTIONS = (
    *('PROTO', 'STOP', 'MARK', 'NONE', 'NEWTRUE', 'NEWFALSE'),
    *('BININT', 'BININT1', 'BININT2', 'LONG1', 'BINFLOAT'),
    *('BINUNICODE', 'SHORT_BINSTRING'),
    *('EMPTY_TUPLE', 'TUPLE', 'TUPLE1', 'TUPLE2', 'TUPLE3'),
    *('EMPTY_LIST', 'EMPTY_DICT', 'EMPTY_SET'),
    *('BINGET', 'LONG_BINGET', 'BINPUT', 'LONG_BINPUT'),
    # these import, call or fill in an object, and are checked
    *('GLOBAL', 'REDUCE', 'NEWOBJ', 'BUILD', 'BINPERSID'),
    *('APPEND', 'APPENDS', 'SETITEM', 'SETITEMS'),
)


def pickle_module(allowed: dict):
    """The argument of that name for ``torch.load(weights_only=False)``.

    Args:
        allowed (dict): {name in the file: object} that a file may hold besides what
            torch.save writes of tensors and plain values.
    """

    class Unpickler(RestrictedUnpickler):
        known = {**torch_globals(), **allowed}

    # old files consist of several pickles, of which torch.load reads some by this
    def load(file, **kwargs):
        return Unpickler(file, **kwargs).load()

    return SimpleNamespace(__name__=__name__, Unpickler=Unpickler, load=load)


def torch_globals() -> dict:
    """What torch.save writes of tensors and plain values: {name: object}."""
    allowed = dict(_weights_only_unpickler._get_allowed_globals())
    # those that earlier versions of that list lack
    allowed.update(
        {
            'collections.Counter': Counter,
            'torch.device': torch.device,
            '_codecs.encode': encode,
            'builtins.bytearray': bytearray,
            'builtins.set': set,
            'builtins.complex': complex,
        }
    )
    for name in ('_rebuild_parameter_with_state', '_rebuild_qtensor'):
        allowed[f'torch._utils.{name}'] = getattr(_utils, name)
    for found in vars(torch).values():
        if isinstance(found, torch.dtype | torch.qscheme):
            allowed[str(found)] = found
    return allowed


def refuse_programs(file):
    """Refuse a TorchScript archive, which torch.load would run.

    As torch's own reader sees it: Python's may see other names in a crafted archive.

    Raises:
        pickle.UnpicklingError: It is one.
    """
    start = file.tell()
    if file.read(4) == b'PK\x03\x04':
        file.seek(start)
        records = torch._C.PyTorchFileReader(file).get_all_records()
        if 'constants.pkl' in records:
            raise pickle.UnpicklingError('it is a TorchScript archive, a program')
    file.seek(start)


class RestrictedUnpickler(pickle._Unpickler):
    """Builds what ``known`` names, by checked instructions alone."""

    known = {}

    def find_class(self, module, name):
        # pickles of protocol 2 name Python 2's modules
        if (module, name) in _compat_pickle.NAME_MAPPING:
            module, name = _compat_pickle.NAME_MAPPING[module, name]
        module = _compat_pickle.IMPORT_MAPPING.get(module, module)
        try:
            return self.known[f'{module}.{name}']
        except KeyError:
            raise pickle.UnpicklingError(
                f'Unsupported global: GLOBAL {module}.{name}'
            ) from None

    def load_reduce(self):
        args = self.stack.pop()
        self.stack[-1] = self._known(self.stack[-1])(*args)

    def load_newobj(self):
        args = self.stack.pop()
        kind = self._known(self.stack.pop())
        self.append(kind.__new__(kind, *args))

    def load_build(self):
        state = self.stack.pop()
        made = self.stack[-1]
        kind = type(made)
        if kind is torch.Tensor:
            made.set_(*state)  # as before torch 0.4
        elif kind is torch.nn.Parameter:
            made.__setstate__(state)
        elif kind is np.ndarray:
            dtype = state[2]
            if not isinstance(dtype, np.dtype) or dtype.kind not in 'biufc':
                raise _refusal(f'an array of {dtype!r}')
            made.__setstate__(state)
        elif isinstance(made, np.dtype):
            # a number's type has nothing to set but its byte order
            if state[0] != 3 or state[2:] != (None, None, None, -1, -1, 0):
                raise _refusal(f'a NumPy type with state {state!r}')
            made.__setstate__(state)
        else:
            # its class is known, so that it is no function or class itself
            self._known(kind)
            made.__dict__.update(state)

    def load_binpersid(self):
        key = self.stack.pop()
        if type(key) is not tuple or key[:1] not in (('storage',), (b'storage',)):
            raise _refusal(f'the persistent object {key!r}')
        self.append(self.persistent_load(key))

    def load_append(self):
        _check(self.stack[-2], list)
        super().load_append()

    def load_appends(self):
        _check(self.metastack[-1][-1], list)
        super().load_appends()

    def load_setitem(self):
        _check(self.stack[-3], dict, OrderedDict, Counter)
        super().load_setitem()

    def load_setitems(self):
        _check(self.metastack[-1][-1], dict, OrderedDict, Counter)
        super().load_setitems()

    def _known(self, found):
        """``found`` itself, if it is one of the known and not made of them."""
        if not any(found is known for known in self.known.values()):
            raise _refusal(f'a call or change of {found!r}')
        return found


class _Instructions(dict):
    def __missing__(self, code):
        raise _refusal(f'instruction {code} of pickle, which torch.save does not use')


_ORIGINAL = pickle._Unpickler.dispatch
RestrictedUnpickler.dispatch = _Instructions(
    (code, getattr(RestrictedUnpickler, _ORIGINAL[code].__name__))
    for code in (getattr(pickle, name)[0] for name in INSTRUCTIONS)
)


def _check(made, *kinds):
    if type(made) not in kinds:
        raise _refusal(f'a change of {type(made)} as if it were {kinds[0].__name__}')


def _refusal(what):
    return pickle.UnpicklingError(f'the checkpoint asks for {what}')
