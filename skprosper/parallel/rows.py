"""Rows that become an array of floats chunk by chunk, as they are read."""

import numpy as np


class Rows:
    """Some or all rows of an array: of a number type of its own, on disk, or sparse.

    Stands for an array where only its shape, its dtype and chunks of its rows are asked
    for; nothing of the size of all data is made.

    Parameters
    ----------
    array : ndarray, memory map or scipy.sparse array in CSR format
    dtype : dtype
        Of the chunks.
    index : ndarray of shape (n_rows,), default=None
        Numbers of the rows; None takes all.
    """

    ndim = 2

    def __init__(self, array, dtype, index=None):
        self.array, self.dtype, self.index = array, np.dtype(dtype), index

    @property
    def shape(self):
        """Number of rows and of columns."""
        return len(self), self.array.shape[1]

    def __len__(self):
        return self.array.shape[0] if self.index is None else len(self.index)

    def __getitem__(self, rows):
        """Return the rows of a slice or of an array of numbers, as an ndarray."""
        part = self.array[rows if self.index is None else self.index[rows]]
        if hasattr(part, "toarray"):
            part = part.toarray()
        return part.astype(self.dtype, copy=False)


def taken(X, index):
    """Return rows of X that are copied chunk by chunk, as they are read."""
    if not isinstance(X, Rows):
        return Rows(X, X.dtype, index)
    return Rows(X.array, X.dtype, index if X.index is None else X.index[index])
