#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A server whose clock jumps: leases go on, and what is wrong is said with what to do.

usage: test-clock.py MOTORPOOLD MOTORPOOL FIXTURE-WORKER     prints TAP; skipped without libfaketime (Debian: faketime)
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import shutil
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests"))
from tap import check, plan, sanitized, started, within  # noqa: E402

FAKE = next((str(p) for p in pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)
if not FAKE:
    print("1..0 # SKIP libfaketime is not installed (Debian: faketime)")
    sys.exit(0)
if sanitized(sys.argv[1]):
    print("1..0 # SKIP a program with a sanitizer bears no preloaded clock")
    sys.exit(0)
DAEMON, COMMAND, WORKER = [os.path.abspath(a) for a in sys.argv[1:4]]
root = pathlib.Path(tempfile.mkdtemp(prefix="mp-clock-"))
(root / "lib").mkdir()
(root / "lib/libcuda.so.1").write_text("")
env = {k: v for k, v in os.environ.items() if not k.startswith("MOTORPOOL")}
env.update(MOTORPOOL_WORKER=WORKER, FIXTURE_DEVICES="2", FIXTURE_MEMORY="1024", MOTORPOOL_LIBDIR=str(root / "lib"), MOTORPOOL_NVMLDIR=str(root / "lib"),
           MOTORPOOL_BUNDLE=str(root / "bundle"), XDG_RUNTIME_DIR=str(root))
offset = root / "offset"


def jump(text):
    (root / "offset.new").write_text(text + "\n")
    os.rename(root / "offset.new", offset)


def motorpool(*args, ahead=None):
    more = dict(LD_PRELOAD=FAKE, FAKETIME=ahead, FAKETIME_DONT_FAKE_MONOTONIC="1") if ahead else {}
    return subprocess.run([COMMAND, *args], env=dict(env, **more), capture_output=True, text=True, timeout=60)


def health(**more):
    r = motorpool("health", "--json", **more)
    return r.returncode, {c["check"]: c for c in json.loads(r.stdout)["checks"]}


def leases():
    return json.loads(motorpool("list", "--json").stdout)["leases"]


def main():
    jump("+0")
    log = root / "log"
    d = subprocess.Popen([DAEMON, "--driver", "none", "--api", "127.0.0.1:0", "--data", "127.0.0.1:0", "--state", str(root / "state"), "--name", "s1"],
                         env=dict(env, MOTORPOOL_LOG="info", LD_PRELOAD=FAKE, FAKETIME_TIMESTAMP_FILE=str(offset), FAKETIME_NO_CACHE="1",
                                  FAKETIME_DONT_FAKE_MONOTONIC="1"), stdout=subprocess.DEVNULL, stderr=open(log, "a"))
    started.append(d)
    ready = within(15, lambda: "daemon ready" in log.read_text())
    check(ready, "a server is up", log.read_text())
    port = re.search(r"ready api-port=(\d+)", log.read_text())[1]
    shutil.copytree(root / "state/admin-bundle", root / "bundle")
    (root / "bundle/servers").write_text(f"127.0.0.1:{port}\n")
    r = subprocess.Popen([COMMAND, "run", "-p", "0.5", "--", "sh", "-c", "echo runs; read x; exit 7"], env=env, stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    started.append(r)
    check(r.stdout.readline() == "runs\n", "a program runs")
    motorpool("request", "-p", "0.25", "--ttl", "20m")
    check(len(leases()) == 2 and health()[1]["clock"]["state"] == "ok", "with a second lease beside it, for twenty minutes", leases())

    for text, s in (("+1h", 3600), ("-1h", 3600), ("+10s", 10)):
        jump(text)
        time.sleep(1.5)
        code, h = health()
        differ = int(re.search(r"differ by (\d+) s", h["clock"]["text"])[1]) if "clock" in h else 0
        check("clock" in h and h["clock"]["state"] == ("fail" if s > 30 else "warn") and abs(differ - s) < 5 and "time service" in h["clock"]["remedy"] and
              (code != 0) == (s > 30), f"its clock is {text}: health says so, and what to do", h.get("clock", h))
        check(len(leases()) == 2, f"{text}: no lease ends, none of them by its age", leases())
        b = motorpool("run", "-p", "0.25", "--timeout", "0", "--", "true")
        check(b.returncode == 0, f"{text}: leases are given", b)

    jump("+400d")
    within(10, lambda: "certificate-renewed" in log.read_text())
    code, h = health()
    check(code != 0 and h["server"]["state"] == "fail" and "not valid yet" in h["server"]["text"] and "compare the clocks" in h["server"]["text"],
          "+400 days: its certificate is of the future, and that is what health says", h)
    b = motorpool("run", "-p", "0.25", "--timeout", "0", "--", "true")
    check(b.returncode == 78 and "compare the clocks" in b.stderr, "so says run", b)
    b = motorpool("list", ahead="+400d")
    check(b.returncode == 79 and "expired" in b.stderr, "who is as far ahead is told that the token has expired", b)
    check(r.poll() is None, "the program runs on")

    jump("+0")
    check(within(15, lambda: motorpool("list").returncode == 0), "back in time it has a certificate of today", motorpool("list"))
    check(len(leases()) == 2 and health()[1]["clock"]["state"] == "ok", "and both leases", leases())
    code, h = health(ahead="+400d")
    check(code != 0 and "has expired" in h["server"]["text"] and "compare the clocks" in h["server"]["text"], "a client of the far future hears of its own clock", h)
    code, h = health(ahead="+1h")
    check(code != 0 and h["clock"]["state"] == "fail", "one that is an hour ahead, too", h)
    r.stdin.close()
    check(r.wait(10) == 7 and within(2, lambda: len(leases()) == 1), "the program ends with its own status, and its lease with it")
    d.terminate()
    check(d.wait(10) == 0, "the server ends in order")
    failed = plan()
    if failed:
        print("#", log.read_text()[-2000:].replace("\n", "\n# "))
    shutil.rmtree(root)
    return 1 if failed else 0


sys.exit(main())
