#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Limits over three servers: four requests of 1, 0.75, 0.75 and 0.5 at one instant under 2.5, again and again, with servers killed in between.

usage: test-limits.py MOTORPOOLD MOTORPOOL FIXTURE-WORKER     prints TAP; ROUNDS=, KILLS= (every so many rounds), SEED= in the environment
A round begins as soon as the programs of the round before have ended: who has released may ask again.
"""
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests"))
from etcd import Etcd, missing  # noqa: E402
from servers import Pool, clean_environment  # noqa: E402
from tap import check, plan, started, within  # noqa: E402

if missing():
    print(f"1..0 # SKIP {missing()}")
    sys.exit(0)
DAEMON, COMMAND, WORKER = [os.path.abspath(a) for a in sys.argv[1:4]]
ROUNDS, KILLS = int(os.environ.get("ROUNDS", "8")), int(os.environ.get("KILLS", "4"))
seed = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)
rng = random.Random(seed)
root = pathlib.Path(tempfile.mkdtemp(prefix="mp-limits-"))
(root / "lib").mkdir()
(root / "lib/libcuda.so.1").write_text("")
env = dict(clean_environment(), MOTORPOOL_WORKER=WORKER, FIXTURE_DEVICES="2", FIXTURE_MEMORY="1024", MOTORPOOL_LIBDIR=str(root / "lib"),
           MOTORPOOL_NVMLDIR=str(root / "lib"))


class Run:
    """A program that says that it runs, and waits for a line."""

    def __init__(self, pool, fraction, server):
        self.p = subprocess.Popen([COMMAND, "run", "-p", fraction, "--server", server, "--timeout", "30", "--", "sh", "-c", "echo runs; read x; exit 0"],
                                  env=pool.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(self.p)
        self.granted = None
        self.t = threading.Thread(target=self.look)
        self.t.start()

    def look(self):
        self.granted = self.p.stdout.readline() == "runs\n"

    def end(self):
        self.p.stdin.close()
        code, said = self.p.wait(60), self.p.stderr.read()
        started.remove(self.p)
        return code, said


def one_round(pool, n, victim):
    """What went wrong, or None.  The victim is killed while its leases run (its programs end without it) or just after."""
    api = [s.address for s in pool.servers]
    rs = [Run(pool, f, api[(i + n) % 3]) for i, f in enumerate(("1", "0.75", "0.75", "0.5"))]
    for r in rs:
        r.t.join(60)
    granted = [r.granted for r in rs]
    early = victim and rng.random() < 0.5
    if early:
        victim.kill()
    ends = [r.end() for r in rs]
    if victim and not early:
        victim.kill()
    if victim:
        time.sleep(rng.uniform(0, 0.5))
        victim.start()
        if not victim.ready(30):
            return f"round {n}: {victim.name} does not come back"
        within(10, lambda: pool.states()[victim.name] == "ok")
    if granted.count(True) != 3 or sorted(e[0] for e in ends) != [0, 0, 0, 82]:
        return f"round {n}: granted {granted} {ends}"
    return None


def main():
    print(f"# seed {seed}: {ROUNDS} rounds, a server killed every {KILLS}")
    e = Etcd(root)
    pool = Pool(root, DAEMON, COMMAND, env, "etcd://" + e.endpoints, 3, lambda s: (["--driver", "none"], env))
    pool.env["MOTORPOOL_BUNDLE"] = pool.client("eve")
    pool.env["MOTORPOOL_LOG"] = os.environ.get("CLIENT_LOG", "")
    admin = dict(MOTORPOOL_BUNDLE=str(root / "bundle"))
    pool.run("limit", "set", "default", "2.5", **admin)
    bad, t0 = [], time.time()
    for n in range(ROUNDS):
        wrong = one_round(pool, n, rng.choice(pool.servers) if n % KILLS == KILLS - 1 else None)
        if wrong:
            bad.append(wrong)
            print(f"# {wrong}", flush=True)
    print(f"# {(time.time() - t0) / ROUNDS:.2f} s a round")
    check(not bad, f"of 1, 0.75, 0.75, 0.5 at one instant on three servers under 2.5 three are granted: {ROUNDS - len(bad)} of {ROUNDS} rounds")
    check(within(5, lambda: not pool.json("list")["leases"]), "afterwards nothing is lent", pool.json("list")["leases"])
    check(not any(pool.json("limit", "list")["in_use_millionths"].values()), "and nothing charged", pool.json("limit", "list"))
    pool.stop()
    e.close()
    failed = plan()
    if failed:
        print(f"# kept: {root}")
    else:
        shutil.rmtree(root)
    return 1 if failed else 0


sys.exit(main())
