"""How well known components were found, and how well images were restored."""

from numbers import Real

import numpy as np
from scipy import linalg
from scipy.optimize import linear_sum_assignment, nnls
from sklearn.utils import check_array
from sklearn.utils._param_validation import Interval, validate_params

__all__ = [
    "amari_distance",
    "distinct_components",
    "match_components",
    "psnr",
    "recovered_components",
]

# A component that explains less than this share of what the strongest one does is faint.
_FAINT = 0.1
# One is made of up to three others where they leave less of its square.
_MADE_OF, _LEFT = 3, 0.25


@validate_params(
    {
        "learned": ["array-like"],
        "true": ["array-like"],
        "ignore_sign": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def match_components(learned, true, *, ignore_sign=False):
    """Pair learned components with true ones, one to one, by cosine similarity.

    The assignment maximises the sum of the cosines over the pairs. Lengths of the
    components do not matter; a component of zeros has cosine 0 to all others.

    Parameters
    ----------
    learned : array-like of shape (n_learned, n_features)
        Learned components.
    true : array-like of shape (n_true, n_features)
        True components.
    ignore_sign : bool, default=False
        Whether a component and its negative count as the same, as they do under a
        prior symmetric about zero such as the ternary one.

    Returns
    -------
    learned_index : ndarray of shape (n_pairs,), dtype int
        Rows of `learned`, n_pairs being the smaller of n_learned and n_true.
    true_index : ndarray of shape (n_pairs,), dtype int
        The rows of `true` they are paired with, ascending.
    cosine : ndarray of shape (n_pairs,), dtype float64
        The cosine of each pair. It is negative where the two point in opposite
        directions, with `ignore_sign` too.

    Raises
    ------
    ValueError
        If the two have different numbers of features.

    Examples
    --------
    >>> from skprosper.metrics import match_components
    >>> learned_index, true_index, cosine = match_components(
    ...     [[0, 5], [1, 0], [1, 1]], [[1, 0], [0, 1]]
    ... )
    >>> learned_index, true_index, cosine
    (array([1, 0]), array([0, 1]), array([1., 1.]))
    """
    learned = check_array(learned, dtype=np.float64, input_name="learned")
    true = check_array(true, dtype=np.float64, input_name="true")
    if learned.shape[1] != true.shape[1]:
        raise ValueError(
            f"learned has {learned.shape[1]} features and true has {true.shape[1]}. "
            "Give both as (n_components, n_features) over the same features."
        )
    cosine = _unit_rows(true) @ _unit_rows(learned).T
    similarity = np.abs(cosine) if ignore_sign else cosine
    true_index, learned_index = linear_sum_assignment(similarity, maximize=True)
    return learned_index, true_index, cosine[true_index, learned_index]


def _unit_rows(components):
    """Rows scaled to length one; rows of zeros stay."""
    # The largest entry first: squares of very large entries would overflow.
    for scale in (np.max, np.linalg.norm):
        size = scale(np.abs(components), axis=1, keepdims=True)
        components = components / np.where(size > 0, size, 1)
    return components


@validate_params(
    {
        "learned": ["array-like"],
        "true": ["array-like"],
        "threshold": [Interval(Real, 0, 1, closed="both")],
        "ignore_sign": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def recovered_components(learned, true, *, threshold=0.95, ignore_sign=False):
    """Count the true components that were found.

    Parameters
    ----------
    learned : array-like of shape (n_learned, n_features)
        Learned components.
    true : array-like of shape (n_true, n_features)
        True components.
    threshold : float, default=0.95
        A true component is found where the cosine to its partner of
        :func:`match_components` is above this.
    ignore_sign : bool, default=False
        Whether a component and its negative count as the same.

    Returns
    -------
    n_recovered : int
        Number of true components found, between 0 and n_true.

    Raises
    ------
    ValueError
        If the two have different numbers of features.

    Examples
    --------
    >>> from skprosper.metrics import recovered_components
    >>> recovered_components([[0, 5], [1, 1]], [[1, 0], [0, 1]])
    1
    """
    _, _, cosine = match_components(learned, true, ignore_sign=ignore_sign)
    if ignore_sign:
        cosine = np.abs(cosine)
    return int(np.count_nonzero(cosine > threshold))


@validate_params(
    {"components": ["array-like"], "usage": ["array-like"], "ignore_sign": ["boolean"]},
    prefer_skip_nested_validation=True,
)
def distinct_components(components, usage, *, ignore_sign=False):
    """Tell the components that stand for a cause of their own from those to spare.

    A model with more components than there are causes uses the others too: some hardly,
    some in place of another one, some for causes that come together. Left out are
    components that explain little (usage times squared norm less than a tenth of the
    largest) and, from the most used one down, those that lie within 30 degrees of another
    one or of a sum of up to three.

    In an overcomplete dictionary of few features three components come close to any
    other: there the score on held-out data has to tell.

    Parameters
    ----------
    components : array-like of shape (n_components, n_features)
        Learned components, `components_` of an estimator. Those of a spike-and-slab prior
        have unit norm: multiply each by the root mean square of its codes, else one that
        explains noise counts as much as a cause.
    usage : array-like of shape (n_components,)
        Share of the data points in which each of them is active, `usage_` of an estimator.
    ignore_sign : bool, default=False
        Whether components may be subtracted as well as added, as they are under a prior of
        either sign such as the ternary and the spike-and-slab one.

    Returns
    -------
    index : ndarray of shape (n_distinct,), dtype int
        Rows of `components`, from the most used one down.

    Raises
    ------
    ValueError
        If there is not one usage for each component, or one is negative.

    Examples
    --------
    >>> from skprosper.metrics import distinct_components
    >>> components = [[1, 0, 0], [0, 2, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1]]
    >>> distinct_components(components, [0.2, 0.3, 0.1, 0.1, 0.001])
    array([1, 0])
    """
    components = check_array(components, dtype=np.float64, input_name="components")
    usage = check_array(usage, dtype=np.float64, ensure_2d=False, input_name="usage")
    if usage.shape != (len(components),) or usage.min() < 0:
        raise ValueError(
            f"usage has shape {usage.shape} and a minimum of {usage.min():g}; give one share of "
            f"at least 0 for each of the {len(components)} components."
        )
    unit = _unit_rows(components)
    largest = np.abs(components).max() or 1.0
    strength = np.sqrt(usage) * np.linalg.norm(components / largest, axis=1)
    index = []
    for h in np.argsort(-usage, kind="stable"):
        if strength[h] ** 2 > _FAINT * strength.max() ** 2:
            if _left(unit[h], unit[index], ignore_sign) > _LEFT:
                index.append(h)
    return np.array(index, dtype=int)


def _left(target, others, ignore_sign):
    """Return the squared norm that few others leave of a target, picked one by one."""
    picked, rest = [], target
    for _ in range(min(_MADE_OF, len(others))):
        match = others @ rest
        picked.append(np.argmax(np.abs(match) if ignore_sign else match))
        basis = others[picked].T
        weights = np.linalg.lstsq(basis, target)[0] if ignore_sign else nnls(basis, target)[0]
        rest = target - basis @ weights
    return rest @ rest


@validate_params(
    {"learned": ["array-like"], "true": ["array-like"]},
    prefer_skip_nested_validation=True,
)
def amari_distance(learned, true):
    r"""Distance between dictionaries up to order, scale and sign of the components.

    With ``P = true @ pinv(learned)``, H components and absolute values p_ij of P's
    entries, it is the index of [1]_ scaled to [0, 1],

    .. math::

        \frac{1}{2 H (H - 1)} \Big[
            \sum_i \Big( \frac{\sum_j p_{ij}}{\max_j p_{ij}} - 1 \Big) +
            \sum_j \Big( \frac{\sum_i p_{ij}}{\max_i p_{ij}} - 1 \Big) \Big].

    It is 0 where every true component is a multiple of one learned component, each of
    another. It needs a linear superposition of at most n_features components.

    Parameters
    ----------
    learned : array-like of shape (n_components, n_features)
        Learned components: the transpose of the estimated mixing matrix.
    true : array-like of shape (n_components, n_features)
        True components: the transpose of the mixing matrix.

    Returns
    -------
    distance : float
        Between 0 (the same) and 1.

    Raises
    ------
    ValueError
        If the shapes differ, or if there are less than two or more than n_features
        components.

    References
    ----------
    .. [1] S. Amari, A. Cichocki and H. H. Yang. A new learning algorithm for blind
       signal separation. Advances in Neural Information Processing Systems 8,
       757-763, 1996.

    Examples
    --------
    >>> from skprosper.metrics import amari_distance
    >>> amari_distance([[0, -3], [2, 0]], [[1, 0], [0, 1]])
    0.0
    >>> amari_distance([[1, 1], [1, -1]], [[1, 0], [0, 1]])
    1.0
    """
    learned = check_array(learned, dtype=np.float64, ensure_min_samples=2, input_name="learned")
    true = check_array(true, dtype=np.float64, ensure_min_samples=2, input_name="true")
    if learned.shape != true.shape or len(true) > true.shape[1]:
        raise ValueError(
            "learned and true must have the same shape with at most as many "
            f"components as features, got {learned.shape} and {true.shape}. Use "
            "match_components to compare other dictionaries."
        )
    # true @ pinv(learned), without the singular values that LAPACK at times fails to find of
    # rotations (OpenBLAS's issue 3044)
    learned, true = _unit_rows(learned), _unit_rows(true)
    rounding = max(true.shape) * np.finfo(np.float64).eps
    mixing, *_ = linalg.lstsq(learned.T, true.T, cond=rounding, lapack_driver="gelsy")
    mixing = np.abs(mixing.T)
    mixing[mixing < rounding * mixing.max()] = 0.0
    n_components = len(mixing)
    total = 0.0
    for axis in (0, 1):
        largest = mixing.max(axis=axis)
        ratio = np.full(n_components, float(n_components))
        # A component without any counterpart counts as spread over all of them.
        np.divide(mixing.sum(axis=axis), largest, out=ratio, where=largest > 0)
        total += (ratio - 1).sum()
    return float(total / (2 * n_components * (n_components - 1)))


@validate_params(
    {
        "image": ["array-like"],
        "reference": ["array-like"],
        "data_range": [Interval(Real, 0, None, closed="neither")],
    },
    prefer_skip_nested_validation=True,
)
def psnr(image, reference, data_range):
    """Peak signal-to-noise ratio of an image, ``10 log10(data_range^2 / MSE)``.

    Parameters
    ----------
    image : array-like of any shape
        The image to judge.
    reference : array-like of the same shape
        The image as it should be.
    data_range : float
        Distance between the smallest and the largest value a pixel can take: 255 for
        8-bit images, 1 for images scaled to [0, 1].

    Returns
    -------
    ratio : float
        In dB; inf where the images are equal.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> from skprosper.metrics import psnr
    >>> psnr([[0.0, 0.1]], [[0.1, 0.0]], data_range=1)
    20.0
    """
    options = {"dtype": np.float64, "ensure_2d": False, "allow_nd": True}
    image = check_array(image, input_name="image", **options)
    reference = check_array(reference, input_name="reference", **options)
    if image.shape != reference.shape:
        raise ValueError(
            f"image has shape {image.shape} and reference has {reference.shape}. Crop "
            "or resize one of them."
        )
    # relative to the largest: squares of very large and small differences stay finite
    difference = np.abs(image / 2 - reference / 2)
    largest = difference.max()
    if largest == 0:
        return np.inf
    error = np.sqrt(np.mean((difference / largest) ** 2))
    return float(20 * (np.log10(data_range) - np.log10(2 * error) - np.log10(largest)))
