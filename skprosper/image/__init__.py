"""Images as data: patches, images from patches, whitening, denoising, inpainting."""

from .denoising import denoise
from .inpainting import inpaint
from .patches import extract_patches, reconstruct_from_patches
from .whitening import ZCAWhitening

__all__ = [
    "ZCAWhitening",
    "denoise",
    "extract_patches",
    "inpaint",
    "reconstruct_from_patches",
]
