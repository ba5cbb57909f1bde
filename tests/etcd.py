# SPDX-License-Identifier: Apache-2.0
"""Etcd nodes for tests, on free ports of loopback; what a test imports."""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

from tap import started


def missing():
    """Why there is no etcd here, or None."""
    return None if shutil.which("etcd") else "etcd is not installed (Debian: etcd-server)"


def ports(n):
    """Free ones: bound, looked at, given back together."""
    socks = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    got = [s.getsockname()[1] for s in socks]
    for s in socks:
        s.close()
    return got


class Etcd:
    def __init__(self, root, n=3, election=500):
        self.root, self.n, self.election = pathlib.Path(root), n, election
        p = ports(2 * n)
        self.client, self.peer = p[:n], p[n:]
        self.endpoints = ",".join(f"127.0.0.1:{c}" for c in self.client)
        self.nodes = [None] * n
        for i in range(n):
            self.start(i, "new")
        self.wait()

    def start(self, i, state="existing"):
        cluster = ",".join(f"n{k}=http://127.0.0.1:{p}" for k, p in enumerate(self.peer))
        log = open(self.root / f"etcd{i}.log", "a")
        self.nodes[i] = subprocess.Popen(
            ["etcd", "--name", f"n{i}", "--data-dir", str(self.root / f"etcd{i}"), "--unsafe-no-fsync",
             "--listen-client-urls", f"http://127.0.0.1:{self.client[i]}", "--advertise-client-urls", f"http://127.0.0.1:{self.client[i]}",
             "--listen-peer-urls", f"http://127.0.0.1:{self.peer[i]}", "--initial-advertise-peer-urls", f"http://127.0.0.1:{self.peer[i]}",
             "--initial-cluster", cluster, "--initial-cluster-state", state, "--heartbeat-interval", str(self.election // 10),
             "--election-timeout", str(self.election)],
            stdout=log, stderr=log, env={"PATH": os.environ["PATH"], "HOME": str(self.root), "ETCD_UNSUPPORTED_ARCH": ""})
        started.append(self.nodes[i])

    def healthy(self, i):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.client[i]}/health", timeout=1) as r:
                return json.load(r)["health"] == "true"
        except OSError:
            return False

    def wait(self, seconds=20):
        until = time.time() + seconds
        while time.time() < until:
            if all(self.healthy(i) for i in range(self.n) if self.nodes[i]):
                return
            time.sleep(0.05)
        raise RuntimeError("etcd does not come up: " + (self.root / "etcd0.log").read_text()[-2000:])

    def leader(self):
        for i in range(self.n):
            if not self.nodes[i]:
                continue
            try:
                q = urllib.request.Request(f"http://127.0.0.1:{self.client[i]}/v3/maintenance/status", b"{}")
                with urllib.request.urlopen(q, timeout=1) as r:
                    s = json.load(r)
                    if s["leader"] == s["header"]["member_id"]:
                        return i
            except (OSError, KeyError):
                pass
        return 0

    def kill(self, i, sig=signal.SIGKILL):
        self.nodes[i].send_signal(sig)
        self.nodes[i].wait()
        self.nodes[i] = None

    def close(self):
        for i in range(self.n):
            if self.nodes[i]:
                self.kill(i)
