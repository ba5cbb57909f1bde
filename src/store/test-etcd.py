#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The shared store against three real etcd nodes.     usage: test-etcd.py TEST-ETCD     prints TAP"""
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests"))
from etcd import Etcd, missing  # noqa: E402
from tap import check, plan, within  # noqa: E402

if missing():
    print(f"1..0 # SKIP {missing()}")
    sys.exit(0)
root = pathlib.Path(tempfile.mkdtemp(prefix="mp-etcd-"))


class Store:
    def __init__(self, endpoints, wait=10000):
        self.p = subprocess.Popen([sys.argv[1], endpoints, str(wait)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.first = self.p.stdout.readline().strip()

    def say(self, text):
        self.p.stdin.write(text + "\n")
        self.p.stdin.flush()

    def ask(self, text):
        self.say(text)
        return self.p.stdout.readline().strip()

    def end(self):
        self.p.stdin.close()
        return self.p.wait(10)


def main():
    e = Etcd(root)
    a, b = Store(e.endpoints), Store(e.endpoints)
    check(a.first == b.first == "ready", "two servers open one store", (a.first, b.first))
    check(a.ask("put /k 1") == "0" and a.ask("get /k").endswith(" 1"), "what was committed is read at once")
    check(within(1, lambda: b.ask("get /k").endswith(" 1")), "and soon by the other")
    rev = a.ask("get /k").split()[1]
    check(b.ask(f"cas /k {rev} 2") == "0" and a.ask(f"cas /k {rev} 3") == "1", "a guard that no longer holds is a conflict")
    check(a.ask("get /k").endswith(" 2"), "after which the copy has what it collided with")
    check(a.ask("cas /new 0 x") == "0" and b.ask("cas /new 0 y") == "1", "a key that must not exist")
    for s in (a, b):
        s.say("add /sum 100")
    check([s.p.stdout.readline().strip() for s in (a, b)] == ["0", "0"] and a.ask("sync /sum") == "0" and
          a.ask("get /sum").split()[2] == "200", "two add a hundred each: none is lost")
    check(a.ask("del /k") == "0" and a.ask("get /k").startswith("2 "), "a deleted key is gone at once")
    check(b.ask("sync /") == "0" and b.ask("get /k").startswith("2 "), "and after a sync from the other's copy")
    check(a.ask("mortal /alive/a 1") == "0" and within(1, lambda: b.ask("count /alive/") == "1"), "a mortal key")
    a.p.kill()
    t0 = time.time()
    check(within(6, lambda: b.ask("count /alive/") == "0"), "goes soon after its process")
    print(f"# {time.time() - t0:.1f} s")
    c = Store(e.endpoints)
    check(c.ask("mortal /alive/c 1") == "0" and c.end() == 0 and within(1, lambda: b.ask("count /alive/") == "0"),
          "and at once when that ends in order")
    e.kill(e.leader())
    check(within(6, lambda: b.ask("put /x 1") == "0"), "with the leader of three killed, commits go on")
    left = [i for i in range(3) if e.nodes[i]]
    e.kill(left[0])
    check(within(8, lambda: b.ask("up") == "0"), "with two of three killed, the loss becomes known")
    t0 = time.time()
    check(b.ask("put /x 2") == "-1" and time.time() - t0 < 0.1, "then a commit fails at once", time.time() - t0)
    check(b.ask("get /x").endswith(" 1"), "and reading goes on")
    d = Store(e.endpoints, 20000)
    check(d.first == "ready" and d.ask("up") == "0" and d.ask("get /sum").endswith(" 200"), "a server that starts now reads, too", d.first)
    e.start(left[0])
    check(within(10, lambda: b.ask("up") == "1"), "when one comes back, the majority is found without help")
    check(b.ask("put /x 3") == "0" and within(5, lambda: d.ask("get /x").endswith(" 3")), "commits and watches go on")
    check(within(5, lambda: d.ask("mortal /alive/d 1") == "0"), "and mortal keys are to be had again")
    for s in (b, d):
        s.end()
    n = Store("127.0.0.1:1", 300)
    check(n.first.startswith("! ") and "cannot be read" in n.first, "no etcd at all is told", n.first)
    e.close()
    failed = plan()
    shutil.rmtree(root)
    return 1 if failed else 0


sys.exit(main())
