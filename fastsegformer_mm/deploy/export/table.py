"""The comparison of an artefact as a table."""

from rich.table import Table

from .parity import OTHER_SIZE, Parity


def parity_table(found: Parity, title: str) -> Table:
    """A row for each figure, with what was allowed.

    Args:
        found (Parity): The comparison.
        title (str): Above the table.
    """
    images = f'{found.images} images: {found.source}'
    if found.synthetic:
        images += ' (DRAWN, no photographs; name some by --images)'
    table = Table(title=title, caption=images)
    table.add_column('against MMSegmentation, float32')
    for column in ('found', 'allowed'):
        table.add_column(column, justify='right')
    allowed = found.tolerance
    limit = f'{allowed["logits"]:.1e}' if 'logits' in allowed else '-'
    table.add_row('largest difference of a logit', f'{found.logits:.2e}', '-')
    table.add_row('  as share of the largest logit', f'{found.relative:.1e}', limit)
    for size, difference in found.other_sizes.items():
        other = f'{allowed.get("logits", OTHER_SIZE):.1e}'
        table.add_row(f'  at {size}', f'{difference:.1e}', other)
    equal = f'{allowed["equal"]:.2%}' if 'equal' in allowed else '-'
    table.add_row('equal pixels', f'{found.equal:.4%}', equal)
    if found.miou:
        table.add_row('mIoU before, %', f'{found.miou[0]:.2f}', '-')
        limit = f'-{allowed["miou"]:g}' if 'miou' in allowed else '-'
        table.add_row('mIoU after, %', f'{found.miou[1]:.2f}', limit)
    table.add_row('computed here in', found.computed_in, '-')
    return table
