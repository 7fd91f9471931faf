"""Pictures of what the networks see and say."""
from .contact_sheet import contact_sheet
from .network_input import NetworkFeed, NetworkInput
from .overlay_sheet import overlay_sheet, pick_samples

__all__ = [
    'NetworkFeed',
    'NetworkInput',
    'contact_sheet',
    'overlay_sheet',
    'pick_samples',
]
