"""Pictures of what the networks see and say."""
from .overlay_sheet import overlay_sheet, pick_samples

__all__ = ['overlay_sheet', 'pick_samples']
