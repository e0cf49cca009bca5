"""Pieces that several methods share: costs, losses, a task's own part of a network, orders of tasks."""
