"""trio wraps what a nursery's tasks raise in groups; whoever asked for one thing wants the one error back."""

from __future__ import annotations


def only(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one exception in a group, however deep; the innermost group that holds several."""
    inner: BaseException = group
    while isinstance(inner, BaseExceptionGroup) and len(inner.exceptions) == 1:
        inner = inner.exceptions[0]
    return inner
