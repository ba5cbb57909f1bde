#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a lease costs in an idle pool of many servers, and what the pool costs when nobody asks.

usage: idle.py [--servers N] [--devices N] [--grants N] BUILD     prints TAP
Counts are judged, as both sides have them: handshakes and round trips of the client, transactions, handshakes and
requests of all servers.  Times are told.
"""
import argparse
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from etcd import Etcd, missing  # noqa: E402
from servers import Pool, clean_environment  # noqa: E402
from tap import check, plan, sanitized  # noqa: E402

if missing():
    print(f"1..0 # SKIP {missing()}")
    sys.exit(0)
a = argparse.ArgumentParser()
for name, value in (("servers", 50), ("devices", 8), ("grants", 12), ("seconds", 3)):
    a.add_argument(f"--{name}", type=int, default=value)
a.add_argument("build")
a = a.parse_args()
B = pathlib.Path(a.build).resolve()
if sanitized(B / "src/daemon/motorpoold"):
    print("1..0 # SKIP with a sanitizer a server costs what it costs nobody")
    sys.exit(0)
root = pathlib.Path(tempfile.mkdtemp(prefix="mp-idle-"))
(root / "lib").mkdir()
(root / "lib/libcuda.so.1").write_text("")
env = dict(clean_environment(), MOTORPOOL_WORKER=str(B / "src/daemon/fixture-worker"), FIXTURE_DEVICES=str(a.devices), FIXTURE_MEMORY="1024",
           MOTORPOOL_LIBDIR=str(root / "lib"), MOTORPOOL_NVMLDIR=str(root / "lib"))


def used(pid):
    """Processor time in ms, and switches, of a process's threads."""
    ns = switches = 0
    for t in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            ns += int((t / "schedstat").read_text().split()[0])
            switches += sum(int(n) for n in re.findall(r"ctxt_switches:\s+(\d+)", (t / "status").read_text()))
        except OSError:
            pass
    return ns / 1e6, switches


def idle(pool, e):
    pids = [s.p.pid for s in pool.servers]
    before, store = [used(p) for p in pids], sum(used(n.pid)[0] for n in e.nodes)
    time.sleep(a.seconds)
    after = [used(p) for p in pids]
    ms = statistics.mean((y[0] - x[0]) / a.seconds for x, y in zip(before, after))
    wakes = statistics.mean((y[1] - x[1]) / a.seconds for x, y in zip(before, after))
    rest = (sum(used(n.pid)[0] for n in e.nodes) - store) / a.seconds
    memory = [sum(int(n) for n in re.findall(r"Private_\w+:\s+(\d+)", pathlib.Path(f"/proc/{p}/smaps_rollup").read_text())) for p in pids]
    threads = [int(re.search(r"Threads:\s+(\d+)", pathlib.Path(f"/proc/{p}/status").read_text())[1]) for p in pids]
    print(f"# an idle server: {ms:.2f} ms of processor and {wakes:.0f} switches a second, {statistics.mean(memory) / 1024:.1f} MiB of its own, "
          f"{max(threads)} threads; its share of the store {rest / len(pids):.2f} ms")
    check(ms < 20 and wakes < 60 and statistics.mean(memory) < 16 << 10, "an idle server costs next to nothing", (ms, wakes, memory))


def counters(pool):
    total = {}
    for s in pool.servers:
        for x in pool.json("list", "--server", s.address)["servers"]:
            for k, v in (x.get("counters") or {}).items():
                total[k] = total.get(k, 0) + v
    return total


def grants(pool):
    # Looking costs a handshake and a request of each server, itself included where it is counted.
    before = counters(pool)
    times, most = [], [0, 0]
    for i in range(a.grants):
        t0 = time.monotonic()
        p = subprocess.run([pool.command, "run", "-p", "0.5", "--", "sh", "-c", "date +%s.%N"], env=dict(pool.env, MOTORPOOL_LOG="debug"),
                           capture_output=True, text=True, timeout=60)
        m = re.search(r"granted handshakes=(\d+) requests=(\d+)", p.stderr)
        if p.returncode or not m:
            check(False, "a grant", p)
            return
        # The request that is answered with the lease, and its connection, are open as long as the lease and not yet counted.
        most = [max(most[0], int(m[1]) + 1), max(most[1], int(m[2]) + 1)]
        times.append(time.monotonic() - t0)
    after = counters(pool)
    n = len(pool.servers)
    cost = {k: after[k] - before[k] for k in ("granted", "store_commits", "handshakes", "requests")}
    looked = n
    check(cost["granted"] == a.grants, f"{a.grants} leases were given", cost)
    check(most[0] <= 2 and most[1] <= 3, f"each with at most 2 handshakes and 3 round trips: {most[0]} and {most[1]}", most)
    check(cost["handshakes"] - looked <= 2 * a.grants and cost["requests"] - looked <= 3 * a.grants,
          f"which the servers say, too: {(cost['handshakes'] - looked) / a.grants:.2f} handshakes, {(cost['requests'] - looked) / a.grants:.2f} requests", cost)
    check(cost["store_commits"] == 2 * a.grants, "and with one transaction, and another at its end", cost)
    times.sort()
    print(f"# run of a program that does nothing: {times[len(times) // 2] * 1e3:.0f} ms in the middle, {times[0] * 1e3:.0f} to {times[-1] * 1e3:.0f} ms")


def main():
    e = Etcd(root, election=1000)
    t0 = time.time()
    pool = Pool(root, B / "src/daemon/motorpoold", B / "src/cli/motorpool", env, "etcd://" + e.endpoints, a.servers,
                lambda s: (["--driver", "none"], env))
    print(f"# {a.servers} servers of {a.devices} devices are up after {time.time() - t0:.1f} s")
    check(set(pool.states().values()) == {"ok"}, f"{a.servers} servers are one pool", pool.states())
    time.sleep(1)
    idle(pool, e)
    grants(pool)
    pool.stop()
    e.close()
    failed = plan()
    shutil.rmtree(root)
    return 1 if failed else 0


sys.exit(main())
