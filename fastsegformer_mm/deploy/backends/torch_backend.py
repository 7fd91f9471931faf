"""Eager PyTorch."""

import numpy as np
import torch


class TorchBackend:
    """Runs a network in PyTorch.

    Args:
        network (nn.Module): From the normalised image to the logits.
        device (str): 'cpu' or 'cuda:N'. Defaults to 'cpu'.
    """

    name = 'torch'

    def __init__(self, network, device: str = 'cpu'):
        self.device = torch.device(device)
        self.network = network.to(self.device).eval()

    @torch.inference_mode()
    def __call__(self, image: np.ndarray) -> np.ndarray:
        """(N, 3, H, W) float32 -> logits (N, C, H, W) float32."""
        out = self.network(torch.from_numpy(image).to(self.device))
        return out.float().cpu().numpy()
