"""What makes data, weights and parameters valid: the errors live here.

An error names the value and the remedy.
"""

import joblib
import numpy as np
from scipy.sparse import issparse
from sklearn.utils import assert_all_finite, check_array
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.validation import _check_sample_weight

from .inference.base import Truncation
from .kernels.states import count_states
from .noise import NOISES
from .parallel.chunks import is_dask_array, without_mask
from .parallel.rows import Rows

LEARNABLE = ("components", "prior", "noise")
# A tree of more states than this per data point is a mistake, not a posterior.
_MAX_STATES = 20_000_000
# Features up to which a full noise covariance is held: 3 GB a matrix, minutes an iteration.
_MOST_FULL = 20_000
# Squares of data, and their sums, stay finite inside these limits.
_SCALE_LIMITS = {"float64": (1e-140, 1e140), "float32": (1e-15, 1e15)}
# Share of the data's mean square that the noise variance has at least for rounding errors of
# the log-joint, which grow with its inverse, to stay small: about 1e-3 nats per feature.
ROUNDING_FLOOR = {"float64": 1e-11, "float32": 1e-5}
# Below this part of it posteriors would be made of rounding errors.
_UNRESOLVED = 1e-2
# What float64 resolves of latents to a few hundredths of a nat, in which it is computed wherever
# float32 would not do: mean square of what one adds, in units of the noise, and of the mean of a
# slab in deviations.
MOST_RESOLVED = 1e14
# Weights above this are scaled down: squares of float32 data, 1e30 at most, times them stay
# finite, and so does their sum over a block of rows.
_MOST_WEIGHT = 1e6
_ONE_ROW = (1.0, 1.0)


# Data ---------------------------------------------------------------------------------


def checked_array(X, ensure_min_samples=1, accept_sparse=False):
    """Return valid data without what an estimator knows of them.

    Whether the numbers are finite shows as they are read, and where they are not of
    float64 or float32 they are converted then.
    """
    if isinstance(X, Rows):
        return X
    if is_dask_array(X):
        from .parallel.dask_blocks import checked_rows

        return checked_rows(X, ensure_min_samples)
    floats = (np.float64, np.float32)
    options = dict(
        dtype=floats, ensure_all_finite=False, ensure_min_samples=ensure_min_samples, input_name="X"
    )
    if isinstance(X, np.ndarray) and X.dtype.kind in "mMV":
        raise TypeError(
            f"X has dtype {X.dtype}; give numbers in rows and columns: dates as times since one of "
            "them, of named fields numpy.lib.recfunctions.structured_to_unstructured(X)."
        )
    if isinstance(X, np.ma.MaskedArray) and X.dtype not in floats:
        X = X.astype(np.float64)
    X = without_mask(X)
    if type(X) in (np.ndarray, np.memmap) and X.dtype.kind in "fiub" and X.dtype not in floats:
        check_array(np.broadcast_to(0.0, X.shape), **options)
        return Rows(np.asarray(X), np.float64)
    X = check_array(X, accept_sparse="csr" if accept_sparse else False, **options)
    return Rows(X, X.dtype) if issparse(X) else X


def checked_weights(weights, X):
    """Return valid sample weights, None where there are none."""
    if weights is None:
        return None
    if is_dask_array(X):
        from .parallel.dask_blocks import checked_weights

        return checked_weights(weights, X)
    weights = without_mask(weights)
    if isinstance(weights, np.ndarray) and weights.ndim == 0:
        weights = float(weights)
    return _check_sample_weight(weights, X, dtype=np.float64, ensure_non_negative=True)


def row_unit(weights):
    """Return the unit of weights, and how many rows it stands for.

    A weight of 2 equals the row twice, and how many rows there are decides what EM can tell
    from chance. Weights that sum to less than the rows that they could stand for,
    (sum w)^2 / sum w^2 (Kish), are shares, not counts; huge ones leave the range of float32.
    """
    if weights is None or not weights.size:
        return _ONE_ROW
    most = float(weights.max())
    if not (np.isfinite(most) and most > 0.0):
        return _ONE_ROW
    relative = weights / most
    total, square = float(relative.sum()), float((relative**2).sum())
    rows = total**2 / square
    if total * most < (1.0 - 1e-9) * rows:
        return most, rows / total
    return (most, _MOST_WEIGHT) if most > _MOST_WEIGHT else _ONE_ROW


def counted(weights, unit=None):
    """Return weights that count rows, None where there are none."""
    unit, rows = row_unit(weights) if unit is None else unit
    return weights if (unit, rows) == _ONE_ROW else weights / unit * rows


def check_weight(weight):
    """Raise where no row counts."""
    if not weight > 0:
        raise ValueError(
            "X has no row that counts: none at all, or sample_weight is zero everywhere; give "
            "some row weight."
        )


def check_chunk(X, weights):
    """Raise where a chunk is not valid: of a dask array it is seen here first.

    Returns whether values are missing.
    """
    missing = missing_values(X)
    if weights is not None:
        assert_all_finite(weights, input_name="sample_weight")
        if np.any(weights < 0):
            raise ValueError(
                f"Negative values in sample_weight: {weights.min():g}; give weights of at least 0."
            )
    return missing


def missing_values(X):
    """Return whether values are missing, which NaN says; raise where some are infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(np.sum(X)):
            return False
        assert_all_finite(X, allow_nan=True, input_name="X")
    return bool(np.isnan(X).any())


def check_holes(moments, annealing):
    """Raise where data with missing values are to be ranked by how well they are explained."""
    if moments.observed is not None and annealing is not None and np.any(annealing.data_cut):
        raise ValueError(
            f"data_cut={annealing.data_cut!r} leaves out the rows of least likelihood, which of "
            "rows with missing values do not compare. Leave data_cut at 0."
        )


def check_scale(moments, dtype, centred):
    """Raise where squares of the data would leave the floating-point range.

    And where nothing is left of data less their mean (``centred``) but rounding errors.
    """
    scale = np.sqrt(moments.mean_square)
    low, high = _SCALE_LIMITS[dtype.name]
    if not low < scale < high:
        scale = np.inf if np.isnan(scale) else scale
        raise ValueError(
            f"X has a root mean square of {scale:.3g}, outside the range "
            f"{low:g} to {high:g} of {dtype.name}; rescale X"
            + (" (it is zero everywhere)." if scale == 0 else ".")
        )
    deviation = np.sqrt(moments.variance)
    if centred and deviation <= np.finfo(dtype).eps * scale:
        raise ValueError(
            f"X has a standard deviation of {deviation:.3g} about means of {scale:.3g}, no more "
            f"than {dtype.name} resolves: with fit_offset=True nothing is left to learn. Give "
            "data that vary"
            + (", in float64 or less their means." if dtype.name == "float32" else ".")
        )


def check_magnitude(X, name):
    """Raise where squares of the largest number would leave the floating-point range."""
    largest = float(np.abs(X).max())
    low, high = _SCALE_LIMITS[X.dtype.name]
    if not low < largest < high:
        raise ValueError(
            f"{name} holds {largest:.3g}, outside the range {low:g} to {high:g} of "
            f"{X.dtype.name}; rescale {name}."
        )


def check_prior(prior, n_components, dtype):
    """Raise where the strength of an active latent leaves the floating-point range."""
    with np.errstate(over="ignore"):
        amplitudes = prior.amplitudes(n_components)
    low, high = _SCALE_LIMITS[dtype.name]
    if not (amplitudes.min() > low and amplitudes.max() < high):
        extreme = amplitudes.min() if not amplitudes.min() > low else amplitudes.max()
        raise ValueError(
            f"prior={prior!r} gives active latents a root mean square of {extreme:.3g}, outside "
            f"the range {low:g} to {high:g} of {dtype.name}; rescale its "
            + ("mean and covariance." if prior.continuous else "values.")
        )
    if prior.continuous and (distance := prior.distance()) > MOST_RESOLVED:
        raise ValueError(
            f"prior={prior!r} has slabs {np.sqrt(distance):.3g} standard deviations from 0, more "
            f"than float64 resolves; raise its covariance {distance / MOST_RESOLVED:.3g} times "
            "or more, or take prior='binary'."
        )


def check_start(components, prior, noise, moments, dtype, centred):
    """Raise where EM would start beyond the floating-point range, or what it resolves."""
    high = _SCALE_LIMITS[dtype.name][1]
    square = moments.variances if centred else moments.variances + moments.mean**2
    with np.errstate(over="ignore"):
        ratio = np.mean(square / noise.deviations**2)
    most = 1.0 / (_UNRESOLVED * ROUNDING_FLOOR[dtype.name])
    if ratio > most:
        raise ValueError(
            f"noise_init is too small for {dtype.name} data with a root mean square of "
            f"{np.sqrt(np.mean(square)):.3g}: rounding errors would outweigh the data. Raise it "
            f"{ratio / most:.3g} times or more"
            + (", or give X in float64." if dtype.name == "float32" else ".")
        )
    largest = np.abs(components).max(axis=0)
    if not np.all(largest < high * noise.deviations):
        raise ValueError(
            f"components_init holds {largest.max():.3g}, outside the range of {dtype.name} in "
            "units of the noise; give components in the units of X."
        )
    energies = np.sum(components * noise.precision_weighted(components), axis=1)
    added = np.max(energies * prior.amplitudes(len(components)) ** 2)
    if added > MOST_RESOLVED:
        raise ValueError(
            f"noise_init is too small for latents that add {np.sqrt(added):.3g} times its standard "
            f"deviation to X, more than float64 resolves. Raise it {added / MOST_RESOLVED:.3g} "
            "times or more, or give components_init and prior in the units of X."
        )


def check_reach(X, noise):
    """Raise where squares of data in units of the noise would leave the floating-point range."""
    if not len(X):
        return
    high = _SCALE_LIMITS[X.dtype.name][1]
    with np.errstate(over="ignore"):  # one pass over the data where all is well
        if np.sqrt(np.vdot(X, X)) < high * np.min(noise.deviations):
            return
    largest = np.fmax.reduce(np.abs(X), axis=0).astype(np.float64)  # of what is not missing
    most = np.broadcast_to(high * noise.deviations, largest.shape)
    beyond = np.flatnonzero(largest >= most)
    if beyond.size:
        d = beyond[0]
        raise ValueError(
            f"X holds {largest[d]:.3g} in feature {d}, outside the range of {X.dtype.name} under "
            f"this model, whose noise allows magnitudes up to {most[d]:.3g}; rescale X or leave "
            "out such rows."
        )


# Parameters ---------------------------------------------------------------------------


def check_learn(learn):
    """Raise where something is to be learned that no model has."""
    if unknown := [name for name in learn if name not in LEARNABLE]:
        raise ValueError(f"learn holds {unknown[0]!r}; it may hold any of {LEARNABLE}.")


def check_instance(name, value):
    """Raise where a class stands in place of an instance."""
    if isinstance(value, type):
        raise InvalidParameterError(
            f"{name} is the class {value.__name__}; give an instance, {value.__name__}()."
        )


def settings_hash(value):
    """Return what tells parameters apart: equal for equal numbers, whatever holds them."""
    return joblib.hash(_plain(value))


def _plain(value):
    if value is None or isinstance(value, str):
        return value
    if hasattr(value, "get_params"):
        params = value.get_params(deep=False)
    elif hasattr(value, "__dict__") and not isinstance(value, np.ndarray):
        params = {k: v for k, v in vars(value).items() if not k.startswith("_")}
    else:
        try:
            return np.array(value, dtype=np.float64, order="C")
        except (TypeError, ValueError):
            return value
    return type(value).__name__, {name: _plain(own) for name, own in params.items()}


def checked_truncation(n_candidates, max_changes, center, selection, n_components, n_values):
    """Return the truncation of the posterior, cut to what there is."""
    n_candidates = min(n_candidates or n_components, n_components)
    max_changes = min(max_changes or n_candidates, n_candidates)
    n_states = count_states(n_candidates, max_changes, n_values)
    if n_states > _MAX_STATES:
        raise ValueError(
            f"n_candidates={n_candidates} and max_changes={max_changes} make "
            f"{n_states:.3g} states for each data point, more than "
            f"{_MAX_STATES:.0e}. Lower n_candidates or max_changes."
        )
    return Truncation(n_candidates, max_changes, center == "best", selection == "pursuit")


def check_data_cut(annealing, center):
    """Raise where annealing leaves out data that hold too much: around the best state none do."""
    if annealing is None or center == "zero":
        return
    cuts = np.asarray(annealing.data_cut, dtype=np.float64)
    if np.any((cuts[..., -1] if cuts.ndim else cuts) > 0):
        raise ValueError(
            f"data_cut={annealing.data_cut!r} needs center='zero': around the best state a data "
            "point may hold any number of active latents. Leave data_cut at 0."
        )


def checked_components(components, n_components, n_features, superposition):
    """Return start components as a float64 copy of shape (n_components, n_features)."""
    components = check_array(components, dtype=np.float64, copy=True, input_name="components_init")
    if components.shape != (n_components, n_features):
        raise ValueError(
            f"components_init has shape {components.shape}; give "
            f"(n_components, n_features) = {(n_components, n_features)}."
        )
    superposition.check_components(components)
    return components


def checked_noise(noise_init, noise, n_features):
    """Return a noise variance as the structure ``noise`` has it: a float or an array."""
    if noise == "full" and n_features > _MOST_FULL:
        raise ValueError(
            f"noise='full' has a covariance of {n_features} x {n_features} numbers, to be "
            "factorised in every iteration. Set noise='diagonal' or 'isotropic', or give fewer "
            f"features: {_MOST_FULL} at most."
        )
    shape = NOISES[noise].shape(n_features)
    variance = np.array(noise_init, dtype=np.float64)  # the user may change the other
    if variance.ndim == 0 and shape:
        variance = variance * (np.eye(n_features) if len(shape) == 2 else np.ones(n_features))
    if variance.shape != shape:
        raise ValueError(
            f"noise_init has shape {variance.shape}; noise={noise!r} needs "
            f"a number" + (f" or shape {shape}." if shape else ".")
        )
    least = np.linalg.eigvalsh(variance)[0] if len(shape) == 2 else variance.min()
    if not (np.all(np.isfinite(variance)) and least > 0):
        raise ValueError(
            "noise_init must be positive"
            + (" definite" if noise == "full" else "")
            + f" and finite; got {noise_init!r}."
        )
    if len(shape) == 2 and not np.allclose(variance, variance.T):
        raise ValueError("noise_init must be symmetric for noise='full'.")
    return variance if shape else float(variance)
