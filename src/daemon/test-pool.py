#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One server end to end: motorpoold, motorpool and a worker that has no driver (fixture-worker).

usage: test-pool.py MOTORPOOLD MOTORPOOL FIXTURE-WORKER     prints TAP
"""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests"))
from tap import check, plan, started, within  # noqa: E402

DAEMON, COMMAND, WORKER = sys.argv[1:4]
root = pathlib.Path(tempfile.mkdtemp(prefix="mp-pool-"))
libdir = root / "lib"
libdir.mkdir()
(libdir / "libcuda.so.1").write_text("")  # run only looks whether it is there
env = {k: v for k, v in os.environ.items() if not k.startswith("MOTORPOOL_")}
env.update(MOTORPOOL_WORKER=WORKER, FIXTURE_DEVICES="2", FIXTURE_MEMORY="1024", MOTORPOOL_LIBDIR=str(libdir), MOTORPOOL_NVMLDIR=str(libdir),
           MOTORPOOL_BUNDLE=str(root / "bundle"), LD_LIBRARY_PATH="/kept")


class Daemon:
    def __init__(self, api=0, data=0, state="state"):
        self.log = open(root / "daemon.log", "a")
        self.p = subprocess.Popen(
            [DAEMON, "--demo", "--driver", "none", "--api", f"127.0.0.1:{api}", "--data", f"127.0.0.1:{data}",
             "--state", str(root / state), "--bundle", str(root / "bundle"), "--name", "s1"],
            env=dict(env, MOTORPOOL_LOG="info"), stdout=subprocess.PIPE, stderr=self.log, text=True)
        started.append(self.p)
        self.line = self.p.stdout.readline()
        m = re.search(r"ready on 127.0.0.1:(\d+)", self.line)
        self.api = int(m[1]) if m else 0

    def kill(self, sig=signal.SIGTERM):
        self.p.send_signal(sig)
        return self.p.wait(10)


def motorpool(*args, **more):
    return subprocess.run([COMMAND, *args], env=dict(env, **more), capture_output=True, text=True, timeout=60)


def pool():
    return json.loads(motorpool("list", "--json").stdout)


def free_mib(device=0):
    return pool()["servers"][0]["devices"][device]["free"] >> 20


class Run:
    """motorpool run of a program that prints its environment and waits for a line."""

    def __init__(self, *args):
        self.p = subprocess.Popen([COMMAND, "run", *args, "--", "sh", "-c", "env; echo end; read x; exit 7"],
                                  env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  text=True)
        self.env = {}
        for line in self.p.stdout:
            if line == "end\n":
                break
            k, _, v = line.rstrip("\n").partition("=")
            self.env[k] = v

    def end(self):
        self.p.stdin.write("go\n")
        self.p.stdin.close()
        return self.p.wait(10)


def lane(run, session=b"s" * 16, number=0, secret=None, magic=b"MOTORPL1"):
    host, port = run.env["MOTORPOOL_DATA"].rsplit(":", 1)
    s = socket.create_connection((host, int(port)), timeout=10)
    secret = secret or bytes.fromhex(run.env["MOTORPOOL_SECRET"])
    s.sendall(struct.pack("<8sHHHH16s32sIIQ4Q16s128s", magic, 1, 0, number, 0, session, secret, 4242, 0, 0, 0, 0, 0, 0,
                          b"program", b""))
    return s


def ask(s, text):
    s.sendall(text)
    return s.recv(64)


VARIES = [(r'[0-9a-f]{16}', "LEASE-----------"), (r'"(created|started|worker|pid|time)": \d+', r'"\1": 0'),
          (r'"(user|host|version)": "[^"]*"', r'"\1": "X"'), (r'"gpu_seconds": [\d.]+', '"gpu_seconds": 0.5'),
          (r'"(counters)": \{[^}]*\}', r'"\1": {}'), (r"(LEASE-----------  s1 .* demo)  +\S+  +\S+  +", r"\1  X  X  "),
          (r"(\| +[0-9,]+  LEASE-----------) +\S+ +\S+ +", r"\1  X  X  "), (r"127\.0\.0\.1:\d+", "127.0.0.1:0"), (r"Motorpool \d+\.\d+\.\d+( +server|\")", r"Motorpool V\1")]


def golden(name, *args):
    """Against src/cli/golden/NAME, but for what differs from run to run. GOLDEN=write makes it anew."""
    text = motorpool(*args).stdout
    for pattern, to in VARIES:
        text = re.sub(pattern, to, text)
    path = pathlib.Path(__file__).resolve().parent.parent / "cli/golden" / name
    if os.environ.get("GOLDEN") == "write":
        path.write_text(text)
    good = path.exists() and path.read_text() == text
    check(good, f"the output of {' '.join(args)} is {name}", text)


def test_golden():
    golden("help.txt", "--help")
    golden("run-help.txt", "run", "--help")
    golden("man-run.1", "man", "run")
    golden("completion.bash", "completion", "bash")
    golden("list-empty.json", "list", "--json")
    r = Run("-n", "2", "-p", "0.25")
    s = lane(r)
    s.recv(64)
    ask(s, b"c 100\n")
    golden("list.json", "list", "--json")
    golden("list.txt", "list")
    golden("smi.txt", "smi")
    golden("lease-list.json", "lease", "list", "--json")
    golden("lease-list.txt", "lease", "list")
    golden("lease-show.json", "lease", "show", r.env["MOTORPOOL_LEASE"], "--json")
    golden("limit-list.json", "limit", "list", "--json")
    golden("client-list.json", "client", "list", "--json")
    golden("client-list.txt", "client", "list")
    r.end()
    within(1, lambda: free_mib() == 1024)
    golden("lease-list-empty.txt", "lease", "list")


def shape(j):
    """A JSON text's names and kinds of values; of a list its first."""
    if isinstance(j, dict):
        # Names that are data (clients, keys of a store) are one.
        if any(re.search(r"[/ ]", k) for k in j):
            return {"*": shape(next(iter(j.values())))}
        return {k: shape(v) for k, v in j.items()}
    if isinstance(j, list):
        return [shape(j[0])] if j else []
    return "null" if j is None else type(j).__name__


def test_shapes():
    """Every command that has --json has a shape that scripts rely on: src/cli/golden/shapes.json has them all."""
    motorpool("request", "-p", "0.25", XDG_RUNTIME_DIR=str(root))
    made = json.loads(motorpool("token", "create", "--client", "carol", "--json").stdout)["token"].split("_")[1]
    commands = ["whoami", "version", "health", "stats", "audit", "list", "smi", "lease list", "server list", "device list", "client list", "limit list",
                "setting list", "token list", "ca show", "netperf", "logs s1", f"token show {made}", "limit set carol 2", "limit clear carol",
                "client disable carol", "client enable carol", f"token extend {made}", f"token reissue {made}", f"token deactivate {made}",
                f"token activate {made}", f"token revoke {made}", "server drain s1", "server undrain s1", "server add", "setting set placement pack",
                f"backup {root}/shape.backup", f"restore {root}/shape.backup", f"support-bundle -o {root}/shape.support", "release"]
    shapes = {}
    for c in commands:
        r = motorpool(*c.split(), "--json", XDG_RUNTIME_DIR=str(root))
        try:
            shapes[c.replace(made, "TOKEN").replace(str(root), "DIR")] = shape(json.loads(r.stdout))
        except json.JSONDecodeError:
            shapes[c] = f"no JSON: {r.stdout[:200]} {r.stderr[:200]}"
    path = pathlib.Path(__file__).resolve().parent.parent / "cli/golden/shapes.json"
    text = json.dumps(shapes, indent=1) + "\n"
    if os.environ.get("GOLDEN") == "write":
        path.write_text(text)
    have = json.loads(path.read_text()) if path.exists() else {}
    check(have == shapes, f"{len(commands)} commands print JSON of the shape that is written down",
          "\n".join(f"{k}: {shapes[k]}\n  not {have.get(k)}" for k in shapes if shapes[k] != have.get(k)))
    listed = {c.split(" DIR")[0].split(" TOKEN")[0] for c in shapes}
    told = [l.split("  ")[1].strip() for l in motorpool("--help").stdout.splitlines() if l.startswith("  ")]
    json_too = [c for c in told if "--json" in motorpool(*c.split(), "--help").stdout]
    missing = [c for c in json_too if not any(x == c or x.startswith(c + " ") for x in listed)]
    # These are in other tests: they need what this pool has not, or answer with a shape of their own there.
    check(sorted(missing) == ["ca csr", "ca import", "ca retire", "ca rotate", "device disable", "device enable", "lease kill", "lease show", "request", "server remove",
                              "store migrate", "token create"], "and no command with --json is left out", missing)
    w = subprocess.Popen([COMMAND, "list", "--watch"], env=env, stdout=subprocess.PIPE, text=True)
    time.sleep(2.6)
    w.terminate()
    check(w.stdout.read().count("SERVER") == 2, "--watch shows it again and again")


def test_nothing_configured():
    r = motorpool("list", MOTORPOOL_BUNDLE="", HOME=str(root), XDG_CONFIG_HOME=str(root / "none"))
    check(r.returncode == 78 and "motorpoold --demo" in r.stderr and r.stderr.count("\n") == 1,
          "without a pool, one sentence says what to do", r)
    r = motorpool("version")
    check(r.returncode == 0 and r.stdout.startswith("motorpool "), "version needs no pool", r)
    r = motorpool("run", "-p", "2", "--", "true")
    check(r.returncode == 2 and "0 < F <= 1" in r.stderr, "a bad fraction is a usage error", r)


def test_config():
    def conf(text, *args, **more):
        (root / "c.yaml").write_text(text)
        return subprocess.run([DAEMON, "--config", str(root / "c.yaml"), "--check-config", *args], env=dict(env, **more),
                              capture_output=True, text=True)
    r = conf("# a server\napi: 127.0.0.1:0\noffer:\n  - GPU-1\n  - GPU-2\nreserve: 512MiB\nspread: true\n")
    check(r.returncode == 0 and r.stdout == "api: 127.0.0.1:0\noffer: GPU-1,GPU-2\nreserve: 536870912B\nspread: true\n",
          "a configuration is read and said again", r)
    check(conf("", ).returncode == 0 and conf("# nothing\n").returncode == 0, "an empty one is fine")
    r = conf("api: 127.0.0.1:1\n", "--api", "127.0.0.1:3", MOTORPOOLD_API="127.0.0.1:2", MOTORPOOLD_NAME="n")
    check(r.stdout == "api: 127.0.0.1:3\nname: n\n", "a flag wins over the environment, that over the file", r)
    for text, line, word in (("api: x\ncolour: red\n", 2, "no key 'colour'"), ("api: 1\napi: 2\n", 2, "came before"),
                             ("api: [a, [b]]\n", 1, "one word or a list"), ("api: b: c\n", 1, "mapping values"),
                             ("- x\n", 1, "key: value"), ("reserve: much\n", 1, "size like"),
                             ("api: &a x\n", 1, "anchors"), ("spread: maybe\n", 1, "true or false"),
                             ("demo: true\n", 1, "no key"), ("api: a\n---\nname: b\n", 2, "one document")):
        r = conf(text)
        check(r.returncode == 78 and f"c.yaml:{line}: " in r.stderr and word in r.stderr,
              f"a wrong configuration is told with its line: {text!r}", r)


def test_list(d):
    check("ready on" in d.line, "the demo tells that it is ready", d.line)
    p = pool()
    devs = p["servers"][0]["devices"]
    check(len(devs) == 2 and devs[0]["memory"] == 1 << 30 and devs[0]["free"] == 1 << 30 and p["leases"] == [],
          "list --json shows two free devices", p)
    r = motorpool("list")
    check(re.search(r"s1 +0 +Fixture +8.0 +1024 +1024 +0 +ok", r.stdout), "list shows them as a table", r.stdout)
    check((root / "bundle/token").stat().st_mode & 0o77 == 0, "the token is private")


def test_run():
    r = Run("-n", "1", "-p", "0.5")
    check(r.env.get("LD_LIBRARY_PATH") == f"{libdir}:/kept", "LD_LIBRARY_PATH is prepended", r.env)
    check(free_mib() == 512, "half of a device is lent", pool())
    leases = pool()["leases"]
    check(len(leases) == 1 and leases[0]["program"] == "sh" and leases[0]["state"] == "granted",
          "the lease is shown with its program", leases)
    r2 = Run("-n", "1", "-p", "0.5")
    check(free_mib(0) == 0 and free_mib(1) == 1024, "the second half goes onto the same device", pool())
    r3 = Run("-n", "1", "-m", "1024")
    b = motorpool("run", "-p", "0.5", "--timeout", "0", "--", "true")
    check(b.returncode == 75 and "nearest is s1" in b.stderr, "nothing fits: 75 and what came nearest", b)
    b = motorpool("run", "-p", "0.5", "--timeout", "1", "--", "true")
    check(b.returncode == 124 and "waited 1 s" in b.stderr, "--timeout ends in 124", b)
    b = motorpool("run", "-n", "3", "-p", "0.5", "--", "true")
    check(b.returncode == 84 and "has more than 2" in b.stderr, "more than there is fails at once", b)
    b = motorpool("run", "-p", "0.5", "-f", "device.memory>=2GiB", "--", "true")
    check(b.returncode == 84 and "0 of the 2 devices of s1 pass the filters" in b.stderr, "filters are obeyed", b)
    b = motorpool("run", "-p", "0.5", "-f", "device.memory", "--", "true")
    check(b.returncode == 2 and "quote it" in b.stderr, "a filter without operator says: quote it", b)
    check(r.end() == 7 and r2.end() == 7, "the program's status comes back")
    check(within(1, lambda: free_mib(0) == 1024), "its end gives the device back")
    b = motorpool("run", "-p", "0.5", "--timeout", "0", "--", "true", NVIDIA_REQUIRE_CUDA="cuda>=99.1 brand=tesla,driver>=470,driver<471")
    check(b.returncode == 84 and "filters" in b.stderr, "what an image wants of CUDA is a filter", b)
    for more in (dict(NVIDIA_REQUIRE_CUDA="cuda>=12.4 brand=tesla"), dict(NVIDIA_REQUIRE_CUDA="cuda>=99.1", NVIDIA_DISABLE_REQUIRE="1")):
        b = motorpool("run", "-p", "0.25", "--timeout", "0", "--", "true", **more)
        check(b.returncode == 0, f"which this pool may meet: {more}", b)
    b = motorpool("run", "-p", "0.5", "--filter", "device.id=0", "--", "true")
    check(b.returncode == 0, "and let through what passes", b)
    check(r3.end() == 7 and within(1, lambda: free_mib(1) == 1024), "and that of the third")
    b = motorpool("run", "--", "/nonexistent/x")
    check(b.returncode == 127, "a missing program is 127", b)
    b = motorpool("run", "--", "/etc/passwd")
    check(b.returncode == 126, "a file that is no program is 126", b)
    b = motorpool("run", "--", "sh", "-c", "kill -TERM $$")
    check(b.returncode == 143, "a program killed by a signal is 128 + signal", b)
    b = motorpool("run", "-p", "0.25", "--", COMMAND, "run", "-p", "0.25", "--", "sh", "-c", "echo $MOTORPOOL_LEASE")
    check(b.returncode == 0 and len(b.stdout.strip()) == 16, "a run inside a run uses the outer lease", b)


def test_waiting():
    r = Run()
    r2 = Run()
    w = subprocess.Popen([COMMAND, "run", "--timeout", "10", "--", "true"], env=env)
    time.sleep(0.3)
    check(w.poll() is None, "a request waits for a whole device")
    r.end()
    check(w.wait(10) == 0, "and gets it when one is freed")
    r2.end()


def test_holder_killed():
    r = Run("-p", "0.5")
    s = lane(r)
    check(s.recv(64) == b"hello\n", "a program reaches its worker")
    check(within(1, lambda: pool()["leases"][0]["state"] == "attached"), "the lease is attached")
    check(ask(s, b"c 100\n") == b"ok\n" and ask(s, b"c 500\n") == b"full\n", "its account is bounded by the slice")
    l = pool()["leases"][0]
    check(l["devices"][0]["used"] == 100 << 20 and l["processes"][0]["program"] == "program",
          "used memory and program are shown", l)
    box = motorpool("smi").stdout
    check(re.search(r"program +100 MiB", box) and "shared" in box, "smi shows them", box)
    worker = l["processes"][0]["worker"]
    s2 = lane(r, session=b"t" * 16)
    check(s2.recv(64) == b"hello\n" and ask(s2, b"c 500\n") == b"full\n", "two processes share one account")
    b = lane(r, number=1)
    check(b.recv(64) == b"lane\n", "a second lane goes to the same worker")
    t0 = time.time()
    r.p.kill()
    check(within(1, lambda: free_mib() == 1024), "kill -9 of the holder frees everything within a second", pool())
    print(f"# freed after {time.time() - t0:.3f} s")
    check(s.recv(64) == b"", "its program's lane is closed")
    check(not os.path.exists(f"/proc/{worker}"), "its worker is gone")
    r.p.wait()


def test_worker_killed():
    r = Run("-p", "0.5")
    s = lane(r)
    s.recv(64)
    ask(s, b"c 100\n")
    worker = pool()["leases"][0]["processes"][0]["worker"]
    os.kill(worker, signal.SIGKILL)
    check(within(1, lambda: not pool()["leases"][0]["processes"]), "a killed worker is reaped")
    check(pool()["leases"][0]["devices"][0]["used"] == 0, "and its charge taken back")
    s = lane(r, session=b"u" * 16)
    check(s.recv(64) == b"hello\n", "the lease goes on")
    r.end()
    check(within(1, lambda: free_mib() == 1024), "and ends with its holder")


def test_strangers():
    r = Run("-p", "0.5")
    before = pool()["servers"][0]["counters"]["bad_hellos"]
    for what in (dict(secret=b"x" * 32), dict(magic=b"GET / HT")):
        s = lane(r, **what)
        answer = s.recv(512)
        check(answer[4:6] == b"\x1b\x00" and s.recv(1) == b"", "a wrong hello is told and closed", answer)
    check(within(1, lambda: pool()["servers"][0]["counters"]["bad_hellos"] == before + 2), "and counted")
    host, port = r.env["MOTORPOOL_DATA"].rsplit(":", 1)
    slow = [socket.create_connection((host, int(port))) for _ in range(300)]
    s = lane(r)
    check(s.recv(64) == b"hello\n", "300 silent connections keep nobody out")
    for x in slow:
        x.close()
    r.end()
    (root / "other").mkdir(exist_ok=True)
    for f in ("ca.crt", "servers"):
        shutil.copy(root / "bundle" / f, root / "other" / f)
    (root / "other/token").write_text("mpt_AAAAAAAAAAAA_" + "A" * 43 + "\n")
    (root / "other/token").chmod(0o600)
    b = motorpool("list", "--bundle", str(root / "other"))
    check(b.returncode == 77 and "token was refused" in b.stderr, "a wrong token is 77 with its own sentence", b)
    (root / "other/servers").write_text("127.0.0.1:1\n")
    b = motorpool("list", "--bundle", str(root / "other"))
    check(b.returncode == 69 and "does not answer" in b.stderr, "no server is 69", b)


def test_half_handshakes(d):
    """Peers that stop in the middle of their handshake cost nothing while they are waited for."""
    import ssl
    ctx = ssl.create_default_context(cafile=str(root / "bundle/ca.crt"))

    def used():
        f = pathlib.Path(f"/proc/{d.p.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(f[11]) + int(f[12])) / os.sysconf("SC_CLK_TCK")
    half = []
    for _ in range(8):
        out = ssl.MemoryBIO()
        o = ctx.wrap_bio(ssl.MemoryBIO(), out, server_hostname="x")
        try:
            o.do_handshake()
        except ssl.SSLWantReadError:
            pass
        half.append(socket.create_connection(("127.0.0.1", d.api)))
        half[-1].sendall(out.read())
    time.sleep(0.3)
    before = used()
    time.sleep(1)
    check(used() - before < 0.2, "eight half handshakes cost no processor", used() - before)
    for s in half:
        s.close()


def test_wrong_tokens():
    """Wrong tokens at 100 a second, half of them from addresses of their own, half from one shared with a good client."""
    import http.client
    import ssl
    ctx = ssl.create_default_context(cafile=str(root / "bundle/ca.crt"))
    ctx.check_hostname = False
    port = int((root / "bundle/servers").read_text().split()[0].rsplit(":", 1)[1])
    good = (root / "bundle/token").read_text().strip()
    before = pool()["servers"][0]["counters"]["bad_tokens"]
    n = int(os.environ.get("WRONG", "200"))
    held, inside, sent, slow, stop = [], [], [], [], []

    def look(s):
        s.setblocking(False)
        try:
            if b" 200 " in s.recv(64):
                inside.append(s)
        except OSError:
            pass
        s.close()

    def wrong():
        t0 = time.monotonic()
        for i in range(n):
            source = f"127.{1 + i % 200}.{i // 200 % 250}.{2 + i % 7}" if i % 2 else "127.0.0.1"
            try:
                s = ctx.wrap_socket(socket.create_connection(("127.0.0.1", port), source_address=(source, 0), timeout=20))
                s.sendall(f"GET /v1/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer mpt_{i:012d}_{'A' * 43}\r\n\r\n".encode())
                sent.append(i)
                held.append((time.monotonic(), s))
            except OSError:
                pass
            while held and time.monotonic() - held[0][0] > 11:
                look(held.pop(0)[1])
            time.sleep(max(0, t0 + (i + 1) / 100 - time.monotonic()))

    def right():
        c = http.client.HTTPSConnection("127.0.0.1", port, context=ctx, source_address=("127.0.0.1", 0), timeout=30)
        while not stop:
            t0 = time.monotonic()
            c.request("GET", "/v1/whoami", headers={"Authorization": f"Bearer {good}"})
            r = c.getresponse()
            r.read()
            slow.append(time.monotonic() - t0 if r.status == 200 else 999)
            time.sleep(0.02)
    r = threading.Thread(target=right)
    r.start()
    wrong()
    seen = within(10, lambda: pool()["servers"][0]["counters"]["bad_tokens"] - before == len(sent))
    stop.append(1)
    r.join()
    for _, s in held:
        look(s)
    h = json.loads(motorpool("health", "--json").stdout)
    check(not inside and seen and len(sent) > n // 2, f"{len(sent)} wrong tokens: none gets in, all are counted",
          (len(inside), pool()["servers"][0]["counters"]["bad_tokens"] - before))
    check(max(slow) < 900 and sorted(slow)[len(slow) // 2] < 0.1, "good requests from the same address are not delayed", sorted(slow)[-5:])
    check(h["throttled"] > n // 4, "who shows wrong ones waits", h["throttled"])


def test_tokens():
    b = motorpool("token", "create", "--client", "alice", "-o", str(root / "alice"))
    check(b.returncode == 0 and (root / "alice/token").exists(), "a bundle is made for a client", b)
    who = json.loads(motorpool("whoami", "--json", "--bundle", str(root / "alice")).stdout)
    check(who["client"] == "alice" and who["role"] == "use", "it says who one is", who)
    b = motorpool("token", "list", "--bundle", str(root / "alice"))
    check(b.returncode == 83 and "role use" in b.stderr, "a user is no administrator", b)
    r = Run("-p", "0.5")
    b = motorpool("lease", "kill", r.env["MOTORPOOL_LEASE"], "--bundle", str(root / "alice"))
    check(b.returncode == 83, "a user cannot kill another's lease", b)
    b = motorpool("lease", "kill", r.env["MOTORPOOL_LEASE"])
    check(b.returncode == 0 and within(1, lambda: free_mib() == 1024), "an administrator can", b)
    r.end()
    check("killed by demo" in r.p.stderr.read(), "run says why its lease ended")
    b = motorpool("token", "deactivate", who["token"])
    b = motorpool("list", "--bundle", str(root / "alice"))
    check(b.returncode == 81, "a deactivated token is told so", b)
    motorpool("token", "activate", who["token"])
    check(motorpool("list", "--bundle", str(root / "alice")).returncode == 0, "and works again when activated")
    b = motorpool("token", "reissue", who["token"], "--overlap", "1h", "-o", str(root / "alice2"))
    again = json.loads(motorpool("whoami", "--json", "--bundle", str(root / "alice2")).stdout)
    check(again["client"] == "alice" and again["token"] != who["token"], "a token is issued again", again)
    check(motorpool("list", "--bundle", str(root / "alice")).returncode == 0, "and the old one holds for a while")
    r = Run("-p", "0.5", "--bundle", str(root / "alice"))
    motorpool("token", "revoke", who["token"])
    check(within(2, lambda: free_mib() == 1024), "revoking a token ends its leases")
    r.end()
    check("its token was revoked" in r.p.stderr.read(), "with that reason")
    b = motorpool("list", "--bundle", str(root / "alice"))
    check(b.returncode == 80 and "revoked" in b.stderr, "a revoked one is refused with that word", b)
    b = motorpool("token", "activate", who["token"])
    check(b.returncode == 80, "and for ever", b)


def test_token_misuse():
    """Every route of the API with every token that must not do it: what is answered, by a table."""
    import http.client
    import ssl
    ctx = ssl.create_default_context(cafile=str(root / "bundle/ca.crt"))
    ctx.check_hostname = False
    port = int((root / "bundle/servers").read_text().split()[0].rsplit(":", 1)[1])
    routes = re.findall(r"^\| (\w+) \| `(\S+)` \| (\w+) \|", (pathlib.Path(__file__).resolve().parents[2] / "docs/admin/api.md").read_text(), re.M)
    ranks = ["read", "use", "operate", "admin"]
    asked = [0]

    def ask(method, path, token):
        # Each from an address of its own: wrong tokens are slowed by their source.
        asked[0] += 1
        c = http.client.HTTPSConnection("127.0.0.1", port, context=ctx, timeout=20, source_address=(f"127.9.{asked[0] // 200}.{1 + asked[0] % 200}", 0))
        c.request(method, path.replace("{id}", "zzz"), headers={"Authorization": token} if token else {})
        r = c.getresponse()
        body = r.read()
        c.close()
        try:
            return r.status, json.loads(body)["error"]["code"]
        except (ValueError, KeyError, TypeError):
            return r.status, ""

    def make(client, role="use", *more):
        t = json.loads(motorpool("token", "create", "--client", client, "--role", role, "--json", *more).stdout)["token"]
        return t, t.split("_")[1]
    good, _ = make("misuse-good", "admin")
    revoked, rid = make("misuse-revoked", "admin")
    off, oid = make("misuse-off", "admin")
    disabled, _ = make("misuse-disabled", "admin")
    short, _ = make("misuse-short", "admin", "--lifetime", "1s")
    motorpool("token", "revoke", rid)
    motorpool("token", "deactivate", oid)
    motorpool("client", "disable", "misuse-disabled")
    time.sleep(1.2)
    bad = {"none": (None, "token-refused"), "empty": ("Bearer ", "token-refused"), "another scheme": ("Basic " + good, "token-refused"),
           "without a scheme": (good, "token-refused"), "cut short": ("Bearer " + good[:-1], "token-refused"),
           "a letter more": ("Bearer " + good + "A", "token-refused"), "wrong secret": ("Bearer " + good[:-4] + "zzzz", "token-refused"),
           "another's secret": ("Bearer mpt_" + rid + good[16:], "token-refused"), "very long": ("Bearer mpt_" + "A" * 5000, "token-refused"),
           "not ASCII": ("Bearer mpt_\xe9\xe9", "token-refused"), "a join token": ("Bearer mpj_" + good[4:], "token-refused"),
           "revoked": ("Bearer " + revoked, "token-revoked"), "deactivated": ("Bearer " + off, "token-inactive"),
           "of a disabled client": ("Bearer " + disabled, "token-inactive"), "expired": ("Bearer " + short, "token-expired")}
    wrong = []
    for method, path, role in routes:
        if role == "anyone":
            continue
        # All kinds on one route, each route with some: the table is long.
        kinds = bad if path == "/v1/leases" and method == "POST" else {k: bad[k] for k in ("none", "wrong secret", "revoked", "expired")}
        for kind, (token, word) in kinds.items():
            status, code = ask(method, path, token)
            if code != word or status not in (401, 403):
                wrong.append((method, path, kind, status, code))
    check(not wrong, f"no route answers a token that is wrong, old or taken back: {asked[0]} asked", wrong)
    tokens, wrong, n = {r: "Bearer " + make(f"misuse-{r}", r)[0] for r in ranks}, [], 0
    for method, path, role in routes:
        for r in ranks:
            if role == "anyone" or (ranks.index(r) >= ranks.index(role) and (method != "GET" or "hold" in path)):
                continue
            n += 1
            status, code = ask(method, path, tokens[r])
            if (ranks.index(r) < ranks.index(role)) != (code == "forbidden" and status == 403):
                wrong.append((method, path, r, status, code))
    check(not wrong and n > 100, f"no role does what a higher one may, and each reads what it may: {n} asked", wrong)
    check(ask("GET", "/v1/pool", "Bearer " + good)[0] == 200, "and a good one is taken")


def test_limits():
    motorpool("token", "create", "--client", "bob", "-o", str(root / "bob"))
    bob = ("--bundle", str(root / "bob"))
    check(motorpool("limit", "set", "bob", "1.25").returncode == 0, "a client gets a limit")
    r = Run("-p", "1", *bob)
    b = motorpool("run", "-p", "0.5", *bob, "--", "true")
    check(b.returncode == 82 and "over the limit of bob: 1 of 1.25 devices in use, and 0.5 more asked for" in b.stderr,
          "over it is refused at once, by name", b)
    b = motorpool("run", "-p", "0.25", *bob, "--", "true")
    check(b.returncode == 0, "within it is granted", b)
    b = motorpool("run", *bob, "--", "true")
    check(b.returncode == 82, "over it there is no waiting, even where nothing fits", b)
    t = motorpool("limit", "list").stdout
    check(re.search(r"bob +1.25 +1 +-", t), "limits are listed with what is in use", t)
    motorpool("limit", "set", "pool", "1.5")
    b = motorpool("run", "-n", "1", "-p", "0.75", "--", "true")
    check(b.returncode == 82 and "the pool" in b.stderr, "the pool's limit bounds the sum", b)
    motorpool("limit", "clear", "pool")
    r.end()
    seen = []

    # Those that are in stay until the one that is not has been told so, however slow the machine.
    go = pathlib.Path(tempfile.mkdtemp()) / "go"

    def one(f):
        seen.append(motorpool("run", "-p", str(f), *bob, "--timeout", "0", "--", "timeout", "9", "sh", "-c",
                              f"while [ ! -e {go} ]; do sleep 0.05; done").returncode)
    motorpool("limit", "set", "bob", "1")
    for _ in range(3):
        seen.clear()
        ts = [threading.Thread(target=one, args=(f,)) for f in (0.5, 0.25, 0.25, 0.25)]
        for t in ts:
            t.start()
        until = time.monotonic() + 10
        while not seen and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(0.7)  # some use to account for
        go.touch()
        for t in ts:
            t.join()
        go.unlink()
        check(sorted(seen) in ([0, 0, 0, 82],), "four at the same instant: three fit under the limit", seen)
    shutil.rmtree(go.parent)
    motorpool("limit", "clear", "bob")
    b = motorpool("client", "disable", "bob")
    b = motorpool("list", *bob)
    check(b.returncode == 81 and "disabled" in b.stderr, "a disabled client is told so", b)
    motorpool("client", "enable", "bob")
    check(motorpool("list", *bob).returncode == 0, "and answered again when enabled")


def test_request():
    run = dict(XDG_RUNTIME_DIR=str(root))
    b = motorpool("request", "-p", "0.5", "--linger", "6", **run)
    check(b.returncode == 0 and "lease" in b.stdout, "a lease without a holder", b)
    check((root / "motorpool/default.json").stat().st_mode & 0o77 == 0, "its secret is private")
    check(motorpool("request", "-p", "0.5", **run).returncode == 2, "one of a name at a time")
    b = motorpool("use", "--", "sh", "-c", "echo $MOTORPOOL_LEASE $MOTORPOOL_DEVICES", **run)
    check(b.returncode == 0 and b.stdout.strip() == pool()["leases"][0]["id"] + " 1", "a program uses it", b)
    b = motorpool("request", "-p", "0.25", "--name", "two", "--print-env", **run)
    check(b.returncode == 0 and "export MOTORPOOL_SECRET=" in b.stdout, "several at once, named", b)
    b = motorpool("release", "--name", "two", **run)
    check(b.returncode == 0 and len(pool()["leases"]) == 1, "release ends it", b)
    check(within(14, lambda: not pool()["leases"]), "a lease that nobody uses ends by itself")
    b = motorpool("use", "--", "true", **run)
    check(b.returncode == 66, "and using it is told so", b)
    check(motorpool("release", **run).returncode == 0, "releasing what is over is no error")
    b = motorpool("request", "--ttl", "1", **run)
    check(within(4, lambda: not pool()["leases"]), "--ttl ends one, too")
    motorpool("release", **run)


def test_idle():
    motorpool("limit", "set", "default", "--idle", "2")
    r = Run("-p", "0.5")
    s = lane(r)
    s.recv(64)
    check(within(5, lambda: not pool()["leases"]), "an idle lease is taken back")
    r.end()
    err = r.p.stderr.read()
    check("idle limit" in err and "the devices are idle" in err, "with a warning, and a reason", err)
    motorpool("limit", "clear", "default")


def test_history():
    s = json.loads(motorpool("stats", "--json").stdout)["use"]
    check(s["bob"]["leases"] >= 2 and s["bob"]["gpu_seconds"] > 0, "stats count GPU-seconds by client", s)
    s = json.loads(motorpool("stats", "--json", "--by", "program").stdout)["use"]
    check("timeout" in s and "sh" in s, "and by program", s)
    check(motorpool("stats", "--by", "colour").returncode == 2, "and by nothing else")
    a = motorpool("audit").stdout
    check(re.search(r"demo +127.0.0.1 +POST /v1/tokens/{id}/revoke +\w{12} +ok", a), "audit tells who revoked a token", a)
    check(re.search(r"alice .* GET /v1/tokens +- +forbidden", a) is None and "kill lease" in a, "and who killed a lease", a)


def test_health():
    b = motorpool("health")
    rows = {c["check"]: c for c in json.loads(motorpool("health", "--json").stdout)["checks"]}
    check(b.returncode == 0 and rows["store"]["state"] == "ok" and rows["clock"]["state"] == "ok"
          and rows["bundle"]["where"] == "client" and rows["devices"]["where"] == "s1", "health is told by named checks", b)
    b = motorpool("health", "--bundle", str(root / "other"))
    check(b.returncode == 86 and "fail" in b.stdout and "start motorpoold" in b.stdout, "and what to do", b)


def test_keeping():
    motorpool("limit", "set", "carol", "1.5")
    motorpool("token", "create", "--client", "carol", "-o", str(root / "carol"))
    who = json.loads(motorpool("whoami", "--json", "--bundle", str(root / "carol")).stdout)["token"]
    (root / "pass").write_text("correct horse battery\n")
    b = motorpool("backup", str(root / "backup.json"), "--passphrase-file", str(root / "pass"))
    text = (root / "backup.json").read_text()
    check(b.returncode == 0 and "/limits/client/carol" in text and "BEGIN ENCRYPTED PRIVATE KEY" in text and
          (root / "backup.json").stat().st_mode & 0o77 == 0, "a backup holds limits, tokens' hashes, the key under a passphrase", b)
    check("mpt_" not in text and "BEGIN PRIVATE KEY" not in text and '"/leases' not in text, "no token, no open key, no lease")
    check("ENCRYPTED" not in (motorpool("backup", str(root / "b2.json")), (root / "b2.json").read_text())[1], "without one, no key at all")
    motorpool("limit", "clear", "carol")
    motorpool("token", "revoke", who)
    b = motorpool("restore", str(root / "backup.json"))
    check(b.returncode == 0 and "1 tokens stay revoked" in b.stdout, "a restore tells what it did not revive", b)
    check("carol" in motorpool("limit", "list").stdout and motorpool("list", "--bundle", str(root / "carol")).returncode == 80,
          "the limit is back, the revoked token is not")
    (root / "pass").write_text("something else\n")
    b = motorpool("restore", str(root / "backup.json"), "--passphrase-file", str(root / "pass"))
    check(b.returncode != 0 and "passphrase is wrong" in b.stderr, "the key needs its passphrase", b)
    (root / "pass").write_text("correct horse battery\n")
    b = motorpool("restore", str(root / "backup.json"), "--passphrase-file", str(root / "pass"))
    check(b.returncode == 0 and motorpool("list").returncode == 0, "with it the authority is restored", b)
    b = motorpool("logs", "s1")
    check(b.returncode == 0 and "state=granted" in b.stdout, "logs shows a server's last lines", b.stdout[-300:])
    b = motorpool("support-bundle", "-o", str(root / "support"))
    names = sorted(os.listdir(root / "support"))
    everything = "".join((root / "support" / n).read_text() for n in names)
    check(b.returncode == 0 and "log-s1.json" in names and "health-s1.json" in names and "pool.json" in names, "support-bundle collects", names)
    check((root / "bundle/token").read_text().strip()[17:] not in everything and '"hash"' not in everything, "and has no secrets")
    r = motorpool("netperf", "--json")
    b = {x["lane"]: x for x in json.loads(r.stdout)["lanes"]}
    check(sorted(b) == ["encrypted", "plain"] and all(x["up_gbit_s"] > 0.01 and x["down_gbit_s"] > 0.01 and x["one_way_records_s"] > 1000 and
                                                      0 < x["round_trip_us"] <= x["worst_us"] for x in b.values()),
          "netperf measures lanes, plain and encrypted", r)
    os.symlink(COMMAND if COMMAND.startswith("/") else os.path.abspath(COMMAND), root / "bitfusion")
    b = subprocess.run([str(root / "bitfusion"), "list_gpus"], env=env, capture_output=True, text=True)
    check("Fixture" in b.stdout, "bitfusion list_gpus", b)
    b = subprocess.run([str(root / "bitfusion"), "run", "-n", "1", "-p", "0.5", "sh", "-c", "echo $MOTORPOOL_DEVICES"],
                       env=env, capture_output=True, text=True)
    check(b.stdout.strip() == "1", "bitfusion run without --", b)
    motorpool("limit", "clear", "carol")


def test_concurrency():
    seen = []

    def one():
        p = motorpool("run", "-p", "0.25", "--timeout", "20", "--", "sh", "-c",
                      f"{COMMAND} list --json")
        devs = json.loads(p.stdout)["servers"][0]["devices"] if p.returncode == 0 else None
        seen.append((p.returncode, devs))
    threads = [threading.Thread(target=one) for _ in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check(all(c == 0 for c, _ in seen), "16 requests at once for 8 quarters all get one in the end", seen)
    check(all(d["free"] >= 0 and d["free"] + d["leases"] * (256 << 20) == d["memory"] for _, ds in seen if ds for d in ds),
          "and at no time is more lent than there is")
    check(within(1, lambda: free_mib(0) == free_mib(1) == 1024), "everything is free afterwards")


def test_restart(d):
    r = Run("-p", "0.5")
    s = lane(r)
    s.recv(64)
    ask(s, b"c 100\n")
    d.kill(signal.SIGKILL)
    check(ask(s, b"c 1\n") == b"ok\n", "a killed daemon leaves the program alone")
    b = motorpool("list")
    check(b.returncode == 69, "new requests are refused", b)
    data = int(r.env["MOTORPOOL_DATA"].rsplit(":", 1)[1])
    d2 = Daemon(api=d.api, data=data)
    p = pool()
    check(len(p["leases"]) == 1 and p["leases"][0]["devices"][0]["used"] == 101 << 20 and free_mib() == 512,
          "the new daemon adopts lease, account and worker", p)
    check(ask(s, b"c 1\n") == b"ok\n", "the program still runs")
    s2 = lane(r, session=b"v" * 16)
    check(s2.recv(64) == b"hello\n", "and more of its processes may join")
    s3 = lane(r, number=1)
    said = s3.recv(64)
    check(said == b"lane\n", "a second lane of a program that ran before goes to its worker", said)
    # As if it had been killed after the workers were started and before that was written down.
    d2.kill(signal.SIGKILL)
    with contextlib.closing(sqlite3.connect(root / "state/store.db")) as db, db:
        for key, text in db.execute("SELECT key, value FROM entry WHERE key LIKE '/leases/%'").fetchall():
            db.execute("UPDATE entry SET value = ? WHERE key = ?", (json.dumps(dict(json.loads(text), sessions=[])), key))
    d2 = Daemon(api=d.api, data=data)
    said = lane(r, number=1).recv(64)
    check(said == b"lane\n", "nor is a worker that was not written down yet lost to its program", said)
    time.sleep(1.5)  # run returns within a second
    r.end()
    check(within(1, lambda: free_mib() == 1024), "its holder came back: the end of run frees all", pool())
    err = r.p.stderr.read()
    check("the program goes on" in err or "token" in err, "run said that the server was away", err)
    return d2


def main():
    test_nothing_configured()
    test_config()
    d = Daemon()
    for t in (test_golden, test_run, test_waiting, test_holder_killed, test_worker_killed, test_strangers, lambda: test_half_handshakes(d), test_wrong_tokens, test_tokens, test_token_misuse, test_limits,
              test_request, test_idle, test_history, test_health, test_keeping, test_shapes,
              test_concurrency):
        if t is test_golden:
            test_list(d)
        t()
    d = test_restart(d)
    r = Run("-p", "0.5")
    check(d.kill() == 0, "SIGTERM ends the demo in order")
    r.end()
    check("the demo pool was stopped" in r.p.stderr.read(), "and tells the holders")
    check(not [f for f in os.listdir(root / "state/leases")], "no account is left")
    failed = plan()
    if failed:
        print("#", (root / "daemon.log").read_text()[-3000:].replace("\n", "\n# "))
    shutil.rmtree(root)
    return 1 if failed else 0


sys.exit(main())
