"""What a test run leaves behind for the reader: tables and pictures."""
import csv
import math
import os.path as osp

from mmengine.dist import master_only
from mmengine.fileio import dump
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.utils import mkdir_or_exist
from mmseg.registry import HOOKS

from fastsegformer_mm.evaluation.metrics.defect_iou_metric import DefectIoUMetric
from fastsegformer_mm.visualization.evaluation_plots import (
    class_bar_figure,
    confusion_matrix_figure,
)
from fastsegformer_mm.visualization.fonts import drawable_names

BARS = {
    'per_class_iou.png': ('IoU', 'mIoU'),
    'per_class_precision.png': ('Precision', 'mPrecision'),
    'per_class_recall.png': ('PA/Recall', 'mRecall'),
}


@HOOKS.register_module()
class EvaluationReportHook(Hook):
    """Write the figures of :class:`DefectIoUMetric` into the work dir.

    After testing, rank 0 writes into ``WORK_DIR/TIMESTAMP/evaluation``:

    * ``confusion_matrix.csv``: pixel counts with class names, a row a label
      class, a column a predicted class;
    * ``confusion_matrix.png``: the same, coloured by the share of each row;
    * ``per_class_iou.png``, ``per_class_precision.png`` and
      ``per_class_recall.png``: a bar a class and the mean;
    * ``metrics.json``: the means, the class table, the class names, the matrix
      and how the means were taken; what is undefined is null.

    When the evaluator has several such metrics (say one with and one without the
    background, told apart by ``prefix``), each has a folder of its prefix in
    there.

    Args:
        on_val (bool): Also report after each validation, into
            ``WORK_DIR/TIMESTAMP/evaluation_val``, where the last one stays.
            Defaults to False.
        dpi (int): Resolution of the pictures. Defaults to 120.

    Example:
        >>> test_evaluator = dict(type='DefectIoUMetric')
        >>> custom_hooks = [dict(type='EvaluationReportHook')]
    """

    def __init__(self, on_val: bool = False, dpi: int = 120) -> None:
        self.on_val = on_val
        self.dpi = dpi
        self._warned = False

    def after_test_epoch(self, runner: Runner,
                         metrics: dict[str, float] | None = None) -> None:
        """Report on the test set."""
        self._report(runner, runner.test_evaluator, 'test', 'evaluation')

    def after_val_epoch(self, runner: Runner,
                        metrics: dict[str, float] | None = None) -> None:
        """Report on the validation set, when asked for."""
        if self.on_val:
            self._report(runner, runner.val_evaluator, 'val', 'evaluation_val')

    @master_only
    def _report(self, runner: Runner, evaluator, mode: str, folder: str) -> None:
        found = [m for m in evaluator.metrics if isinstance(m, DefectIoUMetric)]
        if not found and not self._warned:
            self._warned = True
            runner.logger.warning(
                f'EvaluationReportHook has nothing to report: {mode}_evaluator '
                'has no DefectIoUMetric. Add to the config: '
                f"{mode}_evaluator = dict(type='DefectIoUMetric')")
        for index, metric in enumerate(found):
            if metric.confusion_matrix is None:
                runner.logger.info(
                    'EvaluationReportHook has nothing to report: '
                    'DefectIoUMetric(format_only=True) computes no figures')
                continue
            out_dir = osp.join(runner.log_dir, folder)
            if len(found) > 1:
                out_dir = osp.join(out_dir, metric.prefix or str(index))
            self._write(metric, out_dir)
            runner.logger.info(
                'EvaluationReportHook wrote the confusion matrix (csv, png), '
                f'per-class bar charts and metrics.json to {out_dir}')

    def _write(self, metric: DefectIoUMetric, out_dir: str) -> None:
        mkdir_or_exist(out_dir)
        names = [row['Class'] for row in metric.class_table]
        matrix = metric.confusion_matrix

        with open(osp.join(out_dir, 'confusion_matrix.csv'), 'w', newline='',
                  encoding='utf-8') as file:
            writer = csv.writer(file)
            writer.writerow(['label / prediction', *names])
            writer.writerows([name, *row] for name, row
                             in zip(names, matrix.tolist()))
        figures = {
            'confusion_matrix.png': confusion_matrix_figure(matrix, names)
        }
        mean_name = 'mean'
        if metric.left_out is not None:
            mean_name += f' without {drawable_names(names)[metric.left_out]}'
        for file_name, (column, mean) in BARS.items():
            figures[file_name] = class_bar_figure(
                [row[column] for row in metric.class_table], names,
                column.split('/')[-1], metric.summary[mean], mean_name)
        for file_name, figure in figures.items():
            figure.savefig(osp.join(out_dir, file_name), dpi=self.dpi)
        dump(
            {
                'metrics': _null_nan(metric.summary),
                'per_class': [_null_nan(row) for row in metric.class_table],
                'class_names': names,
                'confusion_matrix': matrix.tolist(),
                'exclude_background': metric.exclude_background,
                'absent': metric.absent,
            },
            osp.join(out_dir, 'metrics.json'),
            indent=2)


def _null_nan(figures: dict) -> dict:
    """Replace nan, which JSON does not have, by None."""
    return {
        key: None if isinstance(value, float) and math.isnan(value) else value
        for key, value in figures.items()
    }
