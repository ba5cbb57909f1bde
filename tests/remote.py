# SPDX-License-Identifier: Apache-2.0
"""Where the built parts are, and how a test runs a program on the soft GPU directly or through drop-in and worker."""
import os
import pathlib
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time

SECRET = "5e" * 32


class Parts:
    """The parts of one build directory; `missing` says in a sentence what is not there."""

    def __init__(self, build):
        self.build = pathlib.Path(build)
        # Another driver library in the place of the soft GPU: tools/check-gpu names that of a real one.
        self.soft = pathlib.Path(os.environ.get("MOTORPOOL_TEST_DRIVER") or self.build / "src/soft/gpu/libcuda.so.1")
        self.shim = self.build / "src/shim/libcuda.so.1"
        self.worker = self.build / "src/worker/motorpool-worker"

    def missing(self, remote):
        for name, path in (("soft GPU", self.soft), ("drop-in", self.shim), ("worker", self.worker)):
            if not path.exists() and (remote or name == "soft GPU"):
                return f"no {name}: {path.relative_to(self.build)} is not built"
        return None

    def runtime(self):
        """What a program that was built without a sanitizer must preload when the libraries were built with one."""
        told = subprocess.run(["ldd", str(self.soft)], capture_output=True, text=True).stdout
        found = re.search(r"=> (\S*/lib[at]san\.so\S*)", told)
        return {"LD_PRELOAD": found[1]} if found else {}


def base_env(scratch, extra=None):
    """An environment without anything of the user's pool; device accounts are private to the test."""
    env = {k: v for k, v in os.environ.items()
           if not k.startswith("MOTORPOOL_") and not k.startswith("CUDA_") and k != "LD_LIBRARY_PATH"}
    accounts = pathlib.Path(scratch) / "accounts"
    accounts.mkdir(mode=0o700, exist_ok=True)
    env["MOTORPOOL_SOFT_DIR"] = str(accounts)
    env["MOTORPOOL_SOFT_THREADS"] = "2"
    # A program may leave to its exit what it made, and the driver keeps that for it; unit tests look for leaks.
    env["ASAN_OPTIONS"] = ":".join(filter(None, [env.get("ASAN_OPTIONS"), "detect_leaks=0"]))
    env.update(extra or {})
    return env


def direct_env(parts, env):
    return dict(env, LD_LIBRARY_PATH=str(parts.soft.parent))


class Server:
    """What motorpoold does for the data port, and no more: one motorpool-worker for each session, its lanes handed over.

    Listens on a Unix socket or on a TCP port of loopback. The device accounts are those of `env`.
    """

    HELLO = 256

    def __init__(self, parts, scratch, env, driver=None, tcp=False, binary=None, arguments=()):
        self.command = [str(binary or parts.worker), "--driver", str(driver or parts.soft), *arguments]
        self.environment = env
        self.workers = {}  # session id: (process, our end of its control socket)
        self.log_path = pathlib.Path(scratch) / "worker.log"
        self.log = open(self.log_path, "ab")
        if tcp:
            self.socket = socket.create_server(("127.0.0.1", 0))
            self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        else:
            path = tempfile.mktemp(prefix="s", dir=scratch)
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.bind(path)
            self.socket.listen(64)
            self.address = f"unix:{path}"
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        while True:
            try:
                lane, _ = self.socket.accept()
            except OSError:
                return
            try:
                self.hand_over(lane)
            except OSError as e:
                self.log.write(f"server: {e}\n".encode())
            lane.close()

    def hand_over(self, lane):
        hello = lane.recv(self.HELLO, socket.MSG_PEEK | socket.MSG_WAITALL)
        if len(hello) < self.HELLO:
            return
        session = hello[16:32]
        if session in self.workers:
            socket.send_fds(self.workers[session][1], [struct.pack("<II", 1, 0)], [lane.fileno()])
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        process = subprocess.Popen(
            self.command + ["--lane-fd", str(lane.fileno()), "--control-fd", str(theirs.fileno())],
            env=self.environment, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
            pass_fds=(lane.fileno(), theirs.fileno()))
        theirs.close()
        self.workers[session] = (process, ours)

    def pids(self):
        return [w[0].pid for w in self.workers.values()]

    def running(self):
        return [w[0] for w in self.workers.values() if w[0].poll() is None]

    def env(self, parts, env, shim=None):
        return dict(env, LD_LIBRARY_PATH=str((shim or parts.shim).parent), MOTORPOOL_DATA=self.address,
                    MOTORPOOL_SECRET=SECRET)

    def tail(self, n=2000):
        self.log.flush()
        return self.log_path.read_text(errors="replace")[-n:]

    def wait(self, limit=5):
        """Give workers whose programs have ended a moment to leave. Their exit statuses; None for one that stays."""
        deadline = time.monotonic() + limit
        while self.running() and time.monotonic() < deadline:
            time.sleep(0.005)
        return [w[0].poll() for w in self.workers.values()]

    def stop(self):
        self.wait(2)
        # Closing alone would leave the thread waiting on a number that the next socket gets.
        self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.socket.close()
        for process, control in self.workers.values():
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(timeout=2)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            control.close()
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()


class Scratch:
    """A temporary directory with a short name: Unix sockets allow 107 bytes."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="mp-")
        return pathlib.Path(self.path)

    def __exit__(self, *exc):
        shutil.rmtree(self.path, ignore_errors=True)


class Tap:
    """Test Anything Protocol on stdout."""

    def __init__(self):
        self.n = self.failed = 0

    def ok(self, good, name, notes=(), skip=None, todo=None):
        """One test. `todo`: it is known to fail still, and this is why."""
        self.n += 1
        if todo and not good:
            name += f" # TODO {todo}"
            self.failed -= 1
        for note in notes:
            for line in str(note).splitlines():
                print("#", line)
        print("ok" if good else "not ok", self.n, "-", name + (f" # SKIP {skip}" if skip else ""), flush=True)
        self.failed += not good
        return good

    def end(self):
        print(f"1..{self.n}")
        return 1 if self.failed else 0
