"""Counting of multiply-accumulates (MACs) while a network runs."""

from collections import Counter
from contextlib import ExitStack, contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

OTHER = '(between the parts)'


def norm_macs(module, x, y):
    """Normalisation: 2 an element, and 2 for its weight and bias."""
    return y.numel() * (2 if module.weight is None else 4)


def adaptive_pool_macs(module, x, y):
    """Adaptive average: an element for each input of its cell, and the division."""
    return x.numel() + y.numel()


def softmax_macs(module, x, y):
    """Softmax over n: n exponentials, n - 1 additions, n divisions."""
    return 3 * y.numel() - y.numel() // y.shape[module.dim]


# THOP's rates for the layers without large weights, by which the published MACs of
# FastSegFormer were counted
MODULES = (
    ((_NormBase, nn.LayerNorm), norm_macs),
    (nn.AvgPool2d, lambda module, x, y: y.numel()),
    (nn.AdaptiveAvgPool2d, adaptive_pool_macs),
    (nn.Softmax, softmax_macs),
)
# THOP sees a resizing only where it is a layer, nn.Upsample; in FastSegFormer and
# its teacher these are the doublings
DOUBLINGS = {
    torch.ops.aten.upsample_bilinear2d: 11,
    torch.ops.aten.upsample_nearest2d: 1,
}


class MacCounter(TorchDispatchMode):
    """Counts a network's MACs, by the part that is running.

    Convolutions, linear layers and products of matrices are counted as PyTorch's
    operators, by PyTorch's own formulas (:mod:`torch.utils.flop_counter`). One
    with a parameter among its tensors is a layer, whichever operator it became;
    one without is attention's. Other layers have THOP's rates.

    Args:
        model (nn.Module): The network.
        parts (dict[str, nn.Module]): Its parts, which do not overlap. What runs
            outside of them counts as ``OTHER``.

    Attributes:
        weight_macs (Counter): Convolutions and linear layers, {part: MACs}.
        light_macs (Counter): Normalisation, average pooling, softmax layers and
            doublings of a map.
        attention_macs (Counter): Products of two feature maps.
        order (list[str]): The parts that ran, in their order.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 1, bias=False), nn.BatchNorm2d(8))
        >>> counter = MacCounter(model, {'all': model})
        >>> with counter.counting():
        ...     _ = model.eval()(torch.zeros(1, 3, 10, 10))
        >>> counter.weight_macs['all'], counter.light_macs['all']
        (2400, 3200)
    """

    def __init__(self, model, parts):
        super().__init__()
        self.weight_macs = Counter()
        self.light_macs = Counter()
        self.attention_macs = Counter()
        self.order = []
        self._running = [OTHER]
        self._parts = parts
        self._model = model
        self._weights = {_storage(p) for p in model.parameters()}
        self._formulas = _formulas()

    @contextmanager
    def counting(self):
        """Count what the network computes in this context."""
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            stack.enter_context(_math_attention())
            stack.enter_context(_UnfusedLayers())
            for hook in (*self._light_hooks(), *self._part_hooks()):
                stack.callback(hook.remove)
            with self:
                yield

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        operator, part = func._overloadpacket, self._running[-1]
        if operator in self._formulas:
            is_layer = any(
                isinstance(a, torch.Tensor) and _storage(a) in self._weights
                for a in args
            )
            macs = self._formulas[operator](*args, **kwargs, out_val=out) // 2
            (self.weight_macs if is_layer else self.attention_macs)[part] += macs
        # a map of odd size was halved upwards
        elif operator in DOUBLINGS and all(
            size == -(-doubled // 2)
            for size, doubled in zip(args[0].shape[2:], out.shape[2:])
        ):
            self.light_macs[part] += DOUBLINGS[operator] * out.numel()
        return out

    def _light_hooks(self):
        def count(rate):
            def hook(module, inputs, output):
                macs = rate(module, inputs[0], output)
                self.light_macs[self._running[-1]] += macs

            return hook

        for module in self._model.modules():
            for types, rate in MODULES:
                if isinstance(module, types):
                    yield module.register_forward_hook(count(rate))

    def _part_hooks(self):
        """Hooks that tell which part is running.

        They are on every module below a part, as a part may be a list of modules,
        which itself is never called.
        """

        def enter(name):
            def hook(module, inputs):
                self._running.append(name)
                if name not in self.order:
                    self.order.append(name)

            return hook

        def leave(module, inputs, output):
            self._running.pop()

        for name, part in self._parts.items():
            for module in part.modules():
                yield module.register_forward_pre_hook(enter(name))
                yield module.register_forward_hook(leave)


def _formulas():
    """PyTorch's, {operator: function of its arguments and of out_val}."""
    try:
        from torch.utils import flop_counter
    except ImportError as error:
        raise RuntimeError(
            f'torch {torch.__version__} has no formulas of operators to count MACs '
            'by (torch.utils.flop_counter): take torch >= 2.1'
        ) from error
    if hasattr(flop_counter, 'flop_registry'):
        return flop_counter.flop_registry

    def of_tensors(formula):  # before torch 2.2 they take shapes
        def count(*args, out_val, **kwargs):
            shapes = tree_map(flop_counter.get_shape, (args, kwargs, out_val))
            return formula(*shapes[0], **shapes[1], out_shape=shapes[2])

        return count

    return {k: of_tensors(v) for k, v in flop_counter.flop_mapping.items()}


def _storage(tensor):
    return tensor.untyped_storage().data_ptr()


class _UnfusedLayers(TorchFunctionMode):
    """Does nothing; PyTorch's fused layers step back where functions are watched.

    They have no formula.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


def _math_attention():
    """Attention by operators that have a formula; the fused kernels have none."""
    try:
        from torch.nn.attention import SDPBackend, sdpa_kernel
    except ImportError:  # before torch 2.3
        return torch.backends.cuda.sdp_kernel(
            enable_flash=False, enable_mem_efficient=False
        )
    return sdpa_kernel(SDPBackend.MATH)
