"""Distillation from a network that was trained before.

Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, 2015, arXiv:1503.02531. A
network learns the soft outputs of a teacher.

Departs from the paper: teacher and student are of one size; the hard labels are not used.
"""

from torch.nn import functional as F

from methods.fine_tune import FineTune
from orchestrator import Kept, Method, Metric, axis, one_cycle, roles, sgd


class Distil(Method):
    """Train a network on the soft outputs of a teacher."""

    name = "distil"
    tasks = roles("task")
    metrics = (Metric("accuracy", headline=True),)
    components = (Kept("network", by=("task",)),)

    teacher: FineTune = axis(
        FineTune(), smoke=FineTune(epochs=1), help="how the teacher is trained"
    )
    temperature: float = axis(4.0, over=(1.0, 4.0, 8.0), help="softens both outputs")
    epochs: int = axis(30, over=(10, 30), smoke=1)

    def needs(self, trial):
        return {"teacher": trial.replace(method=self.teacher)}

    def train(self, run):
        task = run.tasks.task
        student = run.network("student", task)
        teacher = run.need("teacher").network(task=task.name)
        run.fit(
            "distil",
            {"student": student},
            self.loss,
            task.train,
            frozen={"teacher": teacher},
            optimizer=sgd(0.1),
            schedule=one_cycle(),
            epochs=self.epochs,
            watch=lambda: {"val_accuracy": run.accuracy(student, task.validation_part)},
        )
        run.log(accuracy=run.accuracy(student, task.test))
        run.keep("network", student, by={"task": task.name})

    def loss(self, nets, batch):
        student, teacher = (
            nets[name](batch.x) / self.temperature for name in ("student", "teacher")
        )
        return {"soft": F.kl_div(student.log_softmax(1), teacher.softmax(1), reduction="batchmean")}
