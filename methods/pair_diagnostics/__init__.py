from methods.pair_diagnostics.pair_diagnostics import PairDiagnostics

__all__ = ["PairDiagnostics"]
