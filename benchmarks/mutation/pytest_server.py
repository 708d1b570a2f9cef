"""Runs pytest in forks of one process that has imported MODULEs, such as sympy: most of a short run is imports.

    python benchmarks/mutation/pytest_server.py FOLDER SECONDS MODULE ...

Each line of standard input is a JSON list of arguments for pytest. Each is answered by one line of JSON: the exit
status, negative for a signal, and what pytest printed. A fork runs in FOLDER, imports the project from there, and has
SECONDS of computing. The server itself imports nothing of the project.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import tempfile


def run_pytest(folder: str, seconds: int, arguments: list[str]) -> tuple[int, str]:
    """Exit status and output of pytest with the arguments, in a fork."""
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            for stream in (1, 2):
                os.dup2(output.fileno(), stream)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.chdir(folder)
            sys.path.insert(0, folder)
            # Of computing, however busy the machine is: SIGXCPU ends the fork.
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))
            status = 3
            try:
                status = int(sys.modules["pytest"].main(arguments))
            finally:
                sys.stdout.flush()
                os._exit(status)
        _, status = os.waitpid(child, 0)
        output.seek(0)
        return os.waitstatus_to_exitcode(status), output.read().decode(errors="replace")


def main() -> None:
    folder, seconds, *modules = sys.argv[1:]
    for name in modules:
        importlib.import_module(name)
    for line in sys.stdin:
        print(json.dumps(run_pytest(folder, int(seconds), json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
