"""Reference of the truncated states around the best state, for any model.

Plain Python from the definition: a local maximum of the log-joint, the latents whose
change costs least, the states that differ in few of them. ``log_joint`` takes a state as
a tuple of the index of each latent's value, 0 where it is inactive.
"""

from itertools import combinations, product

# Log-joints closer than this, relatively, tie.
SLACK = 1e-8


def best_state(log_joint, n_latents, n_values, latents=None):
    """Return a local maximum of the log-joint, reached from 0 by the best single changes.

    ``latents`` are those that may change, by default all.
    """
    latents = range(n_latents) if latents is None else sorted(latents)
    state = (0,) * n_latents
    while True:
        height = log_joint(state)
        gains = {h: best_change(log_joint, state, h, n_values)[0] for h in latents}
        top = max(gains.values())
        if top <= height + SLACK * (1.0 + abs(top)):
            return state
        h = min(h for h in latents if gains[h] >= top - SLACK * (1.0 + abs(top)))
        state = best_change(log_joint, state, h, n_values)[1]


def best_change(log_joint, state, h, n_values):
    """Return the highest log-joint of the states that differ in latent h, and the state."""
    states = single_changes(state, h, n_values)
    found = [log_joint(s) for s in states]
    i = min(i for i in range(len(states)) if found[i] >= max(found) - SLACK)
    return found[i], states[i]


def single_changes(state, h, n_values):
    """Return the states that differ from a state in latent h."""
    kinds = [k for k in range(n_values + 1) if k != state[h]]
    return [(*state[:h], k, *state[h + 1 :]) for k in kinds]


def cheapest(log_joint, state, n_values, n_candidates, latents=None):
    """Return the latents whose best single change costs least, first those of lower index."""
    latents = range(len(state)) if latents is None else latents
    costs = [(-round(best_change(log_joint, state, h, n_values)[0], 8), h) for h in latents]
    return [h for _, h in sorted(costs)[:n_candidates]]


def states_around(state, candidates, n_values, max_changes):
    """Return all states of K_n as tuples, the centre first, none twice."""
    found = {state: None}
    for h in range(len(state)):
        found.update(dict.fromkeys(single_changes(state, h, n_values)))
    for k in range(2, max_changes + 1):
        for changed in combinations(sorted(candidates), k):
            options = [[j for j in range(n_values + 1) if j != state[h]] for h in changed]
            for kinds in product(*options):
                new = list(state)
                for h, kind in zip(changed, kinds):
                    new[h] = kind
                found[tuple(new)] = None
    return list(found)


def neighbourhood(log_joint, n_latents, n_values, n_candidates, max_changes):
    """Return K_n around the best state: a list of tuples, the centre first."""
    state = best_state(log_joint, n_latents, n_values)
    candidates = cheapest(log_joint, state, n_values, n_candidates)
    return states_around(state, candidates, n_values, max_changes)
