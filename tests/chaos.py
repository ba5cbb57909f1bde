#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A pool under chaos: servers are killed and come back while many clients take, fill, check and release slices.

usage: chaos.py [--servers N] [--devices N] [--processes N] [--threads N] [--programs N] [--hold S] [--kills N] [--seconds N] [--seed N] BUILD
Prints TAP.  What must hold is judged from what the clients wrote down themselves: never more lent of a device than it
has, never over a client's limit, nobody else's bytes.  --programs processes of clients run a program through the drop-in.
"""
import argparse
import collections
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from etcd import Etcd, missing  # noqa: E402
from servers import Pool, clean_environment  # noqa: E402
from tap import check, plan, started  # noqa: E402

if missing():
    print(f"1..0 # SKIP {missing()}")
    sys.exit(0)
a = argparse.ArgumentParser()
for name, value in (("servers", 3), ("devices", 2), ("processes", 3), ("threads", 6), ("programs", 1), ("hold", 4), ("seconds", 10), ("seed", 0), ("kills", 2)):
    a.add_argument(f"--{name}", type=int, default=value)
a.add_argument("build")
a = a.parse_args()
seed = a.seed or random.SystemRandom().randrange(1, 1 << 30)
rng = random.Random(seed)
B = pathlib.Path(a.build).resolve()
DAEMON, COMMAND = B / "src/daemon/motorpoold", B / "src/cli/motorpool"
MEMORY = 32 << 20
LIMIT = 3.5
# Each client has a token of its own, and several threads: together they want about twice what it may have.
CLIENTS = max(4, a.processes * a.threads // 10)
root = pathlib.Path(tempfile.mkdtemp(prefix="mp-chaos-"))
env = dict(clean_environment(), MOTORPOOL_WORKER=str(B / "src/worker/motorpool-worker"), MOTORPOOL_LIBDIR=str(B / "src/shim"), MOTORPOOL_SOFT_CONTEXT_MEMORY="2M", MOTORPOOL_SOFT_THREADS="1", MOTORPOOL_WORKER_CONFINE="strict")


def arguments(s):
    soft = root / f"soft{s.name}"
    soft.mkdir(exist_ok=True)
    return (["--driver", B / "src/soft/gpu/libcuda.so.1"],
            dict(env, MOTORPOOL_SOFT_DIR=str(soft), MOTORPOOL_WORKER_WRITE=str(soft), MOTORPOOL_SOFT_DEVICES=str(a.devices),
                 MOTORPOOL_SOFT_MEMORY=f"{MEMORY >> 20}M"))


def judge(files):
    """From the clients' histories: intervals in which a slice was surely somebody's."""
    events, leases, bad, notes, granted = [], {}, [], collections.Counter(), 0
    for f in files:
        for line in f.read_text().splitlines():
            w = line.split(" ")
            if w[0] == "held":
                granted += 1
                slices = [(w[5], u, int(b)) for u, b in (s.split("=") for s in w[6].split(","))]
                leases[w[2]] = (w[3], int(w[4]), slices)
                events.append((int(w[1]), 1, w[2]))
            elif w[0] in ("lost", "left", "sure"):
                events.append((int(w[1]), {"lost": 0, "left": 0, "sure": 1}[w[0]], w[2]))
            elif w[0] == "bad":
                bad.append(line)
            else:
                notes[w[-1]] += 1
    used, cost, sure, over, above = collections.Counter(), collections.Counter(), set(), [], []
    # Of two at one instant the end comes first.
    for t, kind, lease in sorted(events):
        client, c, slices = leases[lease]
        if kind and lease not in sure:
            sure.add(lease)
            cost[client] += c
            for s, u, b in slices:
                used[s, u] += b
                if used[s, u] > MEMORY:
                    over.append((t, s, u, used[s, u]))
            if cost[client] > LIMIT * 1e6:
                above.append((t, client, cost[client]))
        elif not kind and lease in sure:
            sure.discard(lease)
            cost[client] -= c
            for s, u, b in slices:
                used[s, u] -= b
    return granted, over, above, bad, notes


class Cpu:
    """What the machine is busy with: processor time of servers, store, clients and everything else."""

    def __init__(self, servers, store, clients):
        self.groups = {"servers": lambda: [s.p.pid for s in servers], "store": lambda: [n.pid for n in store.nodes if n], "clients": lambda: [p.pid for p in clients]}
        self.last, self.at = {}, 0
        self.said = time.time()
        self.read()

    def read(self):
        now, parts = time.time(), {}
        for name, pids in self.groups.items():
            total = 0
            for pid in pids():
                try:
                    f = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                except OSError:
                    continue
                t = (int(f[11]) + int(f[12])) / os.sysconf("SC_CLK_TCK")
                total += t - self.last.get(pid, 0 if self.at else t)
                self.last[pid] = t
            parts[name] = total / (now - self.at)
        self.at = now
        return parts

    def say(self, killed):
        if time.time() < self.said + 15:
            return
        self.said = time.time()
        parts = " ".join(f"{k} {v:.2f}" for k, v in self.read().items())
        print(f"# {killed} kills; processors: {parts}; load {os.getloadavg()[0]:.1f}", flush=True)


def main():
    print(f"# seed {seed}: {a.servers} servers of {a.devices} soft GPUs, {a.processes} x {a.threads} clients, {a.programs} of them with programs, "
          f"{a.seconds} s")
    e = Etcd(root, election=1000 if a.servers < 10 else 3000)
    t0 = time.time()
    pool = Pool(root, DAEMON, COMMAND, env, "etcd://" + e.endpoints, a.servers, arguments)
    servers, motorpool = pool.servers, pool.run
    print(f"# the pool is up after {time.time() - t0:.1f} s")
    up = pool.states()
    check(len(up) == a.servers and set(up.values()) == {"ok"}, f"{a.servers} servers are one pool", up)
    m = re.search(r"handshakes=(\d+) requests=(\d+)",
                  subprocess.run([COMMAND, "run", "-p", "0.5", "--", "true"], env=dict(pool.env, MOTORPOOL_LOG="debug"), capture_output=True, text=True).stderr)
    # The request that is answered with the lease is open as long as the lease, and not yet counted.
    check(m and int(m[1]) <= 2 and int(m[2]) + 1 <= 3, f"a grant in the idle pool: {m[1]} handshakes, {int(m[2]) + 1} requests" if m else "a grant in the idle pool", m)
    motorpool("limit", "set", "default", str(LIMIT))
    bundles = []
    for i in range(CLIENTS):
        bundles.append(pool.client(f"client{i}", rng.sample(pool.seeds, min(8, a.servers))))
    ps = []
    for i in range(a.processes):
        at = i * a.threads % CLIENTS
        mine = bundles[at:] + bundles[:at]
        program = str(B / "src/daemon/hold") if i < a.programs else "-"
        # Servers and store go first, as on machines of their own.
        ps.append(subprocess.Popen(["nice", "-n", "5", B / "src/daemon/chaos-client", str(seed % 100000 + i), str(a.seconds), str(a.threads), str(a.hold), program, B / "src/shim",
                                    str(root / f"history{i}"), *mine], env=env, stderr=open(root / f"client{i}.log", "a")))
    started.extend(ps)
    end, killed = time.time() + a.seconds - 4, 0
    pause = max(2.0, a.seconds / (a.kills + 1))
    cpu = Cpu(servers, e, ps)
    while time.time() < end - pause:
        time.sleep(pause * rng.uniform(0.5, 1.2))
        s = rng.choice(servers)
        s.kill()
        killed += 1
        time.sleep(rng.uniform(0.2, 3))
        s.start()
        if not s.ready():
            check(False, f"{s.name} comes back", s.log.read_text()[-1500:])
        cpu.say(killed)
    for p in ps:
        p.wait(a.seconds + 120)
    granted, over, above, bad, notes = judge([root / f"history{i}" for i in range(a.processes)])
    check(all(p.returncode == 0 for p in ps) and granted > 0, f"{granted} leases were given while servers were killed {killed} times", notes)
    check(not over, "never more of a device than it has", over[:5])
    check(not above, "never over a limit", above[:5])
    check(not bad, "nobody saw anybody else's bytes", bad[:5])
    for k, v in notes.most_common(3):
        print(f"# {v} x {k}")
    until = time.time() + 60
    while True:
        p = json.loads(motorpool("list", "--json").stdout)
        use = json.loads(motorpool("limit", "list", "--json").stdout)["in_use_millionths"]
        free = all(x["free"] == x["memory"] for s in p["servers"] for x in s["devices"])
        if (free and not p["leases"] and not use and not p["line"]) or time.time() > until:
            break
        time.sleep(0.5)
    check(free and not p["leases"] and not use and not p["line"], "afterwards everything is free", (p["leases"][:3], use, p["line"][:3]))
    pool.stop()
    e.close()
    failed = plan()
    if failed:
        print(f"# kept: {root}")
    else:
        shutil.rmtree(root)
    return 1 if failed else 0


sys.exit(main())
