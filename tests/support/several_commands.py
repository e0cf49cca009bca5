"""Commands of `spolia` one after another in one other process, which imports torch once."""

from __future__ import annotations

# The program; takes a JSON list of commands, each a list of words. It prints, as JSON, of each the
# exit status, the standard output and the standard error.
SEVERAL = """
import contextlib, io, json, sys
from orchestrator import cli
told = []
for command in json.loads(sys.argv[1]):
    sys.argv, code, out, err = ["spolia", *command], 0, io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code or 0
    told.append((code, out.getvalue(), err.getvalue()))
print(json.dumps(told))
"""
