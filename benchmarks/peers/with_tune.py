"""The job with Ray Tune and MLflow's callback: python with_tune.py FOLDER SEED..."""

import sys
from pathlib import Path

import mlflow
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from science import RECIPES, SPLITS, cell


def run(config):
    tune.report({"accuracy": cell(**config)})


def main(folder, seeds):
    tracking, name = f"sqlite:///{folder}/mlflow.db", "seeds-" + "-".join(map(str, seeds))
    space = {
        "recipe": tune.grid_search(RECIPES),
        "split": tune.grid_search(SPLITS),
        "seed": tune.grid_search(seeds),
    }
    trainable, path = tune.with_resources(run, {"cpu": 1}), f"{folder}/tune/{name}"
    if tune.Tuner.can_restore(path):  # goes on where a driver was killed
        tuner = tune.Tuner.restore(path, trainable, resume_unfinished=True, restart_errored=True)
    else:
        callback = MLflowLoggerCallback(tracking_uri=tracking, experiment_name="pairs")
        tuner = tune.Tuner(
            trainable,
            param_space=space,
            tune_config=tune.TuneConfig(reuse_actors=True),  # torch is loaded once a slot
            run_config=tune.RunConfig(
                name=name, storage_path=f"{folder}/tune", callbacks=[callback], verbose=1
            ),
        )
    tuner.fit()
    # A new seed is an experiment of its own, since a restored one takes no new cells: only in
    # MLflow are both.
    mlflow.set_tracking_uri(tracking)
    runs = mlflow.search_runs(experiment_names=["pairs"], filter_string="status = 'FINISHED'")
    settings = runs.groupby(["params.recipe", "params.split"])["metrics.accuracy"]
    print(settings.agg(["mean", "std", "count"]).sort_values("mean", ascending=False))


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), [int(seed) for seed in sys.argv[2:]])
