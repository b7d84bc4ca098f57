"""How strong the noise of an image is: noise is the same everywhere, texture is not."""

import numpy as np
from scipy.ndimage import maximum_filter, minimum_filter, uniform_filter
from scipy.optimize import minimize
from scipy.special import expit, gammaincinv, logsumexp

from .patches import at_places, fitting, sides_like, windows_of

# Side of the patches that the noise is told from, and the share of the directions in which
# they vary least.
_NOISE_PATCH, _NOISE_SHARE = 5, 1 / 6
# Patches fit along each side of an image so often: those of small images are smaller.
_LEAST_TIMES = 3
# Least and largest shape of the gamma distribution of texture's variance. The larger, the nearer
# is texture to a Gaussian: at the largest it has the kurtosis of a Laplace distribution.
_TEXTURE_SHAPES = (0.05, 1.5)
# Quantiles that stand for the energies of all patches, and for the variances of their texture.
_QUANTILES, _TEXTURE_QUANTILES = 1000, 100
# Side of regions that are exactly flat or crowded with saturated pixels, share of an image's
# pixels at its least or largest value above which they are saturated, and of a region's.
_SILENT_SIDE, _SATURATED, _CROWDED = 5, 1e-3, 0.1
# Patches for each pixel of a patch that have to be left to estimate the noise from.
_LEAST_EVIDENCE = 4
# Places of patches that the noise is told from, of larger images drawn at random.
_MOST_PLACES = 2**18
# Side of a square window, and the share of them that are flattest.
_WINDOW, _FLATTEST = 7, 0.05
# Upper quartile of a standard normal number.
_QUARTILE = 0.6745
# Differences that a variance is told from, of more drawn at random.
_MOST_STEPS = 2**20
# Variance of differences, in units of that their quartiles tell, below which texture is all over.
_ALL_OVER = 2.5
# Noise below this share of the image's variance has no effect.
_LEAST_NOISE = 1e-5


def noise_beside_holes(pixels, n_space, random_state):
    """Estimate the noise variance of an image in which NaN is unknown.

    The smaller of two estimates. A plane is fitted to one half of the known pixels of every
    small window, and to the other half; where the first half is flattest, what is left of
    the second is noise. The other one is told by the differences of neighbours.
    """
    channels = np.moveaxis(pixels.reshape(*pixels.shape[:n_space], -1), -1, 0)
    told, left = [], []
    for channel in channels:
        half = random_state.random_sample(channel.shape) < 0.5
        rest = [_beside_planes(np.where(part, channel, np.nan)) for part in (half, ~half)]
        valid = np.isfinite(rest[0]) & np.isfinite(rest[1])
        told.append(rest[0][valid])
        left.append(rest[1][valid])
    estimates = []
    told, left = np.concatenate(told), np.concatenate(left)
    if told.size:
        estimates.append(left[told <= np.quantile(told, _FLATTEST)].mean())
    estimates.append(_noise_of_neighbours(channels, random_state))
    least = _LEAST_NOISE * np.nanvar(pixels, dtype=np.float64)
    return max(float(min((e for e in estimates if np.isfinite(e)), default=0.0)), least)


def _noise_of_neighbours(channels, random_state):
    """Return the noise variance that differences of neighbours tell, NaN where there are none.

    Half their variance, as their quartiles tell it: edges are outliers. Where there are few,
    texture is all over the image, and is no noise: pixels differ the less the nearer
    they are. Then it is what a line through the half variances at distances 1 and 2 is at
    distance 0, the nugget of the variogram [1]_, which may be below 0. A noise that is not
    found stays in the image; one that is not there would take the texture away.

    References
    ----------
    .. [1] Matheron (1963). Principles of geostatistics. Economic Geology 58.
    """
    (near, mean), (far, _) = (_semivariances(channels, h, random_state) for h in (1, 2))
    return 2.0 * near - far if mean < _ALL_OVER * near else near


def _semivariances(channels, distance, random_state):
    """Return half the variance of differences along the axes, told by their quartiles and all."""
    steps = []
    for axis in range(1, channels.ndim):
        values = np.moveaxis(channels, axis, 0)
        step = values[distance:] - values[:-distance]
        steps.append(step[np.isfinite(step)])
    steps = np.concatenate(steps)
    if not steps.size:
        return np.nan, np.nan
    if steps.size > _MOST_STEPS:
        steps = steps[random_state.randint(steps.size, size=_MOST_STEPS)]
    # those of integers tie: half of what is equal to a quartile is below it
    values, counts = np.unique(steps, return_counts=True)
    low, high = np.interp([0.25, 0.75], (np.cumsum(counts) - 0.5 * counts) / steps.size, values)
    return 0.5 * (0.5 * (high - low) / _QUARTILE) ** 2, 0.5 * np.mean(steps**2)


def _beside_planes(channel):
    """Return the variance about the plane fitted to each window, NaN where none is told."""
    seen = np.isfinite(channel)
    n_terms = channel.ndim + 1
    side = fitting(sides_like(_WINDOW, channel.ndim), channel.shape)

    def summed(values):
        return at_places(uniform_filter(np.where(seen, values, 0.0), side), side) * np.prod(side)

    values = np.where(seen, channel, 0.0).astype(np.float64)
    # coordinates within a window are small: those of the image, less the window's
    axes = np.meshgrid(*(np.arange(n, dtype=np.float64) for n in channel.shape), indexing="ij")
    terms = [np.ones(channel.shape)] + [axis - axis.mean() for axis in axes]
    count = summed(1.0)
    gram = np.empty(count.shape + (n_terms, n_terms))
    product = np.empty(count.shape + (n_terms,))
    for i, term in enumerate(terms):
        product[..., i] = summed(term * values)
        for k, other in enumerate(terms[: i + 1]):
            gram[..., i, k] = gram[..., k, i] = summed(term * other)
    square = summed(values**2)
    # about the mean of the window: sums over a whole image would cancel
    mean = gram[..., 0] / np.maximum(count, 1.0)[..., None]
    level = product[..., 0] / np.maximum(count, 1.0)
    gram = gram[..., 1:, 1:] - count[..., None, None] * mean[..., 1:, None] * mean[..., None, 1:]
    product = product[..., 1:] - count[..., None] * mean[..., 1:] * level[..., None]
    square = square - count * level**2
    freedom = np.round(count) - n_terms
    # enough pixels, not on a line
    sound = (freedom >= 2) & (np.linalg.det(gram) > 1e-3 * np.prod(side))
    result = np.full(count.shape, np.nan)
    slope = np.linalg.solve(gram[sound], product[sound][..., None])[..., 0]
    rest = square[sound] - np.sum(slope * product[sound], axis=-1)
    result[sound] = np.maximum(rest, 0.0) / freedom[sound]
    return result


def noise_of_patches(pixels, n_space, random_state):
    """Estimate the noise variance from directions in which patches vary least.

    Not from patches that touch what is exactly flat, or much of which is saturated, unless
    there are few others.
    """
    space = pixels.shape[:n_space]
    side = fitting(
        sides_like(_NOISE_PATCH, n_space), (max(1, length // _LEAST_TIMES) for length in space)
    )
    n_places = np.prod([length - n + 1 for length, n in zip(space, side)])
    chosen = np.arange(n_places)
    if n_places > _MOST_PLACES:
        chosen = np.sort(random_state.choice(n_places, _MOST_PLACES, replace=False))
    patches, silent = [], []
    for channel in np.moveaxis(pixels.reshape(*space, -1), -1, 0):
        windows = windows_of(channel, side)
        places = np.unravel_index(chosen, windows.shape[:n_space])
        patches.append(windows[places].reshape(len(chosen), -1))
        silent.append(at_places(maximum_filter(_silent(channel), side), side)[places])
    patches, silent = np.concatenate(patches).astype(np.float64), np.concatenate(silent)
    for level in (0, 1):
        heard = silent <= level
        if heard.sum() > _LEAST_EVIDENCE * patches.shape[1]:
            patches = patches[heard]
            break
    return max(_noise_amid_texture(patches), _LEAST_NOISE * patches.var())


def _silent(channel):
    """Return where the noise does not show: 2 in exactly flat regions, 1 where saturated."""
    flat = maximum_filter(channel, _SILENT_SIDE) == minimum_filter(channel, _SILENT_SIDE)
    result = 2 * maximum_filter(flat, _SILENT_SIDE).astype(np.int8)
    for extreme in (channel.min(), channel.max()):
        saturated = channel == extreme
        if saturated.mean() > _SATURATED:
            # alone it may be what the image holds there; among others it is clipped
            crowded = uniform_filter(saturated.astype(np.float64), _SILENT_SIDE) > _CROWDED
            result = np.maximum(result, crowded)
    return result


def _noise_amid_texture(patches):
    """Return the variance of noise along the directions in which patches vary least.

    Along principal axes of the patches' covariance. What texture there is varies from patch to
    patch, noise does not: a patch of energy e, its mean square along K axes, has

        e ~ (noise + t) chi2_K / K,    t ~ Gamma(shape, mean),

    a scale mixture of Gaussians [1]_, all three parameters by maximum likelihood. There may be no
    texture: the logarithms of both estimates are averaged by their Akaike weights [2]_.

    References
    ----------
    .. [1] Wainwright and Simoncelli (2000). Scale mixtures of Gaussians and the statistics of
       natural images. Advances in Neural Information Processing Systems 12.
    .. [2] Burnham and Anderson (2002). Model selection and multimodel inference. Springer.
    """
    variances, axes = np.linalg.eigh(np.atleast_2d(np.cov(patches, rowvar=False)))
    n_axes = max(1, int(_NOISE_SHARE * len(axes)))
    least = variances[:n_axes].mean()
    if not least > _LEAST_NOISE * variances.mean():
        return 0.0
    along = (patches - patches.mean(axis=0)) @ axes[:, :n_axes]
    # in units of their mean, whatever the axis
    along /= np.sqrt(np.maximum(variances[:n_axes], _LEAST_NOISE * least))
    energies = np.quantile(np.mean(along**2, axis=1), _levels(_QUANTILES))
    levels = _levels(_TEXTURE_QUANTILES)

    def cost(logarithms):
        noise, texture, shape = np.exp(logarithms)
        local = noise + texture * gammaincinv(shape, levels) / shape
        density = -0.5 * n_axes * (np.log(local) + energies[:, None] / local)
        return -logsumexp(density, axis=1).mean()

    low, high = _TEXTURE_SHAPES
    bounds = np.log([(_LEAST_NOISE, 2.0), (_LEAST_NOISE, 1e2), (low, high)])
    start = np.log([0.7, 0.3, (low * high) ** 0.5])
    found = minimize(cost, start, method="Nelder-Mead", bounds=bounds)
    noise_alone = 0.5 * n_axes * (np.log(energies.mean()) + 1.0) - np.log(len(levels))
    # patches overlap: so many are independent, or more; texture has two parameters
    n_patches = len(patches) / len(axes)
    share = expit(n_patches * (noise_alone - found.fun) - 2.0)
    return least * np.exp(share * found.x[0])


def _levels(n):
    """Return the levels of n equally likely quantiles."""
    return (np.arange(n) + 0.5) / n
