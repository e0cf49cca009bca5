"""The parts of `benchmarks/faults.py`: what is disturbed, how, and what must hold afterwards.

`children` runs something in a forked process, `sweeps` has the small sweeps that are disturbed,
`verdicts` compares what is left with an undisturbed run, `ledger` remembers what was tried.
`calls`, `kills` and `mutations` are the parts themselves.
"""
