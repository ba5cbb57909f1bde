#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A server whose disk is full: its state and its log are on a file system of a few MiB.

usage: test-full.py MOTORPOOLD MOTORPOOL FIXTURE-WORKER     prints TAP; skipped without root
"""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests"))
from tap import check, plan, started, within  # noqa: E402

DAEMON, COMMAND, WORKER = [os.path.abspath(a) for a in sys.argv[1:4]]
if os.getuid():
    print("1..0 # SKIP mounting a small file system needs root")
    sys.exit(0)
root = pathlib.Path(tempfile.mkdtemp(prefix="mp-full-"))
small = root / "small"
small.mkdir()
if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m,mode=700", "tmpfs", str(small)], capture_output=True).returncode:
    print("1..0 # SKIP nothing can be mounted here")
    sys.exit(0)
(root / "lib").mkdir()
(root / "lib/libcuda.so.1").write_text("")
env = {k: v for k, v in os.environ.items() if not k.startswith("MOTORPOOL")}
env.update(MOTORPOOL_WORKER=WORKER, FIXTURE_DEVICES="2", FIXTURE_MEMORY="1024", MOTORPOOL_LIBDIR=str(root / "lib"), MOTORPOOL_NVMLDIR=str(root / "lib"),
           MOTORPOOL_BUNDLE=str(root / "bundle"), XDG_RUNTIME_DIR=str(root))


def motorpool(*args):
    return subprocess.run([COMMAND, *args], env=env, capture_output=True, text=True, timeout=60)


def leases():
    return json.loads(motorpool("list", "--json").stdout)["leases"]


class Daemon:
    api = data = 0

    def __init__(self, log=small / "log"):
        self.p = subprocess.Popen([DAEMON, "--driver", "none", "--api", f"127.0.0.1:{Daemon.api}", "--data", f"127.0.0.1:{Daemon.data}", "--state",
                                   str(small / "state"), "--name", "s1"], env=dict(env, MOTORPOOL_LOG="info"), stdout=subprocess.PIPE,
                                  stderr=open(log, "a"), text=True)
        started.append(self.p)

    def ready(self, starts=1):
        good = within(10, lambda: (small / "log").read_text().count("daemon ready") >= starts or self.p.poll() is not None) and self.p.poll() is None
        m = re.findall(r"ready api-port=(\d+) data-port=(\d+)", (small / "log").read_text())
        if m:
            Daemon.api, Daemon.data = map(int, m[-1])
        return good


class Run:
    def __init__(self, *args):
        self.p = subprocess.Popen([COMMAND, "run", *args, "--", "sh", "-c", "echo runs; read x; exit 7"], env=env, stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(self.p)
        self.good = self.p.stdout.readline() == "runs\n"

    def end(self):
        self.p.stdin.close()
        return self.p.wait(10)


def fill():
    """To the last byte, and at once again whatever becomes free."""
    with open(small / "ballast", "ab", buffering=0) as f:
        for size in (1 << 20, 1 << 16, 1 << 12, 1):
            try:
                while f.write(b"x" * size) == size:
                    pass
            except OSError:
                pass


def main():
    d = Daemon()
    check(d.ready(), "a server is up", (small / "log").read_text())
    shutil.copytree(small / "state/admin-bundle", root / "bundle")
    (root / "bundle/servers").write_text(f"127.0.0.1:{Daemon.api}\n")
    runs = [Run("-p", "0.25") for _ in range(3)]
    check(all(r.good for r in runs) and len(leases()) == 3, "three programs run", leases())

    fill()
    b = motorpool("run", "-p", "0.25", "--timeout", "0", "--", "true")
    check(b.returncode not in (0, 75) and "full" in b.stderr and b.stderr.count("\n") == 1, "the disk is full: a request is refused, in one sentence that says so", b)
    b = motorpool("token", "create", "--client", "bob", "-o", str(root / "bob"))
    check(b.returncode != 0 and "full" in b.stderr, "so is a new token", b)
    h = {c["check"]: c for c in json.loads(motorpool("health", "--json").stdout)["checks"]}
    check(h["disk"]["state"] == "fail" and h["disk"]["remedy"], "health says it, and what to do", h["disk"])
    check(len(leases()) == 3 and all(r.p.poll() is None for r in runs), "programs run on, their leases are listed", leases())
    fill()
    check(runs[0].end() == 7 and within(3, lambda: len(leases()) == 2), "one ends, and its lease with it", leases())

    d.p.send_signal(signal.SIGKILL)
    d.p.wait()
    fill()
    d = Daemon(root / "stderr")
    if d.p.poll() is None and within(6, lambda: d.p.poll() is not None or motorpool("list").returncode == 0) and d.p.poll() is None:
        check(len(leases()) == 2, "a server that is started with a full disk has its leases", leases())
    else:
        check(d.p.wait(10) == 78 and "full" in (root / "stderr").read_text(), "a server does not start with a full disk, and says so",
              (d.p.returncode, (root / "stderr").read_text()))
        (small / "ballast").unlink()
        d = Daemon()

    (small / "ballast").unlink(missing_ok=True)
    check(within(10, lambda: motorpool("run", "-p", "0.25", "--timeout", "0", "--", "true").returncode == 0), "with room again leases are given",
          motorpool("run", "-p", "0.25", "--timeout", "0", "--", "true"))
    check(len(leases()) == 2 and all(r.p.poll() is None for r in runs[1:]), "nothing was lost", leases())
    h = {c["check"]: c for c in json.loads(motorpool("health", "--json").stdout)["checks"]}
    check(h["disk"]["state"] != "fail", "health is content", h["disk"])
    time.sleep(1.2)
    check([r.end() for r in runs[1:]] == [7, 7] and within(3, lambda: not leases()), "they end, and all is free", leases())
    use = json.loads(motorpool("limit", "list", "--json").stdout)["in_use_millionths"]
    check(not any(use.values()), "nothing stays charged", use)
    d.p.send_signal(signal.SIGKILL)
    d.p.wait()
    d = Daemon()
    check(within(10, lambda: motorpool("list").returncode == 0) and not leases(), "nor comes back with the next start", leases())
    d.p.terminate()
    d.p.wait(10)


try:
    main()
finally:
    for p in started:
        if p.poll() is None:
            p.kill()
            p.wait()
    failed = plan()
    if failed and (small / "log").exists():
        print("#", (small / "log").read_text()[-3000:].replace("\n", "\n# "))
    subprocess.run(["umount", str(small)])
    shutil.rmtree(root)
sys.exit(1 if failed else 0)
