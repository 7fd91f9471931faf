"""A trained segmentor as one module from the image to the logits."""

import copy
from pathlib import Path

from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn

from fastsegformer_mm.engine.checkpoint.digest import weights_digest
from fastsegformer_mm.engine.checkpoint.fit import check_fit
from fastsegformer_mm.engine.checkpoint.read import read_checkpoint
from fastsegformer_mm.utils.background import AUTO

from .config import open_config
from .errors import DeployError
from .model_card import ModelCard


class DeployNetwork(nn.Module):
    """From the normalised image to the logits at its size.

    What ``EncoderDecoder.encode_decode`` computes, without data samples and
    without the parts that only training has.

    Args:
        segmentor (EncoderDecoder): The network; it is copied.
        channels (int): Of its images: 3, or 1 for grey. Defaults to 3.

    Shape:
        - Input: ``[N, channels, H, W]`` float, normalised.
        - Output: ``[N, C, H, W]``.

    Raises:
        DeployError: The segmentor does not look at the whole image at once.
    """

    def __init__(self, segmentor: nn.Module, channels: int = 3):
        super().__init__()
        self.channels = channels
        mode = segmentor.test_cfg.get('mode', 'whole')
        if mode != 'whole':
            raise DeployError(
                f"test_cfg of the model has mode={mode!r}; expected 'whole': a sliding "
                'window runs the network many times a frame. Set '
                "model.test_cfg=dict(mode='whole')"
            )
        self.segmentor = copy.deepcopy(segmentor)
        self.segmentor.data_preprocessor = nn.Identity()
        if getattr(self.segmentor, 'auxiliary_head', None) is not None:
            # deep supervision: no test computes these
            self.segmentor.auxiliary_head = None
        self.align_corners = segmentor.align_corners
        self.eval().requires_grad_(False)

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        maps = self.segmentor.extract_feat(image)
        head = self.segmentor.decode_head
        if isinstance(head, nn.ModuleList):  # a cascade
            logits = head[0](maps)
            for part in head[1:]:
                logits = part(maps, logits)
        else:
            logits = head(maps)
        if isinstance(logits, (tuple, list)):
            logits = logits[0]
        if logits.shape[2:] == image.shape[2:]:
            return logits
        return resize(
            logits, image.shape[2:], None, 'bilinear', self.align_corners, False
        )


def load_network(config, checkpoint=None, cfg_options=None, allow_random=False):
    """Build a config's network, load its checkpoint, describe it.

    Args:
        config (str | Path | Config): Config of the network.
        checkpoint (str | Path, optional): Its weights; everything must fit. None for
            random weights, which ``allow_random`` must permit.
        cfg_options (dict, optional): Settings to override in the config.
        allow_random (bool): For benchmarks and tests. Defaults to False.

    Returns:
        tuple[DeployNetwork, ModelCard]: In evaluation mode, on the CPU.

    Raises:
        DeployError: There is no checkpoint, or the config cannot be deployed.
        CheckpointError: The checkpoint is broken or that of another network.
    """
    cfg = open_config(config, cfg_options)
    if checkpoint is None and not allow_random:
        raise DeployError(
            f'{cfg.filename}: no checkpoint was given, so that the network would be '
            'random; name the file that training wrote, work_dirs/NAME/best_mIoU_*.pth'
        )
    model_cfg = copy.deepcopy(cfg.model)
    # the checkpoint has all weights: nothing needs to be fetched first
    for part in ('init_cfg', 'pretrained'):
        model_cfg.pop(part, None)
    if 'backbone' in model_cfg and checkpoint is not None:
        model_cfg.backbone.pop('init_cfg', None)
    segmentor = MODELS.build(model_cfg)
    if not hasattr(segmentor, 'decode_head'):
        raise DeployError(
            f'{cfg.filename} builds a {type(segmentor).__name__}, not a segmentation '
            "network; of a distillation, deploy the student by the student's config"
        )
    name, digest, classes, background = '', '', None, AUTO
    if checkpoint is not None:
        content = read_checkpoint(checkpoint)
        weights = content.get('state_dict', content)
        weights = {k.removeprefix('module.'): v for k, v in weights.items()}
        meta = (content.get('meta') or {}).get('dataset_meta') or {}
        check_fit(
            segmentor,
            weights,
            checkpoint,
            partly=False,
            optional='auxiliary_head.',
            classes=meta.get('classes'),
        )
        segmentor.load_state_dict(weights, strict=False)
        if meta.get('classes') and meta.get('palette'):
            classes = (meta['classes'], meta['palette'])
            background = meta.get('background', AUTO)
        name, digest = Path(checkpoint).name, weights_digest(weights)
    card = ModelCard.from_config(cfg, segmentor, name, digest, classes, background)
    return DeployNetwork(segmentor, card.channels), card
