"""An artefact in the making against MMSegmentation, on one set of frames."""

from mmengine.config import Config

from ..backends.base import Backend
from ..errors import DeployError
from ..model_card import ModelCard
from ..network import DeployNetwork
from . import parity
from .options import ExportOptions
from .parity import Parity
from .parts import Part
from .reference import Reference
from .samples import find_samples


class Comparison:
    """What MMSegmentation finds in the frames, and what an artefact does.

    Args:
        cfg (Config): A whole config, with the scope of its registries set.
        network (DeployNetwork): As it was trained.
        card (ModelCard): Of the artefact.
        options (ExportOptions): Which frames, and what is allowed.

    Raises:
        DeployError: The frames cannot be read, or have no labels where they are
            needed.
    """

    def __init__(
        self,
        cfg: Config,
        network: DeployNetwork,
        card: ModelCard,
        options: ExportOptions,
    ):
        self.cfg = cfg
        self.network = network
        self.card = card
        samples = find_samples(
            cfg, options.split, options.images, options.labels, options.num
        )
        self.samples = samples
        self.tolerance = parity.tolerances(card, samples.labelled, options.tolerance)
        if options.max_drop is not None and not samples.labelled:
            raise DeployError(
                f'--max-drop {options.max_drop} needs labelled images to measure mIoU '
                'on; name some by --images and --labels, or --split'
            )
        self.reference = Reference(cfg, network)
        self.cases = list(self.reference.cases(samples))

        self.miou = None
        if samples.labelled:
            self.miou = self._miou([case.mask for case in self.cases])

    def miou_of(self, infer: Backend) -> float:
        """mIoU of an artefact, in percent; ``miou`` is that of MMSegmentation."""
        return self._miou(parity.masks(infer, self.card, self.cases, self.reference))

    def judge(
        self, build, before: Part | None, after: Part | None
    ) -> tuple[Parity, dict[str, str]]:
        """Finish an artefact and compare it.

        Args:
            build (OnnxBuild | OpenVinoBuild): The artefact in the making.
            before (Part, optional): What comes before the network in its graph.
            after (Part, optional): What comes after it.

        Returns:
            tuple: The comparison, and versions of the packages that computed.
        """
        infer = build.run_network()
        logits, largest = parity.logit_difference(infer, self.cases)
        image = self.cases[0].image
        others = parity.other_sizes(infer, self.network, self.card, image)
        # one at a time is in memory
        infer.close()
        infer = build.finish(before, after)
        masks = parity.masks(infer, self.card, self.cases, self.reference)
        found = Parity(
            images=len(self.cases),
            source=self.samples.source,
            synthetic=self.samples.synthetic,
            computed_in=infer.precision,
            logits=logits,
            largest=largest,
            equal=parity.equal_share(masks, self.cases),
            other_sizes=others,
            tolerance=self.tolerance,
        )
        if self.samples.labelled:
            found.miou = (self.miou, self._miou(masks))
        versions = infer.versions()
        infer.close()
        return found, versions

    def _miou(self, masks):
        return parity.mean_iou(self.cfg, self.card, masks, self.cases)
