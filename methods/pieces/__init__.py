"""Pieces that several methods share.

`building` (networks from their recipes), `maskable_weights`, `task_network` (what one task adds to
a frozen network), `task_orders` (several tasks on one base), `batch_norm_statistics`, `losses`,
`cost`, `accuracies`, `fixed_features`, `residual` (a residual network taken apart),
`recombined_networks`, `matrix_scores`.
"""
