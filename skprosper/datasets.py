"""Data sets with known components, and patches of natural images.

The generators draw from the models themselves: codes from a prior, a superposition of
the active components, Gaussian noise on top.
"""

from numbers import Integral, Real

import numpy as np
from sklearn.datasets import load_sample_image
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import (
    Interval,
    StrOptions,
    validate_params,
)

from skprosper.image import ZCAWhitening, extract_patches

__all__ = [
    "load_image_patches",
    "make_bars",
    "make_bars_components",
    "make_sparse_coding",
    "make_spectrograms",
]

_LUMINANCE = (0.2126, 0.7152, 0.0722)  # of red, green, blue: ITU-R BT.709
_NOTE_LENGTH = 8  # mean number of frames for which a source of a spectrogram sounds

_SPARSE_CODING_CONSTRAINTS = {
    "n_samples": [Interval(Integral, 1, None, closed="left")],
    "prior": [StrOptions({"binary", "ternary", "discrete", "spike-slab"})],
    "n_active": [Interval(Real, 0, None, closed="neither")],
    "values": ["array-like"],
    "probabilities": ["array-like", None],
    "superposition": [StrOptions({"linear", "maximum", "magnitude-maximum"})],
    "noise": [Interval(Real, 0, None, closed="left")],
    "random_state": ["random_state"],
}


@validate_params(
    {"components": ["array-like"], **_SPARSE_CODING_CONSTRAINTS},
    prefer_skip_nested_validation=True,
)
def make_sparse_coding(
    components,
    n_samples=1000,
    *,
    prior="binary",
    n_active=2.0,
    values=(0, 1, 2),
    probabilities=None,
    superposition="linear",
    noise=1.0,
    random_state=None,
):
    """Draw data from a sparse coding model with the given components.

    Codes s are drawn independently over components; the data are
    ``y ~ N(superposition(s, components), noise ** 2)``.

    Parameters
    ----------
    components : array-like of shape (n_components, n_features)
        The dictionary W. Non-negative for ``superposition="maximum"``.
    n_samples : int, default=1000
        Number of data points.
    prior : {"binary", "ternary", "discrete", "spike-slab"}, default="binary"
        What an active component takes for its code: 1; -1 or 1 with equal
        probability; one of `values`; a draw from N(1, 1).
    n_active : float, default=2.0
        Mean number of active components per data point: each is active with
        probability ``n_active / n_components``. Not used where `probabilities`
        is given.
    values : array-like of shape (n_values,), default=(0, 1, 2)
        The values of a code for ``prior="discrete"``, zero included.
    probabilities : array-like of shape (n_values,), default=None
        The probability of each of `values`, for ``prior="discrete"`` alone. With None
        the values other than zero share the probability of being active evenly.
    superposition : {"linear", "maximum", "magnitude-maximum"}, default="linear"
        How active components combine in one feature: their sum; the largest (zero
        where nothing is above it); the one of largest magnitude, sign kept.
    noise : float, default=1.0
        Standard deviation of the Gaussian noise, in the units of `components`.
    random_state : int, RandomState instance or None, default=None
        Determines the codes and the noise.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features), dtype float64
        The data.
    codes : ndarray of shape (n_samples, n_components), dtype float64
        The codes that generated each data point.

    Raises
    ------
    ValueError
        If more components shall be active than there are, if `values` and
        `probabilities` do not describe a distribution with one zero, or if
        components of a maximum superposition are negative.

    Examples
    --------
    >>> from skprosper.datasets import make_sparse_coding
    >>> X, codes = make_sparse_coding(
    ...     [[1, 0, 2], [0, 3, 0]], 4, n_active=1, noise=0, random_state=0
    ... )
    >>> codes
    array([[1., 1.],
           [1., 1.],
           [0., 1.],
           [0., 1.]])
    >>> X
    array([[1., 3., 2.],
           [1., 3., 2.],
           [0., 3., 0.],
           [0., 3., 0.]])
    """
    components = check_array(components, dtype=np.float64, input_name="components")
    if superposition == "maximum" and components.min() < 0:
        raise ValueError(
            "superposition='maximum' needs components >= 0, got a smallest entry of "
            f"{components.min():g}. Use superposition='magnitude-maximum' for "
            "components of any sign."
        )
    if probabilities is not None and prior != "discrete":
        raise ValueError(
            f"probabilities belong to prior='discrete', got prior={prior!r}. Use "
            "n_active to say how many components are active."
        )
    rng = check_random_state(random_state)
    shape = (n_samples, len(components))
    if prior == "spike-slab":
        values, probabilities = _code_distribution("binary", n_active, shape[1])
        codes = rng.choice(values, size=shape, p=probabilities)
        codes = codes * rng.normal(loc=1.0, scale=1.0, size=shape)
    else:
        values, probabilities = _code_distribution(prior, n_active, shape[1], values, probabilities)
        codes = rng.choice(values, size=shape, p=probabilities)
    X = _superpose(codes, components, superposition)
    X += noise * rng.standard_normal(X.shape)
    return X, codes


def _code_distribution(prior, n_active, n_components, values=None, probabilities=None):
    """The values of a code and their probabilities."""
    if prior == "discrete" and probabilities is not None:
        values = _check_values(values)
        return values, _check_probabilities(probabilities, values)
    active = n_active / n_components
    if active > 1:
        raise ValueError(
            f"n_active={n_active:g} is more than the {n_components} components. "
            "Lower n_active or give more components."
        )
    if prior == "binary":
        values = np.array([0.0, 1.0])
    elif prior == "ternary":
        values = np.array([-1.0, 0.0, 1.0])
    else:
        values = _check_values(values)
    shared = active / (len(values) - 1)
    return values, np.where(values == 0, 1 - active, shared)


def _check_values(values):
    values = check_array(values, dtype=np.float64, ensure_2d=False, input_name="values")
    if values.ndim != 1 or len(values) < 2 or np.count_nonzero(values == 0) != 1:
        raise ValueError(
            "values must list zero once and at least one other value, as in (0, 1, 2); "
            f"got {values.tolist()}."
        )
    return values


def _check_probabilities(probabilities, values):
    probabilities = check_array(
        probabilities, dtype=np.float64, ensure_2d=False, input_name="probabilities"
    )
    if (
        probabilities.shape != values.shape
        or probabilities.min() < 0
        or not np.isclose(probabilities.sum(), 1)
    ):
        raise ValueError(
            f"probabilities must hold one probability >= 0 for each of the "
            f"{len(values)} values and sum to 1; got {probabilities.tolist()}."
        )
    return probabilities / probabilities.sum()


def _superpose(codes, components, superposition):
    """Noiseless data of shape (n_samples, n_features)."""
    if superposition == "linear":
        return codes @ components
    mean = np.zeros((len(codes), components.shape[1]))
    for code, component in zip(codes.T, components, strict=True):
        part = np.outer(code, component)
        if superposition == "maximum":
            np.maximum(mean, part, out=mean)
        else:
            np.copyto(mean, part, where=np.abs(part) > np.abs(mean))
    return mean


@validate_params(
    {
        "size": [Interval(Integral, 2, None, closed="left")],
        "amplitude": [Interval(Real, 0, None, closed="neither")],
        "signed": ["boolean"],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_bars_components(size=5, *, amplitude=10.0, signed=False, random_state=None):
    """Make the components of the bars test: the rows and columns of a square image.

    Parameters
    ----------
    size : int, default=5
        Side of the image in pixels.
    amplitude : float, default=10.0
        Value of a bar's pixels; all others are zero.
    signed : bool, default=False
        Whether to give each bar a random sign.
    random_state : int, RandomState instance or None, default=None
        Determines the signs.

    Returns
    -------
    components : ndarray of shape (2 * size, size ** 2), dtype float64
        The horizontal bars from top to bottom, then the vertical ones from left to
        right. A row is an image of shape (size, size).

    Examples
    --------
    >>> from skprosper.datasets import make_bars_components
    >>> make_bars_components(2, amplitude=1)
    array([[1., 1., 0., 0.],
           [0., 0., 1., 1.],
           [1., 0., 1., 0.],
           [0., 1., 0., 1.]])
    """
    bars = np.zeros((2 * size, size, size))
    line = np.arange(size)
    bars[line, line, :] = amplitude
    bars[size + line, :, line] = amplitude
    if signed:
        rng = check_random_state(random_state)
        bars *= rng.choice([-1.0, 1.0], size=(2 * size, 1, 1))
    return bars.reshape(2 * size, -1)


@validate_params(
    {
        **_SPARSE_CODING_CONSTRAINTS,
        "size": [Interval(Integral, 2, None, closed="left")],
        "amplitude": [Interval(Real, 0, None, closed="neither")],
        "signed": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def make_bars(
    n_samples=1000,
    *,
    size=5,
    amplitude=10.0,
    signed=False,
    prior="binary",
    n_active=2.0,
    values=(0, 1, 2),
    probabilities=None,
    superposition="linear",
    noise=2.0,
    random_state=None,
):
    """Draw data of the bars test: images in which horizontal and vertical bars overlap.

    The components are the ``2 * size`` bars of :func:`make_bars_components`, each
    active with probability ``n_active / (2 * size)``. The bars test [1]_ is the
    standard check of whether a model finds the causes of its data; with
    ``superposition="maximum"`` it is that of [2]_.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of images.
    size : int, default=5
        Side of an image in pixels.
    amplitude : float, default=10.0
        Value of a bar's pixels.
    signed : bool, default=False
        Whether to give each bar a random sign.
    prior : {"binary", "ternary", "discrete", "spike-slab"}, default="binary"
        What an active bar takes for its code: 1; -1 or 1 with equal probability; one
        of `values`; a draw from N(1, 1).
    n_active : float, default=2.0
        Mean number of active bars per image. Not used where `probabilities` is given.
    values : array-like of shape (n_values,), default=(0, 1, 2)
        The values of a code for ``prior="discrete"``, zero included.
    probabilities : array-like of shape (n_values,), default=None
        The probability of each of `values`, for ``prior="discrete"`` alone. With None
        the values other than zero share the probability of being active evenly.
    superposition : {"linear", "maximum", "magnitude-maximum"}, default="linear"
        How active bars combine in one pixel.
    noise : float, default=2.0
        Standard deviation of the Gaussian noise, in the units of `amplitude`.
    random_state : int, RandomState instance or None, default=None
        Determines the signs, the codes and the noise.

    Returns
    -------
    X : ndarray of shape (n_samples, size ** 2), dtype float64
        The images, one per row.
    codes : ndarray of shape (n_samples, 2 * size), dtype float64
        The codes that generated each image.
    components : ndarray of shape (2 * size, size ** 2), dtype float64
        The bars.

    Raises
    ------
    ValueError
        As :func:`make_sparse_coding`; signed bars have no maximum superposition.

    See Also
    --------
    make_sparse_coding : The same for components of your own.

    References
    ----------
    .. [1] P. Foldiak. Forming sparse representations by local anti-Hebbian learning.
       Biological Cybernetics 64, 165-170, 1990.
    .. [2] J. Luecke and M. Sahani. Maximal causes for non-linear component
       extraction. Journal of Machine Learning Research 9, 1227-1267, 2008.

    Examples
    --------
    The data of each of the six models:

    >>> from skprosper.datasets import make_bars
    >>> X, codes, components = make_bars(random_state=0)
    >>> X.shape, codes.shape, components.shape
    ((1000, 25), (1000, 10), (10, 25))
    >>> ternary = make_bars(prior="ternary")
    >>> discrete = make_bars(
    ...     prior="discrete", values=(0, 1, 2), probabilities=(0.8, 0.15, 0.05)
    ... )
    >>> spike_slab = make_bars(prior="spike-slab")
    >>> maximal_causes = make_bars(superposition="maximum")
    >>> magnitude = make_bars(superposition="magnitude-maximum", signed=True)
    """
    rng = check_random_state(random_state)
    components = make_bars_components(size, amplitude=amplitude, signed=signed, random_state=rng)
    X, codes = make_sparse_coding(
        components,
        n_samples,
        prior=prior,
        n_active=n_active,
        values=values,
        probabilities=probabilities,
        superposition=superposition,
        noise=noise,
        random_state=rng,
    )
    return X, codes, components


@validate_params(
    {
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "n_features": [Interval(Integral, 32, None, closed="left")],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "n_active": [Interval(Real, 0, None, closed="neither")],
        "noise": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_spectrograms(
    n_samples=1000,
    n_features=100,
    *,
    n_components=8,
    n_active=2.0,
    noise=2.0,
    random_state=None,
):
    """Draw frames of a log-power spectrogram in which harmonic sources sound together.

    Powers add, so their logarithms nearly take the maximum [1]_: with the spectra
    W_h in decibels above a background of 0 dB,

    ``y_d = 10 log10(1 + sum_h s_h (10^(W_hd / 10) - 1)) ~ max_h s_h W_hd``

    is exact where one source sounds, and off by at most ``10 log10(k)`` dB where k do.
    Maximal Causes Analysis is the model that fits.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of frames, consecutive in time: a source that starts sounds for eight
        frames on average.
    n_features : int, default=100
        Number of frequency bins, at least 32, on a linear frequency axis.
    n_components : int, default=8
        Number of sources. Their fundamental frequencies rise geometrically over two
        octaves.
    n_active : float, default=2.0
        Mean number of sources that sound in a frame.
    noise : float, default=2.0
        Standard deviation of the Gaussian noise, in dB.
    random_state : int, RandomState instance or None, default=None
        Determines the codes and the noise.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features), dtype float64
        The frames, in dB above the background.
    codes : ndarray of shape (n_samples, n_components), dtype float64
        1 where a source sounds, 0 where it is silent.
    components : ndarray of shape (n_components, n_features), dtype float64
        The spectra of the sources, in dB above the background.

    Raises
    ------
    ValueError
        If more sources shall sound than there are.

    References
    ----------
    .. [1] S. T. Roweis. Factorial models and refiltering for speech separation and
       denoising. Eurospeech, 1009-1012, 2003.

    Examples
    --------
    >>> from skprosper.datasets import make_spectrograms
    >>> X, codes, components = make_spectrograms(200, random_state=0)
    >>> X.shape, codes.shape, components.shape
    ((200, 100), (200, 8), (8, 100))
    """
    if n_active > n_components:
        raise ValueError(
            f"n_active={n_active:g} is more than n_components={n_components}. Lower "
            "n_active or raise n_components."
        )
    rng = check_random_state(random_state)
    components = _harmonic_spectra(n_components, n_features)
    codes = _held_notes(n_samples, n_components, n_active / n_components, rng)
    power = codes @ (10 ** (components / 10) - 1)
    X = 10 * np.log10(1 + power)
    X += noise * rng.standard_normal(X.shape)
    return X, codes, components


def _harmonic_spectra(n_components, n_features):
    """Peaks at the multiples of each fundamental, falling by 9 dB per octave."""
    fundamentals = np.geomspace(n_features / 20, n_features / 5, n_components)
    harmonics = np.arange(1, 21)
    peaks = np.outer(fundamentals, harmonics)
    levels = 40 - 9 * np.log2(harmonics)
    width = n_features / 125
    distance = np.arange(n_features) - peaks[:, :, np.newaxis]
    power = 10 ** (levels[:, np.newaxis] / 10) * np.exp(-((distance / width) ** 2) / 2)
    return 10 * np.log10(1 + power.sum(axis=1))


def _held_notes(n_samples, n_components, probability, rng):
    """A two-state Markov chain per source, stationary at the given probability.

    Each frame keeps a source's state, or draws it anew at a rate that gives sounding
    its mean length; whichever is drawn, the stationary distribution stays.
    """
    renewal = 1 / max(_NOTE_LENGTH * (1 - probability), 1)
    drawn = rng.uniform(size=(n_samples, n_components)) < probability
    renewed = rng.uniform(size=(n_samples, n_components)) < renewal
    renewed[0] = True
    latest = np.where(renewed, np.arange(n_samples)[:, np.newaxis], 0)
    latest = np.maximum.accumulate(latest, axis=0)
    return np.take_along_axis(drawn, latest, axis=0).astype(np.float64)


@validate_params(
    {
        "n_patches": [Interval(Integral, 2, None, closed="left")],
        "image": [
            StrOptions({"china", "flower", "astronaut", "brick", "camera", "grass", "gravel"})
        ],
        "patch_size": [Interval(Integral, 1, None, closed="left"), tuple],
        "whiten": ["boolean"],
        "dtype": "no_validation",
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def load_image_patches(
    n_patches=10000,
    *,
    image="china",
    patch_size=8,
    whiten=True,
    dtype=np.float64,
    random_state=None,
):
    """Load random patches of a photograph that scikit-learn or scikit-image ships.

    Nothing is downloaded. Colour photographs are turned to luminance.

    Parameters
    ----------
    n_patches : int, default=10000
        Number of patches, drawn at random places.
    image : {"china", "flower", "astronaut", "brick", "camera", "grass", "gravel"}, \
            default="china"
        The photograph. The first two come with scikit-learn and need Pillow; the
        others come with scikit-image.
    patch_size : int or tuple of two ints, default=8
        Height and width of a patch in pixels.
    whiten : bool, default=True
        Whether to subtract from each patch its mean and to whiten the patches with
        :class:`~skprosper.image.ZCAWhitening`. Without, pixels lie in [0, 1].
    dtype : {np.float64, np.float32}, default=np.float64
        The dtype of the result.
    random_state : int, RandomState instance or None, default=None
        Determines the places.

    Returns
    -------
    X : ndarray of shape (n_patches, height * width), dtype `dtype`
        The patches, one per row.

    Raises
    ------
    ValueError
        If a patch does not fit into the photograph or `dtype` is another.
    ImportError
        If the package that reads or ships the photograph is not installed.

    Examples
    --------
    >>> from skprosper.datasets import load_image_patches
    >>> load_image_patches(100, patch_size=(6, 8), random_state=0).shape
    (100, 48)
    """
    if np.dtype(dtype) not in (np.float64, np.float32):
        raise ValueError(f"dtype must be np.float64 or np.float32, got {dtype!r}.")
    patches = extract_patches(
        _load_photograph(image).astype(dtype),
        patch_size,
        max_patches=n_patches,
        random_state=random_state,
    )
    if not whiten:
        return patches
    # Without its mean brightness a patch shows structure alone; the share of noise
    # among what is left is large, hence the epsilon.
    patches -= patches.mean(axis=1, keepdims=True)
    whitening = ZCAWhitening(epsilon=0.1).set_output(transform="default")
    return whitening.fit_transform(patches)


def _load_photograph(name):
    """The luminance of a photograph, in [0, 1]."""
    if name in ("china", "flower"):
        photograph = load_sample_image(f"{name}.jpg")
    else:
        try:
            from skimage import data
        except ImportError as error:
            raise ImportError(
                f"image={name!r} comes with scikit-image: pip install scikit-image, "
                "or use image='china'."
            ) from error
        photograph = getattr(data, name)()
    if photograph.ndim == 3:
        photograph = photograph @ np.array(_LUMINANCE)
    return photograph / 255
