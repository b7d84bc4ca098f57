"""Reference of the truncated states around the best state under a maximum superposition.

Plain Python from the definition. A state is a tuple of the index of each latent's value,
0 where it is inactive.
"""

import numpy as np
from enumeration import Posterior
from neighbourhood import SLACK, best_change, cheapest, single_changes, states_around


def estimated_rises(model, state, x):
    """Return what switching each latent on is estimated to bring, active ones -inf.

    As if at no pixel three latents met.
    """
    W, values = model.components, np.append(0.0, model.values)
    seen = values if model.superposition == "magnitude-maximum" else np.maximum(values, 0.0)
    noise = model.noise * model.temperature[0]
    n_latents = len(W)
    p = np.asarray(model.probabilities, dtype=float).reshape(len(values) - 1, -1)
    odds = np.broadcast_to(np.log(p) - np.log1p(-p.sum(axis=0)), (len(p), n_latents))
    s = seen[list(state)]
    rises = np.full(n_latents, -np.inf)
    for h in range(n_latents):
        if state[h] > 0:
            continue
        overlap = (np.minimum(np.abs(W), np.abs(W[h])) ** 2).sum(axis=1)
        for k, v in enumerate(seen[1:]):
            explained = v * s @ (W @ W[h]) - 0.5 * np.abs(v * s) @ overlap
            rise = v * W[h] @ x - 0.5 * v**2 * W[h] @ W[h] - explained
            rises[h] = max(rises[h], rise / noise + odds[k, h] / model.temperature[1])
    return rises


def screened(model, state, x, n_screened):
    """Return the latents whose changes are looked at."""
    rises = estimated_rises(model, state, x).round(9)
    inactive = [h for h in np.argsort(-rises, kind="stable") if rises[h] > -np.inf]
    return sorted([h for h in range(len(state)) if state[h] > 0] + inactive[:n_screened])


def path(state, centre, candidates):
    """Return where a state comes in the walk over the candidates."""
    order = sorted(candidates, key=lambda h: (centre[h] == 0, h))
    slots = []
    for i, h in enumerate(order):
        if state[h] > 0:
            # the centre's value, then the others in rising order
            slots.append((i, 0 if state[h] == centre[h] else 1 + state[h]))
    return slots


def kept_states(model, x, n_candidates, max_changes, n_screened):
    """Return the centre and K_n, a list of tuples, none twice."""
    n_latents, n_values = len(model.components), len(model.values)
    values = np.append(0.0, model.values)
    known = {}

    def log_joint(state):
        if state not in known:
            known[state] = model.log_joint(values[list(state)][None], x)[0]
        return known[state]

    state = (0,) * n_latents
    while True:
        while True:
            latents = screened(model, state, x, n_screened)
            changes = {h: best_change(log_joint, state, h, n_values) for h in latents}
            top = max(rise for rise, _ in changes.values())
            tie = SLACK * (1.0 + abs(top))
            if top <= log_joint(state) + tie:
                break
            state = changes[min(h for h in latents if changes[h][0] >= top - tie)][1]
        candidates = cheapest(log_joint, state, n_values, n_candidates, latents)
        core = [h for h in range(n_latents) if state[h] > 0 and h not in candidates]
        found = {
            s: None
            for s in states_around(state, candidates, n_values, max_changes)
            if {h for h in range(n_latents) if s[h] != state[h]} <= set(candidates)
        }
        top = max(map(log_joint, found))
        tie = SLACK * (1.0 + abs(top))
        if log_joint(state) >= top - tie:
            break
        best = [s for s in found if log_joint(s) >= top - tie]
        state = min(best, key=lambda s: path(s, state, candidates))
    for h in core:
        found.update(dict.fromkeys(single_changes(state, h, n_values)))
    for h in set(range(n_latents)) - set(candidates) - set(core):
        found.update(dict.fromkeys(single_changes((0,) * n_latents, h, n_values)))
    return state, list(found)


def posteriors(model, X, n_candidates, max_changes, n_screened=16):
    """Return the `Posterior` of each row over its own K_n around the best state."""
    values = np.append(0.0, model.values)
    result = []
    for x in X:
        _, states = kept_states(model, x, n_candidates, max_changes, n_screened)
        result.append(Posterior(model, x, values[np.array(states)]))
    return result
