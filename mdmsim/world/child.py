"""`python -m mdmsim.world.child MODULE ARGUMENTS`: run that module as `python -m` would, on a leash.

Standard input is the leash: the process that started this one holds its other end, which closes when it is gone, even
by kill -9. (Linux's PR_SET_PDEATHSIG would not do: it fires when the thread that forked ends, and trio starts
processes from worker threads that live for ten idle seconds.)
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

#: Seconds that an orderly end may take once nobody waits for it any more.
PATIENCE = 10.0


def _watch() -> None:
    while os.read(0, 1024):
        continue
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_watch, name="leash", daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
