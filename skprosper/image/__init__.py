"""Images as data: patches, images from patches, whitening, denoising."""

from .denoising import denoise
from .patches import extract_patches, reconstruct_from_patches
from .whitening import ZCAWhitening

__all__ = ["ZCAWhitening", "denoise", "extract_patches", "reconstruct_from_patches"]
