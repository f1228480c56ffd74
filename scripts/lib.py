"""What the slow tests and the bench share: a daemon in a directory of its own, HTTP, and figures from /proc.

Standard library only. Every helper ends what it started and nothing else; every wait has an end.
"""

import fcntl
import http.client
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# How many times slower than a PC this system is: boards, and emulated ones all the more.
SLOW = float(os.environ.get("RILL_SLOW", 1))
# Where an installed daemon listens.
PORT = 8080


class Failure(Exception):
    """A requirement that does not hold; ends the script with status 1."""


def require(condition, text):
    if not condition:
        raise Failure(text)


def say(text):
    print(f"   {text}", file=sys.stderr, flush=True)


def run(main):
    """Runs main() and turns its outcome into the exit status."""
    try:
        status = main()
    except Failure as error:
        print(f"FAILED: {error}", flush=True)
        status = 1
    sys.exit(status or 0)


def chosen(checks):
    """The functions that the command line names, all of them if it names none."""
    known, names = [check.__name__ for check in checks], sys.argv[1:]
    require(set(names) <= set(known), f"known checks are: {' '.join(known)}")
    return [check for check in checks if not names or check.__name__ in names]


def binary():
    """The daemon to test: $RILL, else the release build."""
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
    path = os.environ.get("RILL", os.path.join(target, "release", "rill"))
    require(os.access(path, os.X_OK), f"{path} is missing; build it (cargo build --release) or set RILL")
    return os.path.abspath(path)


def golden_exceptions(work):
    """What golden runs leave out, as arguments of run-golden.py: the register rows that decisions.md fixes, and the cases of
    both lists, which are put into a file in `work`."""
    quirks = []
    with open(f"{ROOT}/tests/contract/decisions.md", encoding="utf-8") as f:
        for row in re.finditer(r"^\| (H[^|]*) \| \*\*fix\*\*", f.read(), re.MULTILINE):
            quirks += row[1].split()
    ignored = os.path.join(work, "ignored")
    with open(ignored, "w", encoding="utf-8") as f:
        for part in ("skip", "later"):
            with open(f"{ROOT}/tests/golden-{part}.txt", encoding="utf-8") as lines:
                f.write(lines.read())
    return ["--ignore-list", ignored, "--ignore-quirks", ",".join(quirks)]


def ffprobe(url, limit):
    """The streams that ffprobe finds, none if it fails, and what it says about it."""
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_streams", url]
    done = subprocess.run(command, capture_output=True, timeout=limit)
    streams = json.loads(done.stdout or "{}").get("streams", []) if done.returncode == 0 else []
    return streams, done.stderr.decode("utf-8", "replace")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def raise_file_limit():
    """Thousands of sockets need more descriptors than the usual soft limit; children inherit it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536) if hard != resource.RLIM_INFINITY else 65536, hard))


def wait_for(what, limit, condition, pause=0.05):
    """The first true value of condition(), or a failure after `limit` seconds of a PC."""
    limit *= SLOW
    end = time.monotonic() + limit
    while True:
        value = condition()
        if value:
            return value
        require(time.monotonic() < end, f"{what}: not within {limit} s")
        time.sleep(pause)


# ---------------------------------------------------------------- /proc
def stat(pid):
    """Fields of /proc/PID/stat from the state on; None if the process is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
            return f.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def cpu_seconds(pid):
    """User and system time of a process, without its children."""
    fields = stat(pid)
    return (int(fields[11]) + int(fields[12])) / TICKS if fields else 0.0


def precise_cpu_seconds(pid):
    """As cpu_seconds, in nanosecond steps: run time of all threads from schedstat."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as f:
                total += int(f.read().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            pass
    return total / 1e9


def status_kib(pid, name):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
        for line in f:
            if line.startswith(name + ":"):
                return int(line.split()[1])
    return 0


def rss_kib(pid):
    return status_kib(pid, "VmRSS")


def threads(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def written_bytes(pid):
    """Bytes that a process caused to be sent to block devices."""
    with open(f"/proc/{pid}/io", encoding="ascii") as f:
        return int(next(line for line in f if line.startswith("write_bytes:")).split()[1])


def pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def children(pid):
    """Pairs of child process id and state letter."""
    found = []
    for child in pids():
        fields = stat(child)
        if fields and int(fields[1]) == pid:
            found.append((child, fields[0]))
    return found


def marked(marker):
    """Process ids of FFmpegs whose command line contains the marker."""
    found = []
    for pid in pids():
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                words = f.read().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if b"ffmpeg" in os.path.basename(words[0]) and any(marker.encode() in word for word in words):
            found.append(pid)
    return found


# ---------------------------------------------------------------- HTTP
def call(method, path, body=None, port=PORT, token=None, timeout=30):
    """Status and raw answer; a dict, list or str given as ("json", value) is sent as JSON."""
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout * SLOW)
    try:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if isinstance(body, tuple):
            headers["Content-Type"], body = "application/json", json.dumps(body[1])
        conn.request(method, path, body, headers)
        answer = conn.getresponse()
        return answer.status, answer.read()
    finally:
        conn.close()


def api(method, path, value=None, expect=200, port=PORT, timeout=30):
    """The decoded answer below /api/v3; any other status than expected is a failure."""
    status, answer = call(method, f"/api/v3/{path}", None if value is None else ("json", value), port, timeout=timeout)
    require(status == expect, f"{method} {path}: {status} {answer[:500]!r}, not {expect}")
    return json.loads(answer) if answer else None


def answers(port=PORT, timeout=30):
    try:
        return call("GET", "/ping", port=port, timeout=timeout)[0] == 200
    except OSError:
        return False


# ---------------------------------------------------------------- the daemon
class Daemon:
    """A daemon with state and data in a temporary directory; `with` stops it and removes the directory."""

    def __init__(self, env=None):
        self.work = tempfile.mkdtemp(prefix="rill-test-")
        self.port = free_port()
        self.proc = None
        # Marks its FFmpegs on their command lines.
        self.marker = os.path.basename(self.work)
        for name in ("db", "data"):
            os.mkdir(f"{self.work}/{name}")
        self.env = {
            "PATH": os.environ.get("PATH", ""), "HOME": self.work,
            "CORE_CONFIGFILE": f"{self.work}/config.json", "CORE_ADDRESS": f"127.0.0.1:{self.port}",
            "CORE_DB_DIR": f"{self.work}/db", "CORE_STORAGE_DISK_DIR": f"{self.work}/data",
            "CORE_STORAGE_MEMORY_AUTH_ENABLE": "false", "CORE_HOST_AUTO": "false", "CORE_UPDATE_CHECK": "false",
            # Not those of this machine, whatever a test asks for.
            "RILL_ADMIN_SOCKET": f"{self.work}/admin.sock", "RILL_BOARD_ROOT": f"{self.work}/board",
        }
        self.env.update(env or {})

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        try:
            if self.proc:
                self.stop()
        finally:
            shutil.rmtree(self.work, ignore_errors=True)

    @property
    def pid(self):
        return self.proc.pid

    def start(self, limit=20):
        with open(f"{self.work}/log", "ab") as log:
            self.proc = subprocess.Popen([binary()], cwd=self.work, env=self.env, stdin=subprocess.DEVNULL,
                                         stdout=log, stderr=log)
        wait_for("the daemon answers /ping", limit, self.answers, 0.002)

    def answers(self):
        require(self.proc.poll() is None, f"the daemon ended with {self.proc.returncode}:\n{self.log()}")
        return answers(self.port, timeout=2)

    def stop(self, limit=20):
        self.proc.send_signal(signal.SIGINT)
        try:
            require(self.proc.wait(limit * SLOW) == 0, f"the daemon ended with {self.proc.returncode}:\n{self.log()}")
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failure(f"the daemon did not stop within {limit} s:\n{self.log()}") from None
        finally:
            self.proc = None

    def kill(self):
        self.proc.kill()
        self.proc.wait()
        self.proc = None

    def log(self):
        with open(f"{self.work}/log", "rb") as f:
            return f.read()[-2000:].decode("utf-8", "replace")

    def call(self, method, path, body=None, timeout=30):
        return call(method, path, body, self.port, timeout=timeout)

    def api(self, method, path, value=None, expect=200):
        return api(method, path, value, expect, self.port)

    def state(self, name):
        return self.api("GET", f"process/{name}/state")

    def wait_running(self, name, limit=30):
        return wait_for(f"{name} runs", limit, lambda: self.state(name)["exec"] == "running", 0.05)

    def ffmpegs(self):
        return marked(self.marker)

    def process(self, name, **more):
        """A small endless process that carries the marker."""
        config = {
            "id": name,
            "input": [{"id": "in", "address": "testsrc2=size=64x36:rate=5", "options": ["-f", "lavfi", "-re"]}],
            "output": [{"id": "out", "address": "-", "options": ["-metadata", f"comment={self.marker}", "-f", "null"]}],
        }
        config.update(more)
        return config


# ---------------------------------------------------------------- Python packages
def python_with(*requirements):
    """A Python that has the packages, pinned as `name==version`; they stay in the target directory. One at a time."""
    target = os.path.abspath(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")))
    os.makedirs(target, exist_ok=True)
    with open(os.path.join(target, "python.lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return environment(os.path.join(target, "python"), requirements)


def environment(venv, requirements):
    python = os.path.join(venv, "bin", "python")
    if not os.access(python, os.X_OK):
        say("making a virtual environment")
        command = 'cd "$0" && . scripts/lib.sh && { python3 -c "import ensurepip" 2>/dev/null || apt_install python3-venv; }'
        require(subprocess.run(["bash", "-c", command, ROOT]).returncode == 0, "there is no python3-venv")
        done = subprocess.run([sys.executable, "-m", "venv", venv])
        require(done.returncode == 0, "the virtual environment was not made")
    check = "import sys, importlib.metadata as m\nfor r in sys.argv[1:]:\n n, v = r.split('==')\n assert m.version(n) == v"
    if subprocess.run([python, "-c", check, *requirements], stderr=subprocess.DEVNULL).returncode != 0:
        say(f"installing {' '.join(requirements)}")
        pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile", *requirements]
        require(subprocess.run(pip).returncode == 0, "the packages were not installed")
    return python
