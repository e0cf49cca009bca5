"""Ray Tune, as a pool of warm processes on a private local Ray or on a cluster.

`driver.py` has the executor, `tune_pool.py` all that is Tune's, `cluster.py` and `nodes.py` what is
Ray's. Only these three of them import Ray, and only when an executor of this name runs something.
"""

import os

# Read by Ray when it is imported: no loggers that block the driver, no change of folder, no
# snapshots every few seconds, Ctrl-C is ours.
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "600")
os.environ.setdefault("TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S", "0")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
os.environ.setdefault("RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Milliseconds in which it becomes known why the connection to a worker broke: after one second, as
# Ray has it, nobody has missed the machine yet, and who waits hears that the worker is unavailable.
os.environ.setdefault("RAY_timeout_ms_task_wait_for_death_info", "60000")
