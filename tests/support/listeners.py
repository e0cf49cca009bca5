"""What an executor tells, kept for a test that asks for it."""

from __future__ import annotations


class Heard:
    """A listener: the outcomes of trials that ended, and what was noted."""

    def __init__(self):
        self.ends, self.notes = [], []

    def preparing(self, what):
        pass

    def started(self, trial):
        pass

    def ended(self, outcome):
        self.ends.append(outcome)

    def noted(self, text):
        self.notes.append(text)
