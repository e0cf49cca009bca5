"""What becomes of claims about `Graded` once some of its cells have run."""

from __future__ import annotations

from sample_methods import Graded

from orchestrator import Results, Sweep, make_plan, product
from orchestrator.analysis.claims import verdicts
from orchestrator.training.execute import execute


def decided(store, *claims, seeds=4, ran=None, **grid):
    """Verdicts after the first `ran` trials (None: all) of a grid of `Graded` with so many
    seeds.
    """
    cells = product(Graded.grid(**grid), seed=range(seeds))
    sweep = Sweep(question="?", cells=cells, expect=len(cells), claims=claims)
    for trial in make_plan("asked", sweep, store).todo[:ran]:
        assert execute(trial, store).kind == "done"
    plan = make_plan("asked", sweep, store)
    return list(verdicts(plan.claims, Results(plan, store)))
