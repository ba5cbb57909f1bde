#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Three servers and three etcd nodes: one pool.  The servers' workers have no driver (fixture-worker).

usage: test-several.py MOTORPOOLD MOTORPOOL FIXTURE-WORKER     prints TAP
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
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests"))
from etcd import Etcd, missing  # noqa: E402
from tap import check, plan, started, within  # noqa: E402

if missing():
    print(f"1..0 # SKIP {missing()}")
    sys.exit(0)
DAEMON, COMMAND, WORKER = sys.argv[1:4]
root = pathlib.Path(tempfile.mkdtemp(prefix="mp-several-"))
libdir = root / "lib"
libdir.mkdir()
(libdir / "libcuda.so.1").write_text("")
env = {k: v for k, v in os.environ.items() if not k.startswith("MOTORPOOL")}
env.update(MOTORPOOL_WORKER=WORKER, FIXTURE_DEVICES="2", FIXTURE_MEMORY="1024", MOTORPOOL_LIBDIR=str(libdir),
           MOTORPOOL_NVMLDIR=str(libdir), MOTORPOOL_BUNDLE=str(root / "bundle"), XDG_RUNTIME_DIR=str(root))


def motorpool(*args, **more):
    return subprocess.run([COMMAND, *args], env=dict(env, **more), capture_output=True, text=True, timeout=90)


def pool(*args):
    return json.loads(motorpool("list", "--json", *args).stdout)


def state(name, *args):
    return {s["name"]: s["state"] for s in pool(*args)["servers"]}.get(name)


class Daemon:
    def __init__(self, name, store, api=0, data=0, join=None):
        self.name, self.store = name, store
        self.dir = root / name
        self.log = open(root / f"{name}.log", "a")
        args = [DAEMON, "--driver", "none", "--api", f"127.0.0.1:{api}", "--data", f"127.0.0.1:{data}", "--state",
                str(self.dir), "--name", name]
        self.p = subprocess.Popen(args + (["--store", store] if store else []) + (["--join", join] if join else []), env=dict(env, MOTORPOOL_LOG="info"),
                                  stdout=subprocess.PIPE, stderr=self.log, text=True)
        started.append(self.p)
        self.api = self.data = 0
        until = time.time() + 20
        while not self.api and time.time() < until and self.p.poll() is None:
            m = re.findall(r"ready api-port=(\d+) data-port=(\d+)", (root / f"{name}.log").read_text())
            if len(m) > Daemon.starts.get(name, 0):
                self.api, self.data = map(int, m[-1])
                Daemon.starts[name] = len(m)
            else:
                time.sleep(0.02)

    starts = {}

    def kill(self, sig=signal.SIGKILL):
        self.p.send_signal(sig)
        return self.p.wait(10)

    def again(self):
        return Daemon(self.name, self.store, self.api, self.data)


class Run:
    """motorpool run of a program that prints its environment and waits for a line."""

    def __init__(self, *args):
        self.p = subprocess.Popen([COMMAND, "run", *args, "--", "sh", "-c", "env; echo end; read x; exit 7"], env=env,
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.env = {}
        for line in self.p.stdout:
            if line == "end\n":
                break
            k, _, v = line.rstrip("\n").partition("=")
            self.env[k] = v
        self.server = self.env.get("MOTORPOOL_SERVER", "")

    def end(self):
        self.p.stdin.write("go\n")
        self.p.stdin.close()
        return self.p.wait(30)


def seeds(*daemons):
    (root / "bundle/servers").write_text("".join(f"127.0.0.1:{d.api}\n" for d in daemons))


def leases():
    return pool()["leases"]


def join_token():
    return json.loads(motorpool("server", "add", "--json").stdout)["token"]


def test_join(e):
    """One server with its own file, others that join it; the pool then moves to etcd."""
    d = [Daemon("s1", None)]
    shutil.copytree(root / "s1/admin-bundle", root / "bundle")
    seeds(*d)
    t = join_token()
    d.append(Daemon("s2", None, join=t))
    check(d[1].api and within(3, lambda: state("s2") == "ok"), "a second server joins by one command", (root / "s2.log").read_text()[-600:])
    check(not (root / "s2/ca.key").exists() and (root / "s2/server.key").stat().st_mode & 0o77 == 0, "it has no authority, and its key is private")
    x = Daemon("s4", None, join=t)
    check(x.p.wait(10) == 78 and "used" in (root / "s4.log").read_text(), "a join token is used once", (root / "s4.log").read_text())
    x = Daemon("s5", None, join="mpj_nonsense")
    check(x.p.wait(10) == 78 and "no join token" in (root / "s5.log").read_text(), "nonsense is refused")
    bad = join_token()
    at = bad.index(".") + 1
    x = Daemon("s6", None, join=bad[:at] + ("0" if bad[at] != "0" else "1") + bad[at + 1:])
    check(x.p.wait(10) == 78 and "is not the pool that made" in (root / "s6.log").read_text(), "a pool with another authority is not believed",
          (root / "s6.log").read_text())
    r = Run("-n", "2")
    r2 = Run("-n", "2")
    check({r.server, r2.server} == {f"127.0.0.1:{x.api}" for x in d} and len(leases()) == 2, "both grant", (r.server, r2.server))
    check(len(pool("--server", f"127.0.0.1:{d[1].api}")["leases"]) == 2, "the second answers for both")
    h = {c["check"]: c for c in json.loads(motorpool("health", "--json", "--server", f"127.0.0.1:{d[1].api}").stdout)["checks"]}
    check(h["voters"]["text"].startswith("1 of 1 voters"), "and knows whose store it is", h["voters"])
    d[0].kill()
    seeds(d[1])
    check(within(6, lambda: motorpool("run", "--timeout", "0", "--", "true").returncode == 85), "without the first there is no majority")
    check(len(leases()) == 2, "and reading goes on")
    d[0] = d[0].again()
    seeds(*d)
    check(within(8, lambda: [s["state"] for s in pool()["servers"]] == ["ok", "ok"]), "the first returns, and all is well", pool())
    r.end()
    r2.end()
    check(within(5, lambda: not leases()), "their ends free all", leases())
    r = subprocess.run(["openssl", "x509", "-in", str(root / "s2/server.crt"), "-noout", "-startdate"], capture_output=True, text=True)
    check("notBefore" in r.stdout, "its certificate is one", r)
    d.append(Daemon("s3", None, join=join_token()))
    return d


def test_move(d, e):
    """From the first server's file to etcd, under running leases."""
    runs = [Run("-p", "0.5") for _ in range(3)]
    motorpool("limit", "set", "bob", "2")
    before = {l["id"] for l in leases()}
    b = motorpool("store", "migrate", "etcd://127.0.0.1:1")
    check(b.returncode != 0 and motorpool("run", "-p", "0.25", "--", "true").returncode == 0, "a move that fails changes nothing", b)
    b = motorpool("store", "migrate", "etcd://" + e.endpoints)
    check(b.returncode == 0, "the store moves from SQLite to etcd", b)
    for x in d:
        def voters():
            h = {c["check"]: c for c in json.loads(motorpool("health", "--json", "--server", f"127.0.0.1:{x.api}").stdout)["checks"]}
            return h["voters"]["text"]
        check(within(5, lambda: voters().startswith("3 of 3")), f"{x.name} uses it", voters())
    check({l["id"] for l in leases()} == before and all(r.p.poll() is None for r in runs), "running leases are untouched", leases())
    check("bob" in motorpool("limit", "list").stdout, "limits came along")
    for r in runs:
        r.end()
    check(within(5, lambda: not leases()), "and end as ever")
    d[1].kill()
    d[1] = d[1].again()
    check(d[1].api and within(5, lambda: state("s2") == "ok"), "a server restarted afterwards finds the new store", pool())
    check(motorpool("run", "-p", "0.5", "--", "true").returncode == 0, "leases are given")
    motorpool("limit", "clear", "bob")


def test_rotate(d):
    motorpool("token", "create", "--client", "olduser", "-o", str(root / "oldbundle"))
    (root / "oldbundle/servers").write_text("".join(f"127.0.0.1:{x.api}\n" for x in d))
    b = motorpool("ca", "rotate")
    check(b.returncode == 0 and b.stdout.count("BEGIN CERTIFICATE") == 2, "the authority is replaced, both are trusted", b)
    (root / "bundle/ca.crt").write_text(b.stdout)
    r = Run("-p", "0.5")
    new = root / "newca.crt"
    new.write_text(b.stdout.split("-----END CERTIFICATE-----\n")[0] + "-----END CERTIFICATE-----\n")

    def issuer_ok(x):
        return subprocess.run(["openssl", "verify", "-CAfile", str(new), str(x.dir / "server.crt")], capture_output=True).returncode == 0
    check(within(8, lambda: all(issuer_ok(x) for x in d)), "every server gets a certificate of the new one, by itself")
    for x in d:
        at = ("--server", f"127.0.0.1:{x.api}")
        check(within(3, lambda: motorpool("list", *at).returncode == 0 and motorpool("list", "--bundle", str(root / "oldbundle"), *at).returncode == 0),
              f"{x.name} is believed by the new bundle and by the old")
    h = {c["check"]: c for c in json.loads(motorpool("health", "--json").stdout)["checks"]}
    check(h["authority"]["state"] == "warn" and "olduser" in h["authority"]["text"], "health lists who was last seen with the old one", h["authority"])
    motorpool("token", "create", "--client", "fresh", "-o", str(root / "fresh"))
    check((root / "fresh/ca.crt").read_text() == b.stdout and len((root / "fresh/servers").read_text().split()) >= 3, "new bundles hold both, and all servers")
    b = motorpool("ca", "retire")
    check(b.returncode == 0 and b.stdout == new.read_text(), "the old one is retired", b)
    (root / "bundle/ca.crt").write_text(b.stdout)
    check(within(8, lambda: motorpool("list", "--bundle", str(root / "oldbundle"), "--server", f"127.0.0.1:{d[1].api}").returncode == 78),
          "and is believed no more", motorpool("list", "--bundle", str(root / "oldbundle"), "--server", f"127.0.0.1:{d[1].api}"))
    check(motorpool("list").returncode == 0 and r.p.poll() is None and len(leases()) == 1, "the running lease has seen nothing of it")
    r.end()


def test_offline(d):
    """The authority's certificate comes from one that is kept elsewhere."""
    away = root / "offline"
    away.mkdir()

    def openssl(*args):
        return subprocess.run(["openssl", *args], cwd=away, capture_output=True, text=True)
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "root.key", "-out", "root.crt", "-days", "30",
            "-subj", "/CN=Company root")
    b = motorpool("ca", "import", str(away / "root.crt"))
    check(b.returncode == 2 and "ca csr" in b.stderr, "a certificate that nobody asked for is refused", b)
    b = motorpool("ca", "csr")
    (away / "ca.csr").write_text(b.stdout)
    check(b.returncode == 0 and "CA:TRUE" in openssl("req", "-in", "ca.csr", "-noout", "-text").stdout, "the pool asks for an authority's certificate", b)
    for ext, good in (("basicConstraints=critical,CA:FALSE", False), ("basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign", True)):
        (away / "ext").write_text(ext + "\n")
        openssl("x509", "-req", "-in", "ca.csr", "-CA", "root.crt", "-CAkey", "root.key", "-CAcreateserial", "-days", "20", "-extfile", "ext", "-out", "ca.crt")
        b = motorpool("ca", "import", str(away / "ca.crt"))
        if not good:
            check(b.returncode == 2 and "CA:TRUE" in b.stderr, "one that may not sign is refused", b)
    check(b.returncode == 0 and b.stdout.count("BEGIN CERTIFICATE") == 2, "signed elsewhere it is imported, both are believed", b)
    old = (root / "bundle/ca.crt").read_text()
    r = Run("-p", "0.5")

    def under(x):
        return openssl("verify", "-CAfile", "root.crt", "-untrusted", "ca.crt", str(x.dir / "server.crt")).returncode == 0
    check(within(8, lambda: all(under(x) for x in d)), "every server gets a certificate that leads to the other's root")
    check(all(motorpool("list", "--server", f"127.0.0.1:{x.api}").returncode == 0 for x in d), "who has the old bundle believes them")
    (root / "bundle/ca.crt").write_text(b.stdout)
    b = motorpool("ca", "retire")
    (root / "bundle/ca.crt").write_text(b.stdout)
    check(b.returncode == 0 and old not in b.stdout and b.stdout.count("BEGIN CERTIFICATE") == 1, "the old authority is retired", b)
    check(within(8, lambda: all(motorpool("list", "--server", f"127.0.0.1:{x.api}").returncode == 0 for x in d)), "its own certificate is all that a bundle needs")
    b = motorpool("run", "-p", "0.25", "--", "true")
    check(b.returncode == 0 and r.p.poll() is None and len(leases()) == 1, "leases are given, the running one has seen nothing of it", b)
    d[1].kill()
    d[1] = d[1].again()
    check(d[1].api and within(5, lambda: state("s2") == "ok"), "a server that is started again is one of them", pool())
    r.end()


def test_one_pool(d):
    p = pool()
    check([(s["name"], s["state"], len(s["devices"])) for s in p["servers"]] == [(f"s{i}", "ok", 2) for i in (1, 2, 3)],
          "three servers are one pool", p)
    for x in d:
        check(len(pool("--server", f"127.0.0.1:{x.api}")["servers"]) == 3, f"{x.name} answers for all")
    runs = [Run("-n", "2") for _ in range(3)]
    check(sorted(r.server for r in runs) == sorted(f"127.0.0.1:{x.api}" for x in d),
          "three asked one server for two whole devices, and each got another's", [r.server for r in runs])
    check(len(leases()) == 3 and {l["server"] for l in leases()} == {"s1", "s2", "s3"}, "leases of all are listed", leases())
    b = motorpool("run", "-p", "0.5", "--timeout", "0", "--", "true")
    check(b.returncode == 75, "nothing fits now", b)
    b = motorpool("run", "-n", "3", "-p", "0.1", "--", "true")
    check(b.returncode == 84 and "no server of the pool has more than 2" in b.stderr, "more than any server has fails at once", b)
    other = next(l for l in leases() if l["server"] == "s2")
    b = motorpool("lease", "kill", other["id"], "--server", f"127.0.0.1:{d[2].api}")
    check(b.returncode == 0 and within(2, lambda: len(leases()) == 2), "a lease of one server is killed by way of another", b)
    for r in runs:
        r.end()
    check(within(2, lambda: not leases()), "their ends free all")
    b = motorpool("run", "-f", "server.hostname=s3", "--", "sh", "-c", "echo $MOTORPOOL_SERVER")
    check(b.stdout.strip() == f"127.0.0.1:{d[2].api}", "a filter chooses the server", b)
    b = motorpool("run", "--", "true", MOTORPOOL_LOG="debug")
    m = re.search(r"handshakes=(\d+) requests=(\d+)", b.stderr)
    check(m and int(m[1]) <= 2 and int(m[2]) <= 3, "a grant costs at most two handshakes and three round trips", b.stderr)


def test_drain(d):
    check(motorpool("server", "drain", "s2").returncode == 0 and within(2, lambda: state("s2") == "drained"), "a server is drained")
    rs = [Run("-n", "2") for _ in range(2)]
    b = motorpool("run", "--timeout", "0", "--", "true")
    check(b.returncode == 75 and f"127.0.0.1:{d[1].api}" not in {r.server for r in rs}, "and gets no new leases", b)
    motorpool("server", "undrain", "s2")
    b = motorpool("run", "--timeout", "5", "--", "true")
    check(b.returncode == 0, "undrained it does", b)
    for r in rs:
        r.end()
    dev = pool()["servers"][0]["devices"][0]["uuid"]
    check(motorpool("device", "disable", dev).returncode == 0 and
          within(2, lambda: pool()["servers"][0]["devices"][0]["state"] == "disabled"), "a device is disabled", pool())
    motorpool("device", "enable", dev)
    check(within(2, lambda: pool()["servers"][0]["devices"][0]["state"] == "ok"), "and enabled again")
    check(motorpool("setting", "set", "placement", "spread").returncode == 0, "the placement is a setting")
    rs = [Run("-p", "0.1") for _ in range(3)]
    check(len({r.server for r in rs}) == 3, "spread over three servers", [r.server for r in rs])
    for r in rs:
        r.end()
    motorpool("setting", "set", "placement", "pack")
    rs = [Run("-p", "0.1") for _ in range(3)]
    check(len({r.server for r in rs}) == 1, "packed onto one", [r.server for r in rs])
    for r in rs:
        r.end()
    check(motorpool("setting", "set", "placement", "x").returncode == 2 and motorpool("setting", "set", "x", "1").returncode == 66,
          "a wrong setting is told")


def test_limits(d):
    """test-limits.py has the race; this is what a lost server leaves."""
    motorpool("limit", "set", "default", "2.5")
    motorpool("token", "create", "--client", "eve", "-o", str(root / "eve"))
    r = Run("-p", "1", "--bundle", str(root / "eve"))
    r2 = Run("-p", "1", "--bundle", str(root / "eve"))
    b = motorpool("run", "-p", "0.75", "--bundle", str(root / "eve"), "--", "true")
    check(b.returncode == 82 and "2 of 2.5 devices in use" in b.stderr, "limits count over the pool", b)
    # The server of one is lost; its holder gives it back by another's hand, and starts again.
    lost = next(x for x in d if r.server.endswith(f":{x.api}"))
    lost.kill()
    seeds(*[x for x in d if x is not lost])
    time.sleep(0.3)
    b = motorpool("run", "-p", "0.75", "--bundle", str(root / "eve"), "--", "true")
    check(b.returncode in (82, 69), "a lost server's lease stays charged", b)
    for f in ("ca.crt", "servers"):
        shutil.copy(root / "bundle" / f, root / "eve" / f)
    again = [x for x in d if x is not lost]
    # run was started with the old seeds; what it asks is the bundle it has read.
    r.end()
    b = motorpool("run", "-p", "1", "--bundle", str(root / "eve"), "--timeout", "5", "--", "true")
    check(b.returncode == 0, "until its holder releases it by another server: a restart is granted", b)
    r2.end()
    i = d.index(lost)
    d[i] = lost.again()
    seeds(*d)
    check(d[i].api and within(8, lambda: state(lost.name) == "ok") and within(3, lambda: not leases()),
          "the server returns, and knows that this lease is over", pool())
    motorpool("limit", "clear", "default")


def test_line(d):
    motorpool("setting", "set", "reserve-after", "2s")
    motorpool("token", "create", "--client", "boss", "--priority", "high", "-o", str(root / "boss"))
    full = [Run("-n", "2") for _ in range(3)]
    order = []

    def wait(name, *args):
        order.append((name, motorpool("run", *args, "--timeout", "40", "--", "sh", "-c", "date +%s.%N").stdout.strip()))
    ts = []
    for name, args in (("first", ("-n", "2")), ("second", ("-n", "2")),
                       ("boss", ("-n", "2", "--priority", "high", "--bundle", str(root / "boss")))):
        ts.append(threading.Thread(target=wait, args=(name, *args)))
        ts[-1].start()
        check(within(5, lambda: len(pool()["line"]) == len(ts)), f"{name} waits in line", pool()["line"])
    line = pool()["line"]
    check([e["client"] for e in line] == ["boss", "admin", "admin"] and line[0]["priority"] == "high", "by priority, then by age", line)
    check(re.search(r"PLACE.*\n1 +boss +high", motorpool("list").stdout), "which list shows", motorpool("list").stdout)
    # Small ones come all the time; the whole-server ones must not starve.
    stop = []

    def small():
        while not stop:
            motorpool("run", "-p", "0.5", "--timeout", "0", "--", "sleep", "0.2")
    ss = [threading.Thread(target=small) for _ in range(3)]
    for t in ss:
        t.start()
    time.sleep(2.5)
    full[0].end()
    for t in ts:
        t.join(40)
    stop.append(1)
    for t in ss:
        t.join()
    got = [n for n, at in sorted(order, key=lambda x: x[1]) if re.match(r"\d", at)]
    check(got == ["boss", "first", "second"], "none starves behind small requests, and the order is kept", order)
    check(within(3, lambda: not pool()["line"]), "the line is empty again", pool()["line"])
    for r in full[1:]:
        r.end()
    w = subprocess.Popen([COMMAND, "run", "-n", "2", "--timeout", "30", "--", "true"], env=env)
    w.wait(10)
    motorpool("setting", "set", "reserve-after", "5m")


def test_quorum(d, e):
    runs = [Run("-p", "0.25") for _ in range(3)]
    e.kill(e.leader())
    b = motorpool("run", "-p", "0.25", "--timeout", "15", "--", "true")
    check(b.returncode == 0 and within(5, lambda: len(leases()) == 3), "one of three etcd nodes killed: leases go on", (b, leases()))
    up = [i for i in range(3) if e.nodes[i]]
    e.kill(up[0])

    def refused():
        return motorpool("run", "-p", "0.25", "--timeout", "0", "--", "true").returncode == 85
    check(within(8, refused), "two killed: refused")
    t0 = time.time()
    b = motorpool("run", "-p", "0.25", "--timeout", "0", "--", "true")
    check(b.returncode == 85 and "has lost its majority" in b.stderr and time.time() - t0 < 1, "with that reason, at once", (b, time.time() - t0))
    check(len(leases()) == 3, "reading goes on")
    runs[0].end()
    check(within(2, lambda: len(leases()) == 2), "a release works", leases())
    b = motorpool("lease", "kill", runs[1].env["MOTORPOOL_LEASE"])
    check(b.returncode == 0 and within(3, lambda: len(leases()) == 1), "a kill works", b)
    time.sleep(0.5)
    runs[1].end()
    check("killed by admin" in runs[1].p.stderr.read(), "and is told to its holder")
    h = {c["check"]: c for c in json.loads(motorpool("health", "--json").stdout)["checks"]}
    check(h["voters"]["state"] == "fail" and "1 of 3" in h["voters"]["text"], "health names the voters", h["voters"])
    # A server that is restarted meanwhile takes its programs' leases again.
    owner = next(x for x in d if runs[2].server.endswith(f":{x.api}"))
    owner.kill()
    d[d.index(owner)] = owner.again()
    check(within(5, lambda: len(leases()) == 1), "a server restarted without a majority has its leases again", leases())
    e.start(up[0])
    check(within(15, lambda: motorpool("run", "-p", "0.25", "--timeout", "0", "--", "true").returncode == 0),
          "back: leases are given again without help")
    check(len(leases()) == 1 and runs[2].p.poll() is None, "no running lease was lost", leases())
    runs[2].end()
    check(within(5, lambda: not leases()), "and its end frees it", leases())
    uses = json.loads(motorpool("limit", "list", "--json").stdout)["in_use_millionths"]
    check(within(3, lambda: not json.loads(motorpool("limit", "list", "--json").stdout)["in_use_millionths"]), "nothing stays charged", uses)


def test_strays(d, e):
    """What a transaction leaves that is made after its server has given it up."""
    import base64
    import urllib.request

    def etcd(path, **body):
        q = urllib.request.Request(f"http://127.0.0.1:{e.client[0]}/v3/kv/{path}",
                                   json.dumps({k: base64.b64encode(v.encode()).decode() for k, v in body.items()}).encode())
        return json.load(urllib.request.urlopen(q, timeout=5))
    keys = ("/motorpool/v1/leases/s1/00000000deadbeef", "/motorpool/v1/use/ghost/s1/00000000deadbeef", "/motorpool/v1/line/1/0000000000000001/ab")
    for k, v in zip(keys, ("{}", "1500000", '{"server":"s1","client":"ghost","devices":1,"fraction":1000000,"bytes":0}')):
        etcd("put", key=k, value=v)
    check(within(3, lambda: not any(etcd("range", key=k).get("kvs") for k in keys)), "a server strikes what is said to be its own and is not",
          [etcd("range", key=k).get("kvs") for k in keys])


def test_revoke(d):
    motorpool("token", "create", "--client", "mallory", "-o", str(root / "mallory"))
    who = json.loads(motorpool("whoami", "--json", "--bundle", str(root / "mallory")).stdout)["token"]
    r = Run("-p", "0.5", "--bundle", str(root / "mallory"), "-f", "server.hostname=s3")
    t0 = time.time()
    motorpool("token", "revoke", who, "--server", f"127.0.0.1:{d[0].api}")
    check(within(2, lambda: not leases()), "a token revoked on one server ends its leases on another", leases())
    print(f"# {time.time() - t0:.2f} s")
    r.end()
    check("its token was revoked" in r.p.stderr.read(), "with that reason")
    b = motorpool("list", "--bundle", str(root / "mallory"), "--server", f"127.0.0.1:{d[1].api}")
    check(b.returncode == 80, "and is refused everywhere", b)


def test_remove(d):
    d[2].kill(signal.SIGTERM)
    check(within(8, lambda: state("s3") == "lost"), "a server that was stopped is shown as lost", pool())
    b = motorpool("server", "remove", "s1")
    check(b.returncode == 2 and "alive" in b.stderr, "a living server is not removed", b)
    check(motorpool("server", "remove", "s3").returncode == 0 and state("s3") is None, "a lost one is")
    x = Daemon("s3", d[2].store)
    check(x.p.wait(10) == 78 and "was removed" in (root / "s3.log").read_text(), "and does not come back by itself")


def main():
    e = Etcd(root)
    store = "etcd://" + e.endpoints
    d = test_join(e)
    seeds(*d)
    test_move(d, e)
    test_rotate(d)
    test_offline(d)
    for t in (test_one_pool, test_drain, test_limits, test_line, test_revoke):
        t(d)
    test_strays(d, e)
    test_quorum(d, e)
    test_remove(d)
    for x in d:
        if x.p.poll() is None:
            x.kill(signal.SIGTERM)
    e.close()
    failed = plan()
    if failed:
        for n in ("s1", "s2", "s3"):
            print(f"# {n}:", (root / f"{n}.log").read_text()[-1500:].replace("\n", "\n# "))
    shutil.rmtree(root)
    return 1 if failed else 0


sys.exit(main())
