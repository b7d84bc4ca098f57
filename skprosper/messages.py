"""Warnings that point at the user's line, not at one of ours or of scikit-learn's."""

import os
import sys
import warnings

import joblib
import sklearn

_INSIDE = tuple(
    os.path.join(os.path.dirname(os.path.abspath(path)), "")
    for path in (__file__, sklearn.__file__, joblib.__file__)
)


def warn_user(message, category=UserWarning):
    """Warn at the first line up the stack that is not ours, scikit-learn's or joblib's."""
    # skip_file_prefixes of warnings.warn does the same from Python 3.12 on
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_INSIDE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
