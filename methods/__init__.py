"""The methods: papers, baselines and measurements.

A paper is a folder whose main file has the folder's name and shows the paper's idea; a method that
needs no helpers is one file. `networks` holds the backbones, `pieces` what several methods share. A
method may import another method's class, what `pieces` and `networks` offer, and what is public in
another paper's folder; none imports Ray or MLflow.
"""
