"""
Half of a photograph
====================

Half of the values of a photograph are missing, at random for each pixel and colour, and the
others have noise. A model of natural patches, fitted to what is there, fills in the rest
and takes the noise away, told nothing but which values are missing.
"""

# %%
# A photograph that scikit-image ships.

import matplotlib.pyplot as plt
import numpy as np
from skimage import data
from skimage.restoration import inpaint_biharmonic

from skprosper.image import inpaint
from skprosper.metrics import psnr

image = data.rocket()[60:316, 190:446].astype(float)
rng = np.random.default_rng(0)
missing = rng.random(image.shape) < 0.5
noisy = np.where(missing, np.nan, image + 10 * rng.standard_normal(image.shape))

# %%
# `skprosper.image.inpaint` beside the smoothest surface through the known values.

inpainted = inpaint(noisy, fast=True, channel_axis=-1, n_jobs=2, random_state=0)
known = np.where(missing, 0, noisy) / 255
channels = [inpaint_biharmonic(known[..., k].copy(), missing[..., k].copy()) for k in range(3)]
smooth = np.stack(channels, axis=-1)
pictures = {
    "half of it, with noise": np.where(missing, 0, noisy),
    "biharmonic inpainting": 255 * smooth,
    "skprosper": inpainted,
}
figure, axes = plt.subplots(1, 3, figsize=(12, 4.6), layout="constrained")
for ax, (title, picture) in zip(axes, pictures.items(), strict=True):
    ax.imshow(np.clip(picture, 0, 255).astype(np.uint8))
    ax.set_title(f"{title}\n{psnr(np.clip(picture, 0, 255), image, 255):.2f} dB")
    ax.set_axis_off()

# %%
# Told that there is no noise, it keeps the known values as they are.

clean = inpaint(
    image, missing, noise_variance=0, fast=True, channel_axis=-1, n_jobs=2, random_state=0
)
print(f"without noise {psnr(clean, image, 255):.2f} dB")
print(f"largest change of a known value {np.abs(clean - image)[~missing].max():.2f}")
plt.show()
