"""How strongly each loss of a distillation acts on the student, beside the task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from mmengine.dist import all_reduce
from prettytable import PrettyTable
from torch import Tensor, nn

from .algorithms.pairs import nearest
from .errors import DistillationError

TASK = 'task'
TOTAL = 'all of distill'
# of the task's gradient: beyond these a loss is out of proportion
MOST, LEAST = 3.0, 1 / 30


@dataclass
class LossGradient:
    """What a loss does to the parameters of some layers.

    Attributes:
        name (str): The loss, as in ``distill_losses``; or 'task', the sum of the
            student's own losses; or 'all of distill', the sum of the others.
        value (float): Of the loss, with its weight.
        norm (float): L2 norm of its gradient with respect to the parameters of the
            layers; nan where it reaches none of them.
        task_norm (float): That of the task, at those parameters that this loss
            reaches.
        cosine (float): Between both gradients, there; nan where one of them is 0.
    """

    name: str
    value: float
    norm: float
    task_norm: float
    cosine: float

    @property
    def share(self) -> float:
        """The norm as a multiple of the task's; nan or inf where there is none."""
        if self.task_norm == 0:
            return self.norm * float('inf')
        return self.norm / self.task_norm


def split_losses(losses: dict) -> tuple[Tensor | None, dict[str, Tensor]]:
    """Tell the task's loss from those of the distillation.

    Args:
        losses (dict): As ``MultiResolutionDistill.loss`` gives them. Entries without
            'loss' in their name are statistics.

    Returns:
        tuple: The sum of 'student.*', None without one; and 'distill.*' by the names
        that follow the point.
    """
    sums = {
        name: sum(v.mean() for v in ([value] if isinstance(value, Tensor) else value))
        for name, value in losses.items()
        if 'loss' in name
    }
    task = [v for name, v in sums.items() if name.startswith('student.')]
    prefix = 'distill.'
    terms = {
        name.removeprefix(prefix): v
        for name, v in sums.items()
        if name.startswith(prefix)
    }
    return sum(task) if task else None, terms


def find_layers(
    model: nn.Module, losses: dict, names: str | Sequence[str] | None = None
) -> dict[str, list[nn.Parameter]]:
    """The layers at which the losses are compared.

    Args:
        model (MultiResolutionDistill): Not wrapped.
        losses (dict): Of its ``loss``, with their graph.
        names (str | Sequence[str], optional): Of modules of the model, such as
            'architecture.backbone.stem'. Defaults to None: the first of the student's
            layers, in the order of its definition, that the task and all losses
            reach; where there is none, the one that most of them reach, and further
            ones for the others.

    Returns:
        dict[str, list[Parameter]]: Their trainable parameters.

    Raises:
        DistillationError: A module does not exist or has no trainable parameter.
    """
    if names is None:
        names = _shared_layers(model, losses)
        return {
            name: _trainable(model.get_submodule(name), recurse=False)
            for name in names
        }
    found, known = {}, dict(model.named_modules())
    for name in [names] if isinstance(names, str) else names:
        if name not in known:
            raise DistillationError(
                f'layer={name!r}: the model has no such module. The nearest: '
                + ', '.join(nearest(name, known))
            )
        found[name] = _trainable(known[name])
        if not found[name]:
            raise DistillationError(
                f'layer={name!r} has no parameter that is trained now: take a layer '
                'with weights that is not frozen'
            )
    return found


def _trainable(module, recurse=True):
    return [p for p in module.parameters(recurse) if p.requires_grad]


def _shared_layers(model, losses):
    task, terms = split_losses(losses)
    reach_of_task = _reached(task)
    waiting = [_reached(loss) for loss in terms.values()]
    candidates = [
        (name, p) for name, p in model.named_parameters() if p in reach_of_task
    ]
    layers = []
    while candidates and (waiting or not layers):
        # the first of those that most losses reach
        name, best = max(candidates, key=lambda c: sum(c[1] in r for r in waiting))
        left = [r for r in waiting if best not in r]
        if layers and len(left) == len(waiting):
            break  # what is left reaches nothing that the task does
        layers.append(name.rpartition('.')[0])
        waiting = left
    return layers


def _reached(loss) -> set[Tensor]:
    """The parameters that a loss has a gradient for, from its graph alone."""
    nodes, seen, found = [getattr(loss, 'grad_fn', None)], set(), set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, 'variable'):  # a leaf
            found.add(node.variable)
        nodes.extend(n for n, _ in node.next_functions)
    return found


def measure(
    losses: dict,
    layers: Mapping[str, list[nn.Parameter]],
    scale: float = 1.0,
    factors: Mapping[str, float] | None = None,
) -> list[LossGradient]:
    """Gradient of each loss with respect to the parameters of some layers.

    One backward pass to these layers for each loss, on the graph that the training
    step goes through afterwards; no ``grad`` is touched and no number drawn. With
    several processes the gradients are averaged, as DDP does, so that all get the
    same figures but for the values, which are their own.

    Args:
        losses (dict): Of ``MultiResolutionDistill.loss``.
        layers (Mapping): From :func:`find_layers`.
        scale (float): Of the losses for the backward pass, against float16's
            underflow; the figures are without it. Defaults to 1.
        factors (Mapping, optional): Of losses, in the sum of all alone. Defaults to
            None, 1 for each.

    Returns:
        list[LossGradient]: The task, each loss, and the sum of them.

    Raises:
        DistillationError: The student has no losses of its own to compare with.
    """
    task, terms = split_losses(losses)
    if task is None:
        raise DistillationError(
            'the gradients of the distillation are compared with those of the '
            "student's own losses, and calculate_student_loss=False leaves them out"
        )
    parameters = [p for group in layers.values() for p in group]
    gradients, reached = [], []
    with torch.autocast(task.device.type, enabled=False):
        for loss in (task, *terms.values()):
            found = [None] * len(parameters)
            if loss.requires_grad and parameters:
                found = torch.autograd.grad(
                    loss * scale, parameters, retain_graph=True, allow_unused=True
                )
            pairs = list(zip(parameters, found))
            gradients.append(
                [torch.zeros_like(p) if g is None else g / scale for p, g in pairs]
            )
            reached.append([torch.full_like(p, g is not None) for p, g in pairs])
    gradients, reached = (_as_rows(x) for x in (gradients, reached))
    all_reduce(gradients, 'mean')
    weights = [(factors or {}).get(name, 1.0) for name in terms]
    total = torch.tensor([0.0, *weights]).to(gradients) @ gradients
    gradients = torch.cat([gradients, total[None]])
    reached = torch.cat([reached, reached[1:].sum(0, keepdim=True).clamp(max=1)])
    # of the task, where each of them reaches
    own = gradients[:1] * reached
    figures = torch.stack(
        [gradients.norm(dim=1), own.norm(dim=1), (gradients * own).sum(1)]
    )
    values = [float(v.detach()) for v in (task, *terms.values())]
    values.append(sum(w * v for w, v in zip(weights, values[1:])))
    return [
        LossGradient(
            name=name,
            value=value,
            norm=norm if reach else float('nan'),
            task_norm=task_norm,
            cosine=product / (norm * task_norm) if norm * task_norm else float('nan'),
        )
        for name, value, reach, (norm, task_norm, product) in zip(
            (TASK, *terms, TOTAL), values, reached.any(1).tolist(), figures.T.tolist()
        )
    ]


def _as_rows(tensors):
    return torch.stack(
        [torch.cat([x.flatten().float() for x in row]) for row in tensors]
    )


def average(measured: Sequence[list[LossGradient]]) -> list[LossGradient]:
    """The mean of each figure over several batches."""
    return [
        LossGradient(
            rows[0].name,
            *(
                fmean(getattr(row, figure) for row in rows)
                for figure in ('value', 'norm', 'task_norm', 'cosine')
            ),
        )
        for rows in zip(*measured)
    ]


def loss_weights(model: nn.Module) -> dict[str, float]:
    """The ``loss_weight`` of each distillation loss that has one."""
    return {
        name: loss.loss_weight
        for name, loss in model.distiller.distill_losses.items()
        if hasattr(loss, 'loss_weight')
    }


def describe(
    rows: Sequence[LossGradient],
    weights: Mapping[str, float],
    factors: Mapping[str, float] | None = None,
) -> PrettyTable:
    """A table of the figures.

    Args:
        rows (Sequence[LossGradient]): From :func:`measure`.
        weights (Mapping[str, float]): From :func:`loss_weights`.
        factors (Mapping[str, float], optional): Of the losses, a column more.
    """
    columns = ['loss', 'weight', 'value', 'gradient norm', 'x task', 'cosine']
    table = PrettyTable([*columns, *(['factor'] if factors is not None else [])])
    table.align = 'r'
    table.align['loss'] = 'l'
    for row in rows:
        figures = (row.norm, row.share, row.cosine)
        norm, share, cosine = (
            '-' if f != f else pattern.format(f)
            for f, pattern in zip(figures, ('{:.3g}', '{:.3g}', '{:+.2f}'))
        )
        cells = [row.name, weights.get(row.name, '-'), f'{row.value:.4g}', norm, share]
        cells.append(cosine)
        if factors is not None:
            cells.append(f'{factors[row.name]:.3g}' if row.name in factors else '-')
        table.add_row(cells)
    return table


def findings(
    rows: Sequence[LossGradient], weights: Mapping[str, float], share: float
) -> list[str]:
    """What is out of proportion, and the weight that would bring it to a share.

    Args:
        rows (Sequence[LossGradient]): From :func:`measure`.
        weights (Mapping[str, float]): From :func:`loss_weights`.
        share (float): Of the task's gradient norm.

    Returns:
        list[str]: A sentence for each loss whose gradient is more than 3 times the
        task's, less than a thirtieth of it, or nowhere.
    """
    found = []
    for row in rows[1:]:
        if row.norm != row.norm:
            if row.name != TOTAL:
                found.append(f'{row.name} does not reach the layer')
            continue
        if LEAST <= row.share <= MOST:
            continue
        text = f"{row.name}: {row.share:.3g} times the task's gradient"
        if 0 < row.share < float('inf') and row.name != TOTAL:
            factor = share / row.share
            if row.name in weights:
                text += f'; loss_weight={weights[row.name] * factor:.2g}'
            else:
                text += f'; a factor of {factor:.2g}'
            text += f' makes it {share}'
        found.append(text)
    return found
