"""Asking a store again that does not answer: servers are restarted and networks come back."""

from __future__ import annotations

import errno

import tenacity

from orchestrator.errors import CorruptError, StoreError

# No space, no quota, no right to write: nobody mends that within minutes.
LASTING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM})
AN_OUTAGE = 120.0  # seconds for which a store may be away without a node being blamed for it


def asking_again(seconds: float) -> tenacity.Retrying:
    """Tries with growing pauses, for so many seconds, of what asks a store. Raises what the last
    one raised. Use: `asking_again(60.0)(store.find, key)`.
    """
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(_may_pass),
        stop=tenacity.stop_after_delay(seconds),
        wait=tenacity.wait_exponential(multiplier=0.5, max=30),
        reraise=True,
    )


def _may_pass(error: BaseException) -> bool:
    """Whether a store may answer otherwise a little later."""
    if not isinstance(error, StoreError) or isinstance(error, CorruptError):
        return False
    cause = error.__cause__
    return not (isinstance(cause, OSError) and cause.errno in LASTING)
