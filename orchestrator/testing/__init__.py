"""The contract suite, for our methods and for those of other packages.

from orchestrator.testing import MethodContract, smoke_trial

class TestMyMethod(MethodContract):
    @pytest.fixture
    def trial(self):
        return smoke_trial(MyMethod, network=my_network())

Imports the rooms up to `training`, and pytest. Promise: a method that passes can be killed at any
statement and resumed to the same bits, and leaves exactly what it declares.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.testing.contract import MethodContract
    from orchestrator.testing.killing import fingerprint, smoke_trial

__all__ = ["MethodContract", "fingerprint", "smoke_trial"]


def __getattr__(name: str) -> Any:
    """Load the suite, and torch with it, when it is first asked for: not for its option alone."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "MethodContract":  # brings pytest
        from orchestrator.testing import contract

        return contract.MethodContract
    from orchestrator.testing import killing

    return getattr(killing, name)
