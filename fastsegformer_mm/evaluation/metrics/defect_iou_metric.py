"""The figures of the defect segmentation papers, from one confusion matrix."""
import logging
from collections.abc import Sequence

import numpy as np
import torch
from mmengine.logging import MMLogger, print_log
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS
from prettytable import PrettyTable


def divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divide class by class, giving nan where the denominator is 0."""
    quotient = np.full(len(numerator), np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient


@METRICS.register_module()
class DefectIoUMetric(IoUMetric):
    """mIoU, mPA, mPrecision, mRecall and aAcc of defect segmentation.

    All figures come from one confusion matrix over all pixels of all images
    (rows: label, columns: prediction) and are percent, rounded to two decimals.
    With TP, FP and FN of a class:

    =============  =========================  ===========================
    figure         of a class                 undefined when
    =============  =========================  ===========================
    IoU            TP / (TP + FP + FN)        neither labelled nor predicted
    PA = Recall    TP / (TP + FN)             not labelled
    Precision      TP / (TP + FP)             not predicted
    Dice           2 TP / (2 TP + FP + FN)    neither labelled nor predicted
    Fscore         (1 + b^2) TP /             neither labelled nor predicted
                   ((1 + b^2) TP + b^2 FN + FP)
    =============  =========================  ===========================

    mIoU, mPA, mPrecision and so on are means over the classes. mPA, "mean pixel
    accuracy", is the mean class recall, so that mPA and mRecall (MMSegmentation's
    mAcc) are one figure under the two names that the papers use. aAcc is the
    share of correct pixels.

    What an undefined figure counts is ``absent``. The official evaluation of
    `FastSegFormer <https://doi.org/10.1016/j.compag.2023.108604>`_ divides by
    ``max(denominator, 1)`` and averages over all four classes: ``absent='zero'``.
    The papers on NEU-Seg average over the three defects only:
    ``exclude_background=True``.

    After an evaluation, on rank 0:

    * ``confusion_matrix`` (np.ndarray): int64 pixel counts of shape (C, C), rows
      the label's class, columns the predicted one; None before an evaluation
      and with ``format_only``.
    * ``class_table`` (list[dict]): one row a class with the keys ``Class``,
      ``IoU``, ``PA/Recall``, ``Precision``, ``Dice`` and ``Fscore`` where asked
      for, and ``Pixels`` (the class's share of the labelled pixels, percent).
    * ``summary`` (dict): the means, without ``prefix``.

    Args:
        ignore_index (int): Label value that is left out. Defaults to 255.
        iou_metrics (str | Sequence[str]): What to report besides the five
            figures: ``'mDice'``, ``'mFscore'``. ``'mIoU'``, the default, is
            always reported.
        nan_to_num (None): IoUMetric's option is refused when set: ``absent``
            has taken its place.
        beta (float): Weight of recall in ``mFscore``. Defaults to 1.
        exclude_background (bool): Leave the background out of the means. The
            table still lists it, and aAcc stays over all pixels. Defaults to
            False.
        background_index (int): The class that ``exclude_background`` leaves out.
            Defaults to 0.
        absent (str): What an undefined figure of a class counts: ``'skip'``
            leaves it out of that mean (nan in the table), ``'zero'`` counts it
            as 0. Defaults to 'skip'.
        collect_device (str): How several processes hand their results over: 'gpu'
            by their process group, gloo on a CPU as well; 'cpu' by files in
            ``.dist_test`` in the current folder, which all machines must share.
            Defaults to 'gpu'.
        output_dir (str, optional): Folder for the predictions as PNG. Defaults
            to None: none are written.
        format_only (bool): Only write the predictions, for images without
            labels; needs ``output_dir``. Defaults to False.
        prefix (str, optional): Put before the names of the figures, as in
            'prefix/mIoU'. Defaults to None.

    Raises:
        ValueError: For an argument that is not listed above; and in evaluation
            when a label map holds a value that is neither a class nor
            ``ignore_index``, a prediction holds a value that is no class, or
            their sizes differ. The message names the image and the value.

    Example:
        >>> import torch
        >>> metric = DefectIoUMetric()
        >>> metric.dataset_meta = dict(classes=('background', 'scratch'))
        >>> sample = dict(
        ...     pred_sem_seg=dict(data=torch.tensor([[[0, 0, 1, 1]]])),
        ...     gt_sem_seg=dict(data=torch.tensor([[[0, 1, 1, 1]]])))
        >>> metric.process({}, [sample])
        >>> metric.evaluate(size=1)['mIoU']  # (1 / 2 + 2 / 3) / 2
        58.33
    """

    def __init__(self,
                 ignore_index: int = 255,
                 iou_metrics: str | Sequence[str] = ('mIoU', ),
                 nan_to_num: None = None,
                 beta: float = 1,
                 exclude_background: bool = False,
                 background_index: int = 0,
                 absent: str = 'skip',
                 collect_device: str = 'gpu',
                 output_dir: str | None = None,
                 format_only: bool = False,
                 prefix: str | None = None) -> None:
        if isinstance(iou_metrics, str):
            iou_metrics = [iou_metrics]
        unknown = sorted(set(iou_metrics) - {'mIoU', 'mDice', 'mFscore'})
        if unknown:
            raise ValueError(
                f'iou_metrics={list(iou_metrics)}: {unknown} not known, expected '
                "'mIoU', 'mDice' and 'mFscore'; mPA, mPrecision, mRecall and aAcc "
                'are always reported')
        if nan_to_num is not None:
            raise ValueError(
                f'nan_to_num={nan_to_num} is not supported: what an absent class '
                "counts is set by absent='skip' (left out of the mean) or "
                "absent='zero' (as nan_to_num=0)")
        if absent not in ('skip', 'zero'):
            raise ValueError(f"absent={absent!r}, expected 'skip' or 'zero'")
        if beta <= 0:
            raise ValueError(f'beta={beta}, expected a number above 0')
        if format_only and not output_dir:
            raise ValueError('format_only=True writes the predictions and needs '
                             'output_dir, which is not set')
        super().__init__(
            ignore_index=ignore_index,
            iou_metrics=list(iou_metrics),
            beta=beta,
            collect_device=collect_device,
            output_dir=output_dir,
            format_only=format_only,
            prefix=prefix)
        self.exclude_background = exclude_background
        self.background_index = background_index
        self.absent = absent
        self.confusion_matrix: np.ndarray | None = None
        self.class_table: list[dict] = []
        self.summary: dict[str, float] = {}

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Append one confusion matrix an image to ``results``.

        One an image, not one a batch: the collection over ranks cuts the list
        to the size of the data set, to drop what the sampler has repeated.

        Args:
            data_batch (dict): A batch of the dataloader; not used.
            data_samples (Sequence[dict]): Predictions with ``pred_sem_seg`` and,
                unless ``format_only``, ``gt_sem_seg``, each of shape (1, H, W).
        """
        for sample in data_samples:
            try:
                super().process(data_batch, [sample])
            except ValueError as error:
                image = sample.get('img_path', 'not named in the data sample')
                label = sample.get('seg_map_path', 'not named in the data sample')
                raise ValueError(
                    f'{error} (image: {image}; label map: {label})') from None

    def intersect_and_union(self, pred_label: torch.Tensor,
                            label: torch.Tensor, num_classes: int,
                            ignore_index: int) -> torch.Tensor:
        """Count the pairs of label and predicted class of one image.

        :meth:`IoUMetric.process` calls this for every image; where MMSegmentation
        returns four histograms, which drop what is outside the classes, this
        returns the whole matrix.

        Args:
            pred_label (torch.Tensor): Predicted classes of shape (H, W).
            label (torch.Tensor): Labels of shape (H, W).
            num_classes (int): Number of classes C.
            ignore_index (int): Label value that is left out.

        Returns:
            torch.Tensor: int64 of shape (C, C) on the CPU, rows label, columns
                prediction.
        """
        if pred_label.shape != label.shape:
            raise ValueError(
                f'the prediction is {tuple(pred_label.shape)} and the label map '
                f'{tuple(label.shape)} pixels (height, width); they must agree: '
                'put LoadAnnotations after the resize in the test pipeline')
        valid = label != ignore_index
        label, pred_label = label[valid].long(), pred_label[valid].long()
        classes = ', '.join(self.dataset_meta['classes'])
        for holder, values, way_out in (
            ('label map', label,
             f'or ignore_index={ignore_index}; give the masks class indices '
             '(tools/dataset_converters/color_masks_to_index.py) or set '
             'ignore_index'),
            ('prediction', pred_label,
             'only; set num_classes of the decode head to the number of classes '
             'of the data set'),
        ):
            outside = values[(values < 0) | (values >= num_classes)]
            if len(outside):
                found, counts = outside.unique(return_counts=True)
                shown = ', '.join(
                    f'{value} ({count} pixels)'
                    for value, count in zip(found.tolist()[:5], counts.tolist()))
                raise ValueError(
                    f'the {holder} holds the value {shown}, expected 0 to '
                    f'{num_classes - 1} ({classes}) {way_out}')
        pairs = num_classes * label + pred_label
        return torch.bincount(
            pairs, minlength=num_classes**2).reshape(num_classes, -1).cpu()

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Sum the matrices, log the table, return the means.

        Args:
            results (list[torch.Tensor]): One (C, C) matrix an image.

        Returns:
            dict[str, float]: aAcc, mIoU, mPA, mPrecision, mRecall and, where
                asked for, mDice and mFscore, in percent; nan where no class has
                the figure. Empty with ``format_only``.
        """
        logger = MMLogger.get_current_instance()
        self.confusion_matrix, self.class_table, self.summary = None, [], {}
        if self.format_only:
            logger.info(f'predictions are saved in {self.output_dir}')
            return {}

        names = list(self.dataset_meta['classes'])
        matrix = sum((r.numpy() for r in results),
                     start=np.zeros((len(names), len(names)), dtype=np.int64))
        figures = self._class_figures(matrix)
        if self.absent == 'zero':
            figures = {k: np.nan_to_num(v, nan=0.0) for k, v in figures.items()}
        kept = self._averaged_classes(names)

        total = max(matrix.sum(), 1)
        means = {'aAcc': matrix.trace() / total if matrix.any() else np.nan}
        for key, values in figures.items():
            defined = values[kept][~np.isnan(values[kept])]
            mean = defined.mean() if len(defined) else np.nan
            for name in key.split('/'):
                means['m' + name] = mean

        columns = dict(figures, Pixels=matrix.sum(axis=1) / total)
        self.confusion_matrix = matrix
        self.class_table = [
            dict(Class=name, **{
                key: round(100 * float(values[i]), 2)
                for key, values in columns.items()
            }) for i, name in enumerate(names)
        ]
        self._log_table(matrix, names, kept, logger)
        self.summary = {
            key: round(100 * float(value), 2)
            for key, value in means.items()
        }
        return dict(self.summary)

    def _class_figures(self, matrix: np.ndarray) -> dict[str, np.ndarray]:
        """The figures of every class as fractions, nan where undefined."""
        hit = np.diag(matrix)
        label, pred = matrix.sum(axis=1), matrix.sum(axis=0)
        figures = {
            'IoU': divide(hit, label + pred - hit),
            'PA/Recall': divide(hit, label),
            'Precision': divide(hit, pred),
        }
        if 'mDice' in self.metrics:
            figures['Dice'] = divide(2 * hit, label + pred)
        if 'mFscore' in self.metrics:
            # from the counts and not from precision and recall: a class that is
            # always missed scores 0 here and not nan
            beta2 = self.beta**2
            figures['Fscore'] = divide((1 + beta2) * hit, beta2 * label + pred)
        return figures

    def _averaged_classes(self, names: list[str]) -> list[int]:
        """Indices of the classes that the means are taken over."""
        if not self.exclude_background:
            return list(range(len(names)))
        if not 0 <= self.background_index < len(names):
            raise ValueError(
                f'background_index={self.background_index}, expected 0 to '
                f'{len(names) - 1}: the data set has {len(names)} classes, {names}')
        return [i for i in range(len(names)) if i != self.background_index]

    def _log_table(self, matrix: np.ndarray, names: list[str], kept: list[int],
                   logger: MMLogger) -> None:
        table = PrettyTable(field_names=[*self.class_table[0]])
        for name, *values in (row.values() for row in self.class_table):
            table.add_row([name, *(f'{value:.2f}' for value in values)])
        print_log(f'per class results, percent:\n{table.get_string()}', logger)
        if self.exclude_background:
            print_log(
                f'the means are over {", ".join(names[i] for i in kept)}; '
                f'{names[self.background_index]} is left out', logger)
        present = matrix.sum(axis=0) + matrix.sum(axis=1) > 0
        absent = [names[i] for i in kept if not present[i]]
        if absent:
            effect = ('count as 0 in' if self.absent == 'zero' else
                      'are left out of')
            print_log(
                f'neither labelled nor predicted, these classes {effect} the '
                f"means (absent='{self.absent}'): {', '.join(absent)}",
                logger,
                level=logging.WARNING)
