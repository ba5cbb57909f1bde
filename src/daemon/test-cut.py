#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Client and server on two hosts (network namespaces) whose link is cut, and releases that do not fit.

usage: test-cut.py MOTORPOOLD MOTORPOOL WORKER DRIVER LIBDIR PROGRAM     prints TAP
"""
import json
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests"))
from tap import check, plan, started, within  # noqa: E402

DAEMON, COMMAND, WORKER, DRIVER, LIBDIR, PROGRAM = [os.path.abspath(a) for a in sys.argv[1:7]]
LIVENESS = 5
tag = f"mp{os.getpid()}"


def ip(*args):
    return subprocess.run(["ip", *args], capture_output=True, text=True)


if os.getuid():
    print("1..0 # SKIP network namespaces need root")
    sys.exit(0)
if not shutil.which("ip") or ip("netns", "add", tag).returncode:
    print("1..0 # SKIP there is no iproute2, or no network namespaces here")
    sys.exit(0)
root = pathlib.Path(tempfile.mkdtemp(prefix="mp-cut-"))
env = {k: v for k, v in os.environ.items() if not k.startswith(("MOTORPOOL_", "CUDA_"))}
env.update(MOTORPOOL_WORKER=WORKER, MOTORPOOL_LIBDIR=LIBDIR, MOTORPOOL_BUNDLE=str(root / "bundle"), MOTORPOOL_SOFT_CONTEXT_MEMORY="64M",
           MOTORPOOL_WORKER_CONFINE="strict")
net = f"10.{200 + os.getpid() % 50}.{os.getpid() // 50 % 250}"


def inside(*args, **more):
    return subprocess.run(["ip", "netns", "exec", tag, *args], env=dict(env, MOTORPOOL_BUNDLE=str(root / "inside")), capture_output=True, text=True,
                          timeout=30, **more)


def pool():
    return json.loads(inside(COMMAND, "list", "--json").stdout)


def main():
    ip("link", "add", f"{tag}a"[:15], "type", "veth", "peer", "name", f"{tag}b"[:15], "netns", tag)
    ip("addr", "add", f"{net}.1/24", "dev", f"{tag}a"[:15])
    ip("link", "set", f"{tag}a"[:15], "up")
    ip("-n", tag, "addr", "add", f"{net}.2/24", "dev", f"{tag}b"[:15])
    ip("-n", tag, "link", "set", f"{tag}b"[:15], "up")
    ip("-n", tag, "link", "set", "lo", "up")
    log = open(root / "log", "a")
    d = subprocess.Popen(["ip", "netns", "exec", tag, DAEMON, "--driver", DRIVER, "--api", f"{net}.2:56001", "--data", f"{net}.2:55001", "--state",
                          str(root / "state"), "--name", "far", "--liveness", f"{LIVENESS}s"],
                         env=dict(env, MOTORPOOL_SOFT_DEVICES="1", MOTORPOOL_SOFT_MEMORY="1G", MOTORPOOL_SOFT_DIR=str(root),
                                  MOTORPOOL_WORKER_WRITE=str(root)), stdout=subprocess.PIPE, stderr=log, text=True)
    started.append(d)
    line = d.stdout.readline()
    check("bundle is in" in line and within(10, lambda: "ready api-port" in (root / "log").read_text()), "a server on another host", line + (root / "log").read_text())
    for n in ("bundle", "inside"):
        shutil.copytree(root / "state/admin-bundle", root / n)
        (root / n / "servers").write_text(f"{net}.2:56001\n")

    # A program through an encrypted lane, as is the default between hosts.
    p = subprocess.Popen([COMMAND, "run", "-p", "0.5", "--", PROGRAM], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True)

    def ask(text):
        p.stdin.write(text + "\n")
        p.stdin.flush()
        return p.stdout.readline().strip()
    check(p.stdout.readline().strip() == "0" and ask("w") == "0", "a program works over the network")
    data = json.loads(inside(COMMAND, "lease", "show", pool()["leases"][0]["id"], "--json").stdout)["data"]
    check(data[0].startswith("tls:"), "its data is encrypted by default", data)
    h = {c["check"]: c for c in json.loads(inside(COMMAND, "health", "--json").stdout)["checks"]}
    check(h["encryption"]["state"] == "ok" and h["mtu"]["state"] == "ok", "health says so, and knows the way's MTU", (h["encryption"], h.get("mtu")))

    # Another release.
    def hello(major, start=b""):
        s = socket.create_connection((f"{net}.2", 55001), timeout=10)
        s.sendall(start or struct.pack("<8sHHHH16s32sIIQ4Q16s128s", b"MOTORPL1", major, 0, 0, 0, b"s" * 16, b"x" * 32, 1, 0, 0, 0, 0, 0, 0, b"p", b""))
        return s.recv(512)
    check(b"encrypted lanes only" in hello(1), "a plain lane from another host is refused with a reason")
    inside(COMMAND, "setting", "set", "encryption", "off")
    check(b"different versions" in hello(99), "another release's protocol is refused with a reason", hello(99))
    h = {c["check"]: c for c in json.loads(inside(COMMAND, "health", "--json").stdout)["checks"]}
    check(h["encryption"]["state"] == "warn", "plain data is warned of", h["encryption"])
    inside(COMMAND, "setting", "set", "encryption", "on")

    # The link is cut under a blocked call.
    ip("link", "set", f"{tag}a"[:15], "down")
    t0 = time.time()
    answer = []
    t = threading.Thread(target=lambda: answer.append((ask("w"), time.time() - t0)))
    t.start()
    time.sleep(LIVENESS / 2)
    check(len(pool()["leases"]) == 1, "below the limit the lease is kept")
    check(within(3 * LIVENESS, lambda: not pool()["leases"]), "at the limit it is freed", pool()["leases"])
    print(f"# freed after {time.time() - t0:.1f} s, the limit is {LIVENESS} s")
    t.join(40)
    check(answer and answer[0][0] != "0", "and a call that is blocked returns with an error", answer)
    if answer:
        print(f"# returned after {answer[0][1]:.1f} s")
    ip("link", "set", f"{tag}a"[:15], "up")
    p.stdin.close()
    p.wait(60)
    check(within(5, lambda: subprocess.run([COMMAND, "run", "--timeout", "5", "--", "true"], env=env).returncode == 0), "with the link back, leases are given")
    d.terminate()
    d.wait(10)

    # A store of a newer release.
    import sqlite3
    db = sqlite3.connect(root / "state/store.db")
    db.execute("INSERT INTO entry VALUES ('/schema', '99', 1) ON CONFLICT (key) DO UPDATE SET value = '99'")
    db.commit()
    db.close()
    r = subprocess.run(["ip", "netns", "exec", tag, DAEMON, "--driver", DRIVER, "--api", f"{net}.2:0", "--data", f"{net}.2:0", "--state", str(root / "state"),
                        "--name", "far"], env=env, capture_output=True, text=True, timeout=30)
    check(r.returncode == 78 and "schema 99" in r.stderr and "install the release" in r.stderr, "a pool of a newer release is refused clearly", r)


try:
    main()
finally:
    for d in started:
        if d.poll() is None:
            d.kill()
            d.wait()
    ip("link", "del", f"{tag}a"[:15])
    ip("netns", "del", tag)
failed = plan()
if failed:
    print("#", (root / "log").read_text()[-2500:].replace("\n", "\n# "))
shutil.rmtree(root)
sys.exit(1 if failed else 0)
