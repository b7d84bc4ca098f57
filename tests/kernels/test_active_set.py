"""The factor of a spike-and-slab centre against latents switched on anew."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from skprosper.kernels import active_set
from skprosper.kernels.compiling import njit


@njit()
def switched(u, slabs, centre, scratch, latents, dropped):
    """Switch latents on, then some of them off; return the number of active ones and the height."""
    active_set.start(u, slabs, None, 0, centre, scratch)
    n_active, height = 0, 0.0
    for h in latents:
        height += active_set.activate(slabs, None, centre, n_active, h, scratch)
        n_active += 1
    for h in dropped:
        height = active_set.deactivate(u, slabs, None, 0, centre, n_active, h, scratch)
        n_active -= 1
    active_set.complete_rows(centre, n_active, scratch.factors)
    return n_active, height


def form(components, y, variance, latents, dropped, full=False):
    """Return the log-joint and the form after the changes, rows in the order of ``latents``."""
    H = len(components)
    scale = 1.0 / np.sqrt((components**2).sum(axis=1) + 1.0 / variance)
    deviation = np.full(H, np.sqrt(variance))
    kinds = (0, 0) if full else (0,)
    slabs = active_set.Slabs(
        kinds,
        scale,
        np.zeros(H),
        np.full(H, -1.0),
        components @ components.T * np.outer(scale, scale),
        scale / deviation,
        np.zeros(H),
        np.eye(H) if full else np.empty((0, 0)),
    )
    n = len(kinds) * H
    centre = active_set.Centre(
        kinds,
        np.empty(n),
        np.empty((1 if len(kinds) == 1 else 3, H)),
        np.empty(H),
        np.empty(H, np.int64),
        np.empty(H, np.int64),
        np.empty(min(H, 8), np.int64),
        np.empty((n, n)),
    )
    scratch = active_set.make_scratch(slabs, np.dtype(float))
    n_active, height = switched(
        scale * (components @ y),
        slabs,
        centre,
        scratch,
        np.array(latents),
        np.array(dropped, np.int64),
    )
    order = [centre.position[h] for h in latents if h not in dropped]
    assert sorted(order) == list(range(n_active))
    assert all(centre.position[h] < 0 for h in dropped)
    rows = centre.rows[: len(kinds) * n_active].reshape(n_active, -1)[order]
    return height, centre.linear, centre.diagonal, rows, scratch.kept


@pytest.mark.parametrize("dropped", [[4], [0], [9], [4, 0, 9], [2, 3, 4, 5, 6, 7, 8, 9, 0]])
@pytest.mark.parametrize("n_features, alike", [(20, 1.0), (6, 1.0), (20, 1e-4)])
@pytest.mark.parametrize("full", [False, True])
def test_latents_switched_off_leave_the_form_of_the_others(dropped, n_features, alike, full):
    rng = np.random.default_rng(0)
    components = rng.standard_normal((14, n_features))
    components[4] = components[2] + alike * rng.standard_normal(n_features)
    y = 3.0 * rng.standard_normal(n_features)
    # more active latents than any tile holds, in an order that is not sorted
    latents = [7, 0, 5, 2, 11, 4, 9, 3, 8, 6]
    kept = [h for h in latents if h not in dropped]
    found = form(components, y, 2.0, latents, dropped, full)
    expected = form(components, y, 2.0, kept, [], full)
    for a, b in zip(found, expected, strict=True):
        assert_allclose(a, b, rtol=1e-9, atol=1e-10)


def test_the_form_is_the_inverse_of_the_active_gram_matrix():
    rng = np.random.default_rng(1)
    components, y = rng.standard_normal((14, 20)), rng.standard_normal(20)
    latents, dropped = [7, 0, 5, 2, 11, 4, 9, 3, 8, 6], [5, 9]
    kept = [h for h in latents if h not in dropped]
    height, linear, diagonal, rows, _ = form(components, y, 2.0, latents, dropped)
    scale = 1.0 / np.sqrt((components**2).sum(axis=1) + 0.5)
    gram = (components @ components.T + 0.5 * np.eye(14)) * np.outer(scale, scale)
    u, inverse = scale * (components @ y), np.linalg.inv(gram[np.ix_(kept, kept)])
    mean = inverse @ u[kept]
    log_det = np.linalg.slogdet(inverse)[1]
    assert_allclose(height, -len(kept) + 0.5 * (u[kept] @ mean + log_det), rtol=1e-10)
    assert_allclose(linear[kept], -mean, rtol=1e-10)
    assert_allclose(rows[:, kept], -inverse, rtol=1e-9, atol=1e-11)
    off = [h for h in range(14) if h not in kept]
    assert_allclose(linear[off], (u - gram[:, kept] @ mean)[off], rtol=1e-9, atol=1e-11)
    assert_allclose(rows[:, off], -(inverse @ gram[kept])[:, off], rtol=1e-9, atol=1e-11)
    left = gram - gram[:, kept] @ inverse @ gram[kept]
    assert_allclose(diagonal[0, off], np.diag(left)[off], rtol=1e-9, atol=1e-11)
