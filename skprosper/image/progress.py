"""A call on an image as one task of scikit-learn's callbacks, with its steps as subtasks."""

from sklearn.base import BaseEstimator
from sklearn.callback import AutoPropagatedCallback, CallbackSupportMixin, with_callbacks

# Subtasks of a picture that is put together, at most.
_MOST_PARTS = 100


class Restoration(CallbackSupportMixin, BaseEstimator):
    """What a call of `denoise` or `inpaint` is to scikit-learn's callbacks: a fit."""

    @with_callbacks
    def fit(self, work, name, n_steps, of_fits):
        """Return ``work(steps)``, a task of this name and number of steps, None: not known.

        ``of_fits`` are the callbacks that hear of each fit as of one by itself.
        """
        context = self._init_callback_context(task_name=name, max_subtasks=n_steps)
        context.call_on_fit_task_begin(estimator=self)
        result = work(_Steps(self, context, of_fits))
        context.call_on_fit_task_end(estimator=self)
        return result


def as_one_task(work, name, n_steps, callbacks):
    """Return ``work(steps)``, telling callbacks of the whole call where they go down into fits.

    The others hear of each fit as of one by itself.
    """
    callbacks = callbacks or ()
    whole = [callback for callback in callbacks if isinstance(callback, AutoPropagatedCallback)]
    of_fits = [callback for callback in callbacks if callback not in whole]
    return Restoration().set_callbacks(*whole).fit(work, name, n_steps, of_fits)


class _Steps:
    """The steps of a call: fits of models, and pictures put together."""

    def __init__(self, call, context, of_fits):
        self._call, self._context, self._of_fits = call, context, of_fits

    def fit(self, model, patches, name):
        """Fit a model of ours, the callbacks listening."""
        step = self._context.subcontext(task_name=name)
        # inside: the begin and end of the fit are those of the step
        with step.propagate_callback_context(model.set_callbacks(*self._of_fits)):
            step.call_on_fit_task_begin(estimator=self._call)
            model.fit(patches)
            step.call_on_fit_task_end(estimator=self._call)
        return model

    def fit_given(self, model, patches):
        """Fit a model of the user's, which has callbacks of its own."""
        step = self._begun("given model")
        model.fit(patches)
        step.call_on_fit_task_end(estimator=self._call)
        return model

    def parts(self, iterable, n_parts, name):
        """Give what an iterable gives, telling how far it is."""
        n_told = min(n_parts, _MOST_PARTS)
        step = self._begun(name, max_subtasks=n_told)
        told = 0
        for done, part in enumerate(iterable, start=1):
            yield part
            while told < done * n_told // n_parts:
                task = step.subcontext(task_name="part")
                task.call_on_fit_task_begin(estimator=self._call)
                task.call_on_fit_task_end(estimator=self._call)
                told += 1
        step.call_on_fit_task_end(estimator=self._call)

    def _begun(self, name, **size):
        step = self._context.subcontext(task_name=name, **size)
        step.call_on_fit_task_begin(estimator=self._call)
        return step
