"""Programs in processes of their own that need not wait until TensorFlow is imported.

A server imports once what they all need, which starts nothing, and forks for each of them. It takes
a line of JSON for a process, and answers with one of what `Finished` has.
"""

import atexit
import functools
import gc
import json
import os
import runpy
import subprocess
import sys
import tempfile

from tests.programs import ROOT, Finished, checked


def run(*words: object, check: bool = True, env: dict | None = None) -> Finished:
    """Runs `python` with the words in a process of its own.

    Args:
      *words: -m, a module and its flags; or -c and a script.
      check: whether it has to succeed.
      env: its environment; by default this process's.
    """
    server = _server()
    asked = {"words": list(map(str, words)), "env": dict(os.environ if env is None else env)}
    server.stdin.write(json.dumps(asked) + "\n")
    server.stdin.flush()
    return checked(Finished(*json.loads(server.stdout.readline())), check)


@functools.cache
def _server() -> subprocess.Popen:
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.forked"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(server.communicate)  # Without input it ends.
    return server


def _fork(env: dict[str, str]) -> Finished | None:
    """Returns what a new process did; None in that process itself."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = os.fork()
        if not child:
            with open(os.devnull) as nothing:
                for number, file in enumerate((nothing, out, err)):
                    os.dup2(file.fileno(), number)
            os.environ.clear()
            os.environ.update(env)
            return None
        _, status = os.waitpid(child, 0)
        out.seek(0)
        err.seek(0)
        return Finished(os.waitstatus_to_exitcode(status), out.read(), err.read())


def main() -> None:
    from tfmem import datasets, quiet

    quiet.in_program()
    quiet.import_tensorflow(find_devices=False)
    datasets.load("digits")  # Which imports scikit-learn.
    gc.freeze()  # So that processes share all this, and need not look through it when they end.
    for line in sys.stdin:
        asked = json.loads(line)
        done = _fork(asked["env"])
        if done is None:
            _become(*asked["words"])
            return
        print(json.dumps(done), flush=True)


def _become(option: str, what: str, *others: str) -> None:
    """Does what Python does with these words."""
    sys.argv[1:] = others
    if option == "-c":
        exec(compile(what, "<script>", "exec"), {"__name__": "__main__"})
    else:
        runpy.run_module(what, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
