"""The job with Optuna's grid sampler, in as many processes as one starts:
python with_optuna.py FOLDER SEED..."""

import sys

import optuna
from optuna.samplers import GridSampler
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from science import RECIPES, SPLITS, cell


def objective(trial):
    return cell(
        trial.suggest_categorical("recipe", RECIPES),
        trial.suggest_categorical("split", SPLITS),
        trial.suggest_int("seed", 0, 99),
    )


def main(folder, seeds):
    space = {"recipe": RECIPES, "split": SPLITS, "seed": seeds}
    study = optuna.create_study(
        study_name="pairs",
        storage=RDBStorage(
            f"sqlite:///{folder}/optuna.db",
            heartbeat_interval=5,
            # The grid takes a trial that failed for one that is done: it is put back by hand.
            heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=3),
        ),
        sampler=GridSampler(space),
        direction="maximize",
        load_if_exists=True,  # goes on where a process was killed
    )
    # The sampler ends the study when its grid is exhausted; a study that has ended is asked first.
    optuna.storages.fail_stale_trials(study)
    study.optimize(objective)
    trials = study.trials_dataframe()
    settings = trials[trials.state == "COMPLETE"].groupby(["params_recipe", "params_split"])
    table = settings["value"].agg(["mean", "std", "count"])
    print(table.sort_values("mean", ascending=False))


if __name__ == "__main__":
    main(sys.argv[1], [int(seed) for seed in sys.argv[2:]])
