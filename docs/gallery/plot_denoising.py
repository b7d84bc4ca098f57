"""
Denoising a photograph without knowing its noise
================================================

Spike-and-slab sparse coding learns its dictionary from the noisy photograph itself and
infers how strong the noise is. What remains of a patch is the posterior mean of its
sparse superposition.
"""

# %%
# A photograph that scikit-image ships, with Gaussian noise of standard deviation 25.

import matplotlib.pyplot as plt
import numpy as np
from skimage import data
from sklearn.callback import ProgressBar

from skprosper.image import denoise
from skprosper.metrics import psnr
from skprosper.plotting import ComponentsDisplay

image = data.camera()[::2, ::2]
noise = 25 * np.random.default_rng(0).standard_normal(image.shape)
noisy = image + noise

# %%
# `skprosper.image.denoise` is told nothing but the image. It fits two models: a coarse
# one of large patches, which gives the patches' means, and a fine one.

denoised, model = denoise(
    noisy, callbacks=[ProgressBar()], n_jobs=2, random_state=0, return_estimator=True
)
print(f"standard deviation of the noise, inferred  {model.noise_variance_**0.5:5.2f}")
print(f"standard deviation of the noise, true      {noise.std():5.2f}")
print(f"PSNR of the noisy photograph               {psnr(noisy, image, 255):5.2f} dB")
print(f"PSNR of the denoised photograph            {psnr(denoised, image, 255):5.2f} dB")
print(f"components active in a patch on average    {model.prior_.probability.sum():5.2f}")

# %%
# The photograph with its noise, without it, and what was taken away.

figure, axes = plt.subplots(1, 3, figsize=(12, 4.4), layout="constrained")
pictures = {"noisy": noisy, "denoised": denoised, "what was taken away": noisy - denoised + 128}
for ax, (title, picture) in zip(axes, pictures.items(), strict=True):
    ax.imshow(picture, cmap="gray", vmin=0, vmax=255)
    ax.set_title(title)
    ax.set_axis_off()

# %%
# Those components that contribute most to the photograph: edges, lines and textures.

share = model.prior_.probability * model.prior_.covariance
figure, ax = plt.subplots(figsize=(7, 7), layout="constrained")
strongest = np.argsort(share)[::-1][:256]
ComponentsDisplay.from_components(model.components_[strongest], image_shape=(8, 8), ax=ax)
ax.set_title(f"256 of {len(model.components_)} components")
plt.show()
