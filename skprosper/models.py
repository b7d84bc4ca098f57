"""The named models: each fixes the prior and the superposition of `SparseCoding`."""

from inspect import Parameter, Signature, cleandoc, signature

from sklearn.utils._param_validation import StrOptions

from .priors import BinaryPrior, DiscretePrior, SpikeSlabPrior, TernaryPrior
from .sparse_coding import SparseCoding

_GENERAL = signature(SparseCoding.__init__).parameters


def _section(name):
    """Return the entries of a section of SparseCoding's docstring, by first word."""
    text = cleandoc(SparseCoding.__doc__)
    body = text.split(f"{name}\n{'-' * len(name)}\n")[1]
    entries = {}
    for paragraph in body.split("\n\n"):
        head = paragraph.split(" :")[0]
        if not head.isidentifier():
            break
        entries[head] = paragraph
    return entries


def _named_model(**own):
    """Give a class the parameters of SparseCoding less those that it fixes.

    What a class fixes are its class attributes; ``own`` are parameters in their place,
    name=(default, constraints, docstring entry).
    """

    def decorate(cls):
        parameters = [p for name, p in _GENERAL.items() if name not in vars(cls)]
        places = [
            Parameter(name, Parameter.KEYWORD_ONLY, default=default)
            for name, (default, _, _) in own.items()
        ]
        parameters[2:2] = places
        call = Signature(parameters)

        def __init__(self, *args, **kwargs):
            bound = call.bind(self, *args, **kwargs)
            bound.apply_defaults()
            for name, value in list(bound.arguments.items())[1:]:
                setattr(self, name, value)

        __init__.__signature__ = call
        __init__.__qualname__ = f"{cls.__qualname__}.__init__"
        cls.__init__ = __init__
        texts = _section("Parameters") | {k: text.strip() for k, (_, _, text) in own.items()}
        entries = [texts[p.name] for p in parameters[1:]]
        attributes = list(_section("Attributes").values())
        head, mark, tail = cleandoc(cls.__doc__).partition("References\n")
        cls.__doc__ = "\n\n".join(
            [
                head.rstrip(),
                "Parameters\n----------\n" + "\n\n".join(entries),
                "Attributes\n----------\n" + "\n\n".join(attributes),
                mark + tail,
            ]
        )
        constraints = SparseCoding._parameter_constraints
        cls._parameter_constraints = {
            **{p.name: constraints[p.name] for p in parameters[1:] if p.name not in own},
            **{name: allowed for name, (_, allowed, _) in own.items()},
        }
        return cls

    return decorate


_TIED = (
    signature(BinaryPrior).parameters["tied"].default,
    ["boolean"],
    f"""
tied : bool, default={signature(BinaryPrior).parameters["tied"].default}
    Whether all latents share the probabilities of their values, or each has its own.
""",
)


@_named_model(tied=_TIED)
class BinarySparseCoding(SparseCoding):
    """Binary Sparse Coding (BSC): components are on or off and add up.

    .. math::

        p(s_h = 1) = \\pi, \\qquad
        y \\mid s \\sim \\mathcal{N}(m + \\sum_h s_h W_h, \\Sigma), \\quad
        s_h \\in \\{0, 1\\}

    References
    ----------
    Henniges, Puertas, Bornschein, Eggert, Luecke (2010). Binary Sparse Coding.
    LVA/ICA.

    Examples
    --------
    >>> from skprosper import BinarySparseCoding
    >>> from skprosper.datasets import make_bars
    >>> X, codes, bars = make_bars(400, size=3, random_state=0)
    >>> model = BinarySparseCoding(6, random_state=0).fit(X)
    >>> model.transform(X).shape
    (400, 6)
    """

    prior = "binary"
    superposition = "linear"

    def _prior(self):
        return BinaryPrior(tied=self.tied)


@_named_model(tied=_TIED)
class TernarySparseCoding(SparseCoding):
    """Ternary Sparse Coding (TSC): components are off, or on with either sign.

    .. math::

        p(s_h = \\pm 1) = \\pi / 2, \\qquad
        y \\mid s \\sim \\mathcal{N}(m + \\sum_h s_h W_h, \\Sigma), \\quad
        s_h \\in \\{-1, 0, 1\\}

    References
    ----------
    Exarchakis, Henniges, Eggert, Luecke (2012). Ternary Sparse Coding. LVA/ICA.

    Examples
    --------
    >>> from skprosper import TernarySparseCoding
    >>> from skprosper.datasets import make_bars
    >>> X, codes, bars = make_bars(400, size=3, prior="ternary", random_state=0)
    >>> model = TernarySparseCoding(6, code="map", random_state=0).fit(X)
    >>> sorted(set(model.transform(X).ravel().tolist()))
    [-1.0, 0.0, 1.0]
    """

    prior = "ternary"
    superposition = "linear"

    def _prior(self):
        return TernaryPrior(tied=self.tied)


@_named_model(
    values=(
        (0, 1, 2),
        ["array-like"],
        """
values : array-like of shape (n_values,), default=(0, 1, 2)
    The values a latent can take; one of them is 0, none comes twice. They stay fixed,
    their probabilities are learned.
""",
    ),
    tied=_TIED,
)
class DiscreteSparseCoding(SparseCoding):
    """Discrete Sparse Coding (DSC): components take values from a given list.

    .. math::

        p(s_h = v_k) = \\pi_k, \\qquad
        y \\mid s \\sim \\mathcal{N}(m + \\sum_h s_h W_h, \\Sigma), \\quad
        s_h \\in \\{0, v_1, \\dots, v_K\\}

    References
    ----------
    Exarchakis, Luecke (2017). Discrete Sparse Coding. Neural Computation 29(11).

    Examples
    --------
    >>> from skprosper import DiscreteSparseCoding
    >>> from skprosper.datasets import make_bars
    >>> X, codes, bars = make_bars(400, size=3, prior="discrete", random_state=0)
    >>> model = DiscreteSparseCoding(6, values=(0, 1, 2), random_state=0).fit(X)
    >>> model.prior_.probabilities.shape
    (3, 6)
    """

    prior = "discrete"
    superposition = "linear"

    def _prior(self):
        return DiscretePrior(self.values, tied=self.tied)


@_named_model(
    covariance=(
        "diagonal",
        [StrOptions({"diagonal", "full"})],
        """
covariance : {"diagonal", "full"}, default="diagonal"
    Structure of the covariance Psi of the slabs.
""",
    ),
    learn_mean=(
        True,
        ["boolean"],
        """
learn_mean : bool, default=True
    Whether the mean mu of the slabs is learned; with False it is 0.
""",
    ),
)
class GaussianSparseCoding(SparseCoding):
    """Gaussian Sparse Coding (GSC): components are off, or on with a Gaussian strength.

    .. math::

        s_h = b_h z_h, \\quad p(b_h = 1) = \\pi_h, \\quad z \\sim \\mathcal{N}(\\mu, \\Psi), \\qquad
        y \\mid s \\sim \\mathcal{N}(m + \\sum_h s_h W_h, \\Sigma)

    Given which components are on, their strengths have a Gaussian posterior in closed
    form; the sum over what is on keeps its modes. Learned components have unit norm,
    mean and covariance of the slabs (``prior_.mean``, ``prior_.covariance``) are in the
    units of the code.

    References
    ----------
    Sheikh, Shelton, Luecke (2014). A Truncated EM Approach for Spike-and-Slab Sparse
    Coding. JMLR 15.

    Examples
    --------
    >>> from skprosper import GaussianSparseCoding
    >>> from skprosper.datasets import make_bars
    >>> X, codes, bars = make_bars(400, size=3, prior="spike-slab", random_state=0)
    >>> model = GaussianSparseCoding(6, random_state=0).fit(X)
    >>> model.prior_.mean.shape, model.prior_.covariance.shape
    ((6,), (6,))
    """

    prior = "spike-slab"
    superposition = "linear"

    def _prior(self):
        return SpikeSlabPrior(covariance=self.covariance, learn_mean=self.learn_mean)


@_named_model(tied=_TIED)
class MaximalCausesAnalysis(SparseCoding):
    """Maximal Causes Analysis (MCA): the strongest active component explains a feature.

    .. math::

        p(s_h = 1) = \\pi, \\qquad
        y \\mid s \\sim \\mathcal{N}(\\bar y(s), \\sigma^2), \\quad
        \\bar y_d(s) = \\max_h s_h W_{hd}, \\quad W_{hd} \\ge 0

    Components occlude each other instead of adding up, as objects, or sources in a log
    spectrogram, do. They are non-negative; data may be negative, by their noise.

    References
    ----------
    Luecke, Sahani (2008). Maximal Causes for Non-linear Component Extraction. JMLR 9.

    Examples
    --------
    >>> from skprosper import MaximalCausesAnalysis
    >>> from skprosper.datasets import make_bars
    >>> X, codes, bars = make_bars(400, size=3, superposition="maximum", random_state=0)
    >>> model = MaximalCausesAnalysis(6, random_state=0).fit(X)
    >>> bool(model.components_.min() >= 0)
    True
    """

    prior = "binary"
    superposition = "maximum"

    def _prior(self):
        return BinaryPrior(tied=self.tied)


@_named_model(tied=_TIED)
class MaximumMagnitudeCausesAnalysis(SparseCoding):
    """Maximum Magnitude Causes Analysis (MMCA): the component of largest magnitude wins.

    .. math::

        p(s_h = 1) = \\pi, \\qquad
        y \\mid s \\sim \\mathcal{N}(\\bar y(s), \\sigma^2), \\quad
        \\bar y_d(s) = s_{h^*} W_{h^* d}, \\quad
        h^*(d) = \\mathrm{argmax}_h |s_h W_{hd}|

    Maximal Causes Analysis for components of any sign.

    References
    ----------
    Bornschein, Henniges, Luecke (2013). Are V1 Simple Cells Optimized for Visual
    Occlusions? A Comparative Study. PLoS Computational Biology 9(6).

    Examples
    --------
    >>> from skprosper import MaximumMagnitudeCausesAnalysis
    >>> from skprosper.datasets import make_bars
    >>> X, codes, bars = make_bars(
    ...     400, size=3, superposition="magnitude-maximum", random_state=0
    ... )
    >>> model = MaximumMagnitudeCausesAnalysis(6, random_state=0).fit(X)
    >>> model.transform(X).shape
    (400, 6)
    """

    prior = "binary"
    superposition = "magnitude-maximum"

    def _prior(self):
        return BinaryPrior(tied=self.tied)
