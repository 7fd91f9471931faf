"""The figures of the defect segmentation papers, from one confusion matrix."""
import difflib
import inspect
import logging
import os.path as osp
from collections.abc import Sequence

import numpy as np
import torch
from mmengine.logging import MMLogger, print_log
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS
from prettytable import PrettyTable

from fastsegformer_mm.utils.background import background_of, listed

from .confusion_matrix import class_figures, confusion_matrix


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
    ``exclude_background=True``. It takes the place of :class:`IoUMetric` in any
    config: what that metric takes, and what MMSegmentation's ``test.py`` adds for
    ``--out``, has the same effect here.

    After an evaluation, on rank 0:

    * ``confusion_matrix`` (np.ndarray): int64 pixel counts of shape (C, C), rows
      the label's class, columns the predicted one; None before an evaluation
      and with ``format_only``.
    * ``class_table`` (list[dict]): one row a class with the keys ``Class``,
      ``IoU``, ``PA/Recall``, ``Precision``, ``Dice`` and ``Fscore`` where asked
      for, and ``Pixels`` (the class's share of the labelled pixels, percent).
    * ``summary`` (dict): the means, without ``prefix``.
    * ``left_out`` (int): with ``exclude_background`` the class that was; else None.

    Args:
        ignore_index (int): Label value that is left out. Defaults to 255.
        iou_metrics (str | Sequence[str]): What to report besides the five
            figures: ``'mDice'``, ``'mFscore'``. ``'mIoU'``, the default, is
            always reported.
        nan_to_num (float, optional): What an undefined figure of a class counts, as
            a fraction: 0 is ``absent='zero'``. Defaults to None: ``absent`` decides.
        beta (float): Weight of recall in ``mFscore``. Defaults to 1.
        exclude_background (bool): Leave the background out of the means. The
            table still lists it, and aAcc stays over all pixels. Defaults to
            False.
        background_index (int, optional): The class that ``exclude_background`` leaves
            out. Defaults to None: the background of the data set, by
            ``metainfo.background`` or a known name, and class 0 where none is known.
        absent (str): What an undefined figure of a class counts: ``'skip'``
            leaves it out of that mean (nan in the table), ``'zero'`` counts it
            as 0. Defaults to 'skip'.
        collect_device (str): How several processes hand their results over: 'gpu'
            by their process group, gloo on a CPU as well; 'cpu' by files in
            ``.dist_test`` in the current folder, which all machines must share.
            Defaults to 'gpu'.
        output_dir (str, optional): Folder for the predictions as PNG of class
            indices, named like the images; with ``reduce_zero_label`` 1 more, as in
            the label maps. Defaults to None: none are written.
        format_only (bool): Only write the predictions, for images without
            labels; needs ``output_dir``. Defaults to False.
        prefix (str, optional): Put before the names of the figures, as in
            'prefix/mIoU'. Defaults to None.
        **kwargs: Ignored, as by IoUMetric: ``keep_results`` of ``test.py --out``, and
            others with a warning.

    Raises:
        TypeError: For an argument whose name looks like a misspelt one.
        ValueError: For a value that is not listed above; and in evaluation
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
                 nan_to_num: float | None = None,
                 beta: float = 1,
                 exclude_background: bool = False,
                 background_index: int | None = None,
                 absent: str = 'skip',
                 collect_device: str = 'gpu',
                 output_dir: str | None = None,
                 format_only: bool = False,
                 prefix: str | None = None,
                 **kwargs) -> None:
        self._check_names(kwargs)
        if isinstance(iou_metrics, str):
            iou_metrics = [iou_metrics]
        unknown = sorted(set(iou_metrics) - {'mIoU', 'mDice', 'mFscore'})
        if unknown:
            raise ValueError(
                f'iou_metrics={list(iou_metrics)}: {unknown} not known, expected '
                "'mIoU', 'mDice' and 'mFscore'; mPA, mPrecision, mRecall and aAcc "
                'are always reported')
        if absent not in ('skip', 'zero'):
            raise ValueError(f"absent={absent!r}, expected 'skip' or 'zero'")
        if absent == 'zero' and nan_to_num:
            raise ValueError(
                f"nan_to_num={nan_to_num} and absent='zero' contradict each other; "
                'leave one of them out')
        if beta <= 0:
            raise ValueError(f'beta={beta}, expected a number above 0')
        if format_only and not output_dir:
            raise ValueError('format_only=True writes the predictions and needs '
                             'output_dir, which is not set')
        super().__init__(
            ignore_index=ignore_index,
            iou_metrics=list(iou_metrics),
            nan_to_num=0 if absent == 'zero' else nan_to_num,
            beta=beta,
            collect_device=collect_device,
            output_dir=output_dir,
            format_only=format_only,
            prefix=prefix)
        self.exclude_background = exclude_background
        self.background_index = background_index
        self.left_out: int | None = None
        self.absent = absent
        self._saved: dict[str, str] = {}
        self.confusion_matrix: np.ndarray | None = None
        self.class_table: list[dict] = []
        self.summary: dict[str, float] = {}

    @classmethod
    def _check_names(cls, names) -> None:
        """Refuse arguments that are misspelt; warn of others that do nothing."""
        known = [n for n in inspect.signature(cls.__init__).parameters if n != 'self']
        for name in names:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.85)
            if near:
                raise TypeError(
                    f'DefectIoUMetric has no argument {name!r}; did you mean '
                    f'{near[0]!r}?')
            if name != 'keep_results':  # of test.py; IoUMetric does not use it either
                print_log(
                    f'DefectIoUMetric has no argument {name!r}, which is ignored; it '
                    f'has {", ".join(known[:-1])}', 'current', logging.WARNING)

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
                self._check_saved(sample)
            except ValueError as error:
                image = sample.get('img_path', 'not named in the data sample')
                label = sample.get('seg_map_path', 'not named in the data sample')
                raise ValueError(
                    f'{error} (image: {image}; label map: {label})') from None

    def _check_saved(self, sample: dict) -> None:
        """Warn when the prediction of another image has been overwritten."""
        if self.output_dir is None:
            return
        path = sample['img_path']
        stem = osp.splitext(osp.basename(path))[0]
        if self._saved.setdefault(stem, path) != path:
            print_log(
                f'{osp.join(self.output_dir, stem)}.png is overwritten: {path} and '
                f'{self._saved[stem]} have one name; test their folders one at a time',
                'current', logging.WARNING)
            self._saved[stem] = path

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
        return confusion_matrix(
            pred_label, label, self.dataset_meta['classes'], ignore_index)

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
        figures = class_figures(matrix, self.metrics, self.beta)
        if self.nan_to_num is not None:
            figures = {
                k: np.nan_to_num(v, nan=self.nan_to_num) for k, v in figures.items()
            }
        self.left_out = self._left_out(names) if self.exclude_background else None
        kept = [i for i in range(len(names)) if i != self.left_out]

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

    def _left_out(self, names: list[str]) -> int:
        """Index of the class that is left out of the means."""
        index = self.background_index
        if index is None:
            index = background_of(self.dataset_meta)
        if index is None:
            print_log(
                f'exclude_background=True leaves out class 0 ({names[0]}): none of '
                f'{listed(names)} is known as the background; give its position by '
                'background_index, or metainfo=dict(background=K) of the data set',
                'current', logging.WARNING)
            # said once, not after every epoch
            index = self.background_index = 0
        if not 0 <= index < len(names):
            raise ValueError(
                f'background_index={index}, expected 0 to {len(names) - 1}: the data '
                f'set has {len(names)} classes, {names}')
        return index

    def _log_table(self, matrix: np.ndarray, names: list[str], kept: list[int],
                   logger: MMLogger) -> None:
        table = PrettyTable(field_names=[*self.class_table[0]])
        for name, *values in (row.values() for row in self.class_table):
            table.add_row([name, *(f'{value:.2f}' for value in values)])
        print_log(f'per class results, percent:\n{table.get_string()}', logger)
        if self.left_out is not None:
            print_log(
                f'the means are over {", ".join(names[i] for i in kept)}; '
                f'{names[self.left_out]} is left out', logger)
        present = matrix.sum(axis=0) + matrix.sum(axis=1) > 0
        absent = [names[i] for i in kept if not present[i]]
        if absent:
            effect = ('are left out of' if self.nan_to_num is None else
                      f'count as {self.nan_to_num} in')
            print_log(
                f'neither labelled nor predicted, these classes {effect} the '
                f"means: {', '.join(absent)}",
                logger,
                level=logging.WARNING)
