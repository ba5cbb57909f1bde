#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The whole path: motorpoold, motorpool, drop-in, worker and a driver library, with a program that holds memory.

usage: test-whole.py MOTORPOOLD MOTORPOOL WORKER DRIVER LIBDIR PROGRAM WORKER-THAT-DOES-NOT-ZERO     prints TAP
"""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests"))
from tap import check, plan, started, within  # noqa: E402

DAEMON, COMMAND, WORKER, DRIVER, LIBDIR, PROGRAM, BROKEN = [os.path.abspath(a) for a in sys.argv[1:8]]
root = pathlib.Path(tempfile.mkdtemp(prefix="mp-whole-"))
env = {k: v for k, v in os.environ.items() if not k.startswith(("MOTORPOOL_", "CUDA_"))}
env.update(MOTORPOOL_WORKER=WORKER, MOTORPOOL_LIBDIR=LIBDIR, MOTORPOOL_BUNDLE=str(root / "bundle"),
           MOTORPOOL_SOFT_CONTEXT_MEMORY="64M", MOTORPOOL_WORKER_CONFINE="strict")


def motorpool(*args):
    return subprocess.run([COMMAND, *args], env=env, capture_output=True, text=True, timeout=60)


def pool():
    return json.loads(motorpool("list", "--json").stdout)


def free_mib(device=0):
    return pool()["servers"][0]["devices"][device]["free"] >> 20


class Program:
    """PROGRAM under run, or inside a lease's environment."""

    def __init__(self, *args, environment=None):
        command = [PROGRAM] if environment else [COMMAND, "run", *args, "--", PROGRAM]
        self.p = subprocess.Popen(command, env=environment or env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True)
        self.first = self.p.stdout.readline().strip()

    def ask(self, text):
        self.p.stdin.write(text + "\n")
        self.p.stdin.flush()
        return self.p.stdout.readline().strip()

    def end(self):
        self.p.stdin.close()
        return self.p.wait(20)

    def environment(self):
        """Of the program that run started: what its own children would inherit."""
        child = pathlib.Path(f"/proc/{self.p.pid}/task/{self.p.pid}/children").read_text().split()[0]
        pairs = pathlib.Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        return dict(p.decode().split("=", 1) for p in pairs if b"=" in p)


def start(api="127.0.0.1:0", data="127.0.0.1:0", also=True, **more):
    d = subprocess.Popen([DAEMON, "--demo", "--driver", DRIVER, "--devices", "2", "--device-memory", "1GiB", "--api",
                          api, "--data", data + (f",unix:{root}/data" if also else ""), "--state", str(root / "state"),
                          "--bundle", str(root / "bundle"), "--name", "s1"],
                         env=dict(env, **more), stdout=subprocess.PIPE, stderr=open(root / "log", "a"), text=True)
    started.append(d)
    return d, d.stdout.readline()


def test_slice():
    p = Program("-p", "0.5")
    check(p.first == "0", "a program initialises through the pool", p.first)
    left, total, whole = p.ask("i").split()
    check(total == whole == "512" and int(left) == 512 - 64, "half of a device is what it sees, its context counted",
          (left, total, whole))
    check(p.ask("w") == "0", "its data comes back")
    check(p.ask("a 100") == "0" and p.ask("a 400") == "2", "more than the slice is CUDA_ERROR_OUT_OF_MEMORY")
    l = pool()["leases"][0]
    check(164 <= l["devices"][0]["used"] >> 20 <= 200 and l["processes"][0]["program"] == "hold", "list shows its use", l)
    q = Program(environment=p.environment())
    check(q.first == "0", "a second process joins by its environment")
    check(q.ask("a 300") == "2", "both share one slice")
    check(q.ask("i").split()[1] == "512", "and see its size")
    q.end()
    check(within(2, lambda: len(pool()["leases"][0]["processes"]) == 1), "its worker ends with it")
    check(p.ask("a 300") == "0", "and gives its memory back")
    check(p.end() == 0 and within(1, lambda: free_mib() == 1024), "the end of the program frees the lease")


def test_several():
    p = Program("-n", "2", "-m", "256")
    check(p.ask("n") == "2" and p.ask("i").split()[1] == "256", "two devices of 256 MiB")
    q = Program("-p", "0.75")
    check(q.first == "0" and q.ask("i").split()[1] == "768", "three quarters beside them")
    check(p.ask("w") == "0" and q.ask("w") == "0", "both work")
    p.end()
    q.end()


def test_killed():
    p = Program("-p", "0.5")
    p.ask("a 100")
    t0 = time.time()
    p.p.kill()
    check(within(1, lambda: free_mib() == 1024), "kill -9 of run frees all within a second, though its program lives",
          pool())
    print(f"# freed after {time.time() - t0:.3f} s")
    p = Program("-p", "0.5")
    worker = pool()["leases"][0]["processes"][0]["worker"]
    os.kill(worker, signal.SIGKILL)
    t0 = time.time()
    r = p.ask("w")
    check(r not in ("0", "") and time.time() - t0 < 1, "after kill -9 of its worker a call fails at once", r)
    check(p.ask("w") == r, "and every later one alike")
    check(within(1, lambda: pool()["leases"][0]["devices"][0]["used"] == 0), "nothing stays charged")
    q = Program(environment=p.environment())
    check(q.first == "0" and q.ask("w") == "0", "the lease still serves a new process")
    q.end()
    p.end()


def test_no_launcher():
    alone = dict(env, LD_LIBRARY_PATH=LIBDIR, MOTORPOOL_GPU_MEMORY="25%", MOTORPOOL_TIMEOUT="0")
    p = Program(environment=alone)
    check(p.first == "0" and p.ask("i").split()[1] == "256", "without run, the drop-in asks by itself", p.first)
    l = pool()["leases"]
    check(len(l) == 1 and l[0]["program"] == "hold", "its lease is shown with its program", l)
    q = Program(environment=dict(alone, MOTORPOOL_GPU_MEMORY="900"))
    check(q.first == "0" and free_mib(0) + free_mib(1) == 2048 - 256 - 900, "another has a lease of its own", pool())
    r = Program(environment=dict(alone, MOTORPOOL_GPU_MEMORY="901"))
    check(r.first == "100", "what does not fit is no device", r.first)
    r.end()
    check("nothing fits now" in r.p.stderr.read(), "and the reason is told")
    p.p.kill()
    q.end()
    check(within(1, lambda: free_mib(0) == free_mib(1) == 1024), "their ends free the leases, kill -9 too", pool())


def test_key():
    """Ranks without a launcher of ours: one lease by their session, or by a key."""
    alone = dict(env, LD_LIBRARY_PATH=LIBDIR, MOTORPOOL_GPU_MEMORY="50%", MOTORPOOL_TIMEOUT="0", MOTORPOOL_LEASE_LINGER="2",
                 XDG_RUNTIME_DIR=str(root))
    ranks = [Program(environment=alone) for _ in range(3)]
    check(all(r.first == "0" for r in ranks) and len(pool()["leases"]) == 1 and len(pool()["leases"][0]["processes"]) == 3,
          "programs of one session that ask for the same share a lease", (pool()["leases"], [r.first for r in ranks]))
    other = Program(environment=dict(alone, MOTORPOOL_LEASE_KEY="other"))
    check(other.first == "0" and len(pool()["leases"]) == 2, "one with a key of its own has another")
    ranks[0].end()  # the first, whose helper holds the lease
    time.sleep(0.5)
    check(ranks[1].ask("w") == "0" and len(pool()["leases"]) == 2, "it lives on when the first leaves")
    other.end()
    for r in ranks[1:]:
        r.end()
    check(len(pool()["leases"]) >= 1 and within(6, lambda: not pool()["leases"]), "and ends a while after the last", pool()["leases"])


def test_exact():
    """A partition is exact to the granule, as a device of that size is."""
    alone = Program(environment=dict(env, LD_LIBRARY_PATH=os.path.dirname(DRIVER), MOTORPOOL_SOFT_MEMORY="512M",
                                     MOTORPOOL_SOFT_DIR=str(root)))
    p = Program("-p", "0.5")
    for q, what in ((alone, "a soft GPU of that size"), (p, "a partition")):
        left = int(q.ask("i").split()[0])
        first, more = q.ask(f"a {left}"), q.ask("a 2")
        check(left == 448 and first == "0" and more == "2", f"{what}: what cuMemGetInfo reports can be had, one granule more cannot",
              (left, first, more))
        check(q.ask("i").split()[0] == "0", "and nothing is left then")
        q.end()


def test_joining():
    """Eight processes of one lease, as a launcher of ranks starts them."""
    p = Program("-p", "0.75")
    e = p.environment()
    ranks = [Program(environment=e) for _ in range(7)]
    check(all(r.first == "0" for r in ranks) and len(pool()["leases"]) == 1 and len(pool()["leases"][0]["processes"]) == 8,
          "eight ranks are one lease", [r.first for r in ranks])
    # 768 - 8 contexts of 64: 256 are left for all.
    got = [r.ask("a 40") for r in ranks + [p]]
    # Six would fit; what a process holds in reserve may make it one less, never one more.
    check(got.count("0") in (5, 6) and got.count("2") == 8 - got.count("0"), "and share its memory, contexts included", got)
    for r in ranks:
        r.end()
    check(within(3, lambda: len(pool()["leases"][0]["processes"]) == 1) and p.ask("a 400") == "0", "what they had comes back")
    p.end()


def test_zeroed(seen):
    p = Program("-p", "0.5")
    check(p.ask("f 400 165") == "0" and p.ask("v") == "0", "a program fills its slice")
    p.end()
    within(1, lambda: free_mib() == 1024)
    q = Program("-p", "0.5")
    bad = int(q.ask("z 400"))
    if seen:
        check(bad > 0, "without zeroing, the next one sees it", bad)
    else:
        check(bad == 0, "the next one in that memory sees zeroes alone", bad)
    q.end()


def test_revoked():
    subprocess.run([COMMAND, "token", "create", "--client", "mallory", "-o", str(root / "mallory")], env=env, stdout=subprocess.DEVNULL)
    who = json.loads(motorpool("whoami", "--json", "--bundle", str(root / "mallory")).stdout)["token"]
    p = Program("-p", "0.5", "--bundle", str(root / "mallory"))
    check(p.ask("w") == "0", "a program works")
    t0 = time.time()
    motorpool("token", "revoke", who)
    check(within(2, lambda: p.ask("w") != "0"), "its token is revoked: a call fails within two seconds")
    print(f"# {time.time() - t0:.2f} s")
    p.end()


def test_stopped_and_cut():
    p = Program("-p", "0.5")
    child = int(pathlib.Path(f"/proc/{p.p.pid}/task/{p.p.pid}/children").read_text().split()[0])
    for pid in (p.p.pid, child):
        os.kill(pid, signal.SIGSTOP)
    seconds = int(os.environ.get("STOP", "3"))
    time.sleep(seconds)
    check(len(pool()["leases"]) == 1, f"a launcher and program that are stopped for {seconds} s keep their lease")
    for pid in (p.p.pid, child):
        os.kill(pid, signal.SIGCONT)
    check(p.ask("w") == "0", "and go on")
    os.kill(child, signal.SIGKILL)
    check(p.p.wait(5) == 137 and within(1, lambda: free_mib() == 1024), "kill -9 of the program frees the lease")


def test_many(d):
    """The daemon is killed under many programs, as an upgrade does."""
    n = int(os.environ.get("PROGRAMS", "8"))
    ps = [Program("-m", "80") for _ in range(n)]
    check(all(p.ask(f"f 8 {i + 1}") == "0" for i, p in enumerate(ps)), f"{n} programs run", [p.first for p in ps])
    used = sum(x["used"] for l in pool()["leases"] for x in l["devices"])
    e = ps[0].environment()
    d.kill()
    d.wait()
    check(all(p.ask("v") == "0" for p in ps), "they run on when the daemon is killed")
    check(motorpool("run", "--timeout", "0", "--", "true").returncode == 69, "new requests are refused")
    d, line = start(e["MOTORPOOL_SERVER"], e["MOTORPOOL_DATA"].split(",")[0])
    l = pool()["leases"]
    check(len(l) == n and all(len(x["processes"]) == 1 for x in l) and sum(x["used"] for y in l for x in y["devices"]) == used,
          "the next daemon has all of them, nothing lost, nothing charged twice", l)
    check(all(p.ask("v") == "0" for p in ps), "and they run on")
    time.sleep(1.2)
    for p in ps:
        p.p.stdin.close()
    for p in ps:
        p.p.wait(20)
    check(within(2, lambda: not pool()["leases"] and free_mib(0) == free_mib(1) == 1024), "their ends free all", pool()["leases"])
    return d


class Plain:
    """A server that is no demo: its end by SIGTERM is not that of its programs."""

    def __init__(self, **more):
        self.bin = root / "bin"
        self.bin.mkdir(exist_ok=True)
        self.api = self.data = 0
        self.env = dict(env, MOTORPOOL_WORKER=str(self.bin / "motorpool-worker"), MOTORPOOL_GATE=os.path.join(os.path.dirname(COMMAND), "../link/motorpool-gate"),
                        MOTORPOOL_SOFT_DIR=str(root), MOTORPOOL_WORKER_WRITE=str(root), MOTORPOOL_LOG="info", **more)
        self.install()

    def install(self):
        """As a package manager does: beside the old files, then over their names."""
        for f in (DAEMON, WORKER):
            name = "motorpoold" if f == DAEMON else "motorpool-worker"
            shutil.copy(f, self.bin / f".{name}.new")
            os.rename(self.bin / f".{name}.new", self.bin / name)

    def start(self, *args):
        log = root / "plain.log"
        n = log.read_text().count("daemon ready") if log.exists() else 0
        self.p = subprocess.Popen([self.bin / "motorpoold", "--soft", "--driver", DRIVER, "--devices", "2", "--device-memory", "1GiB", "--api", f"127.0.0.1:{self.api}",
                                   "--data", f"127.0.0.1:{self.data}", "--state", root / "plain", "--name", "p1", *args],
                                  env=self.env, stdout=subprocess.DEVNULL, stderr=open(log, "a"))
        started.append(self.p)
        within(10, lambda: log.read_text().count("daemon ready") > n)
        m = log.read_text().rsplit("ready api-port=", 1)[1].split()
        self.api, self.data = int(m[0]), int(m[1].split("=")[1])
        if not (root / "plainbundle").exists():
            shutil.copytree(root / "plain/admin-bundle", root / "plainbundle")
        (root / "plainbundle/servers").write_text(f"127.0.0.1:{self.api}\n")

    def stop(self):
        self.p.send_signal(signal.SIGTERM)
        return self.p.wait(20)


def executables():
    return [os.readlink(f"/proc/{x['worker']}/exe") for l in pool()["leases"] for x in l["processes"]]


def test_upgrade():
    """A package is installed over a running server, which is then restarted, under many programs."""
    n = int(os.environ.get("PROGRAMS", "8"))
    old, env["MOTORPOOL_BUNDLE"] = env["MOTORPOOL_BUNDLE"], str(root / "plainbundle")
    d = Plain()
    d.start()
    ps = [Program("-m", "80") for _ in range(n)]
    check(all(p.ask(f"f 8 {i + 1}") == "0" for i, p in enumerate(ps)), f"{n} programs run", [p.first for p in ps])
    used = sum(x["used"] for l in pool()["leases"] for x in l["devices"])
    d.install()
    ps.append(Program("-m", "80"))
    check(ps[-1].ask(f"f 8 {n + 1}") == "0" and all("(deleted)" in x for x in executables()),
          "before its restart a server starts the workers of its own release", executables())
    used += pool()["leases"][0]["devices"][0]["used"]
    check(d.stop() == 0 and all(p.ask("v") == "0" for p in ps), "programs run on when it ends")
    r = motorpool("run", "--timeout", "0", "--", "true")
    check(r.returncode == 69 and "does not answer" in r.stderr, "new requests are refused with that reason", r)
    d.start()
    l = pool()["leases"]
    check(len(l) == n + 1 and all(len(x["processes"]) == 1 for x in l) and sum(x["used"] for y in l for x in y["devices"]) == used,
          "the new release has all of them, nothing lost, nothing charged twice", (used, l))
    p = Program("-m", "80")
    check(p.ask("f 8 99") == "0" and sum("(deleted)" not in x for x in executables()) == 1, "and starts the new worker", executables())
    check(all(p.ask("v") == "0" for p in ps), "those of the old run on")
    time.sleep(1.2)
    for q in ps + [p]:
        q.p.stdin.close()
    for q in ps + [p]:
        q.p.wait(20)
    check(within(3, lambda: not pool()["leases"] and free_mib(0) == free_mib(1) == 1024), "their ends free all", pool()["leases"])
    d.stop()
    env["MOTORPOOL_BUNDLE"] = old


def test_conditions():
    """A device that somebody outside the pool uses, and one whose driver is gone, are not lent."""
    old, env["MOTORPOOL_BUNDLE"] = env["MOTORPOOL_BUNDLE"], str(root / "plainbundle")
    link = root / "driver/libcuda.so.1"
    link.parent.mkdir()
    link.symlink_to(DRIVER)
    d = Plain()
    d.start("--driver", link, "--look", "1s")

    def states():
        return [x["state"] for x in pool()["servers"][0]["devices"]]
    check(states() == ["ok", "ok"], "two devices are offered", states())
    q = Program(environment=dict(env, LD_LIBRARY_PATH=os.path.dirname(DRIVER), MOTORPOOL_SOFT_DIR=str(root), MOTORPOOL_SOFT_DEVICES="2",
                                 MOTORPOOL_SOFT_MEMORY="1G"))
    check(q.ask("a 300") == "0" and within(5, lambda: states() == ["foreign", "ok"]), "somebody uses one past the pool: it is foreign", pool())
    h = {c["check"]: c for c in json.loads(motorpool("health", "--json").stdout)["checks"]}
    check(h["devices"]["state"] == "fail" and "364 MiB" in h["devices"]["text"] and h["devices"]["remedy"], "health says how much, and what to do", h["devices"])
    r = motorpool("run", "-n", "2", "-p", "0.25", "--timeout", "0", "--", "true")
    p = Program("-p", "0.5")
    check(r.returncode != 0 and p.first == "0" and pool()["leases"][0]["devices"][0]["index"] == 1, "it is not lent, the other is", r)
    q.end()
    check(within(5, lambda: states() == ["ok", "ok"]), "what is free again is offered again", states())
    link.unlink()
    check(within(5, lambda: states() == ["faulty", "ok"]), "without its driver an idle device is faulty; one with a lease is not looked at", states())
    check(p.ask("w") == "0", "what runs there runs on")
    link.symlink_to(DRIVER)
    check(within(5, lambda: states() == ["ok", "ok"]), "with the driver back it is offered")
    p.end()
    d.stop()
    env["MOTORPOOL_BUNDLE"] = old


def test_orphan():
    """No daemon comes back: workers end after a while, and their programs hear of it."""
    old, env["MOTORPOOL_BUNDLE"] = env["MOTORPOOL_BUNDLE"], str(root / "plainbundle")
    d = Plain()
    d.start("--orphan", "2s")
    p = Program("-p", "0.5")
    worker = pool()["leases"][0]["processes"][0]["worker"]
    d.p.kill()
    d.p.wait()
    time.sleep(1)
    check(p.ask("w") == "0", "without a daemon a program runs on")
    check(within(4, lambda: not os.path.exists(f"/proc/{worker}")) and p.ask("w") != "0", "but not for ever: a worker ends when none comes back in time")
    d.start()
    check(within(3, lambda: free_mib() == 1024 or not pool()["leases"][0]["processes"]), "the next daemon finds it gone", pool())
    p.end()
    check(within(3, lambda: free_mib() == 1024), "and all is free")
    d.stop()
    env["MOTORPOOL_BUNDLE"] = old


def test_encrypted():
    """A lane that is encrypted even on loopback."""
    p = Program("-p", "0.5")
    e = p.environment()
    check(p.first == "0" and e["MOTORPOOL_DATA"].startswith("unix:"), "a program speaks to a helper of run", e["MOTORPOOL_DATA"])
    check(p.ask("w") == "0" and p.ask("i").split()[1] == "512", "and works through an encrypted lane")
    address = json.loads(motorpool("lease", "show", e["MOTORPOOL_LEASE"], "--json").stdout)["data"][0]
    check(address.startswith("tls::") or address.startswith("tls:127.0.0.1:"), "the server asks for that", address)
    plain = Program(environment=dict(e, MOTORPOOL_DATA=address.replace("tls:", "127.0.0.1:" if "::" in address else "").replace("::", ":")))
    check(plain.first != "0", "a plain lane is refused there", plain.first)
    plain.end()
    q = Program(environment=e)
    check(q.first == "0" and q.ask("w") == "0", "a second process joins through the same helper")
    q.end()
    check(p.end() == 0 and within(1, lambda: free_mib() == 1024), "the end frees all")
    check(within(2, lambda: not os.path.exists(e["MOTORPOOL_DATA"][5:])), "and the helper's socket is gone")
    p = Program("-p", "0.5")
    e = p.environment()
    p.p.kill()
    check(within(1, lambda: free_mib() == 1024), "kill -9 of run ends lease and helper")
    check(within(2, lambda: not os.path.exists(e["MOTORPOOL_DATA"][5:])), "its socket is gone, too")
    alone = dict(env, LD_LIBRARY_PATH=LIBDIR, MOTORPOOL_GPU_MEMORY="25%", MOTORPOOL_TIMEOUT="0")
    p = Program(environment=alone)
    check(p.first == "0" and p.ask("w") == "0", "without run, too", p.first)
    p.end()
    within(1, lambda: free_mib() == 1024)
    run = dict(env, XDG_RUNTIME_DIR=str(root))
    subprocess.run([COMMAND, "request", "-p", "0.5"], env=run, stdout=subprocess.DEVNULL)
    r = subprocess.run([COMMAND, "use", "--", PROGRAM], env=run, input="w\n", capture_output=True, text=True, timeout=30)
    check(r.stdout.split() == ["0", "0"], "and in a requested lease", r)
    subprocess.run([COMMAND, "release"], env=run)


def test_daemon_killed(d):
    p = Program("-p", "0.5")
    p.ask("a 100")
    d.kill()
    d.wait()
    check(p.ask("w") == "0", "a program runs on when the daemon is killed")
    d, line = start(p.environment()["MOTORPOOL_SERVER"], p.environment()["MOTORPOOL_DATA"].split(",")[0])
    l = pool()["leases"]
    check(len(l) == 1 and l[0]["devices"][0]["used"] >> 20 >= 164 and len(l[0]["processes"]) == 1,
          "the next daemon adopts its lease, account and worker", l)
    check(p.ask("a 50") == "0" and p.ask("a 400") == "2", "and the slice still holds")
    time.sleep(1.2)  # run is back within a second
    p.end()
    check(within(1, lambda: not pool()["leases"]), "the lease ends with its program")
    return d


def main():
    d, line = start()
    check("ready" in line, "the demo is ready", line + (root / "log").read_text())
    test_slice()
    test_several()
    test_killed()
    test_no_launcher()
    test_key()
    test_exact()
    test_joining()
    test_revoked()
    test_stopped_and_cut()
    d = test_many(d)
    d = test_daemon_killed(d)
    test_upgrade()
    test_orphan()
    test_conditions()
    d.send_signal(signal.SIGTERM)
    d.wait(10)
    d, line = start(data="tls:127.0.0.1:0", also=False)
    test_encrypted()
    for worker, seen in ((WORKER, False), (BROKEN, True)):
        d.send_signal(signal.SIGTERM)
        d.wait(10)
        d, line = start(MOTORPOOL_WORKER=worker, MOTORPOOL_SOFT_DIRTY_MEMORY="1")
        test_zeroed(seen)
    d.send_signal(signal.SIGTERM)
    check(d.wait(10) == 0, "SIGTERM ends the demo")
    failed = plan()
    if failed:
        print("#", (root / "log").read_text()[-3000:].replace("\n", "\n# "))
    shutil.rmtree(root)
    return 1 if failed else 0


sys.exit(main())
