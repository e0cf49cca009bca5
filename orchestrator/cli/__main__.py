"""`python -m orchestrator.cli` is `spolia`."""

from orchestrator.cli import main

main()
