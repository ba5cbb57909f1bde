# SPDX-License-Identifier: Apache-2.0
"""What the tests of daemons and stores share: TAP, waiting, and no process left behind."""
import atexit
import signal
import subprocess
import sys
import time

started = []  # processes that must not outlive the test
count = failed = 0

# A test that is told to stop, or fails half-way, leaves no processes.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


@atexit.register
def end_started():
    for p in started:
        if p.poll() is None:
            p.kill()


def check(good, what, extra=""):
    global count, failed
    count += 1
    if not good:
        failed += 1
        print("#", str(extra)[:3000].replace("\n", "\n# "))
    print("ok" if good else "not ok", count, "-", what, flush=True)


def within(seconds, what):
    until = time.time() + seconds
    while time.time() < until:
        if what():
            return True
        time.sleep(0.02)
    return what()


def plan():
    """Prints the plan; the number of tests that failed."""
    print(f"1..{count}")
    return failed


def sanitized(program):
    """Was it built with a sanitizer?  Such programs bear no preloaded library, and cost what they do not cost a user."""
    told = subprocess.run(["ldd", str(program)], capture_output=True, text=True).stdout
    return "libasan" in told or "libtsan" in told
