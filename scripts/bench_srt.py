"""The SRT lines of scripts/bench: forty requesters of one stream beside srt-live-transmit, and idle peers."""

import contextlib
import os
import socket
import subprocess
import tempfile
import threading
import time

from lib import ROOT, Daemon, free_port, precise_cpu_seconds, require, rss_kib, wait_for

VIEWERS = 40
IDLE_PEERS = 20
MBIT = 4
CHUNK = 7 * 188
# Enough processes of one viewer each that the steps of their clocks do not matter.
REFERENCES = 4
ROUNDS, SECONDS = 3, 6
IDLE_SECONDS = 10


class Source(threading.Thread):
    """Sends a transport stream over and over, in datagrams at its rate, to several ports."""

    def __init__(self, file, ports):
        super().__init__(daemon=True)
        self.file, self.ports, self.stopping = file, ports, False

    def run(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            begin, sent = time.monotonic(), 0
            while not self.stopping:
                with open(self.file, "rb") as source:
                    while (chunk := source.read(CHUNK)) and not self.stopping:
                        ahead = sent * 8 / (MBIT * 1e6) - (time.monotonic() - begin)
                        if ahead > 0:
                            time.sleep(ahead)
                        for port in self.ports:
                            out.sendto(chunk, ("127.0.0.1", port))
                        sent += len(chunk)


def recorded(work):
    path = f"{work}/source.ts"
    done = subprocess.run([
        "ffmpeg", "-hide_banner", "-loglevel", "error", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25", "-t", "10",
        "-c:v", "libx264", "-preset", "ultrafast", "-g", "50", "-b:v", f"{MBIT * 900}k", "-muxrate", f"{MBIT}M", "-f",
        "mpegts", path])
    require(done.returncode == 0, "FFmpeg did not make the stream")
    return path


@contextlib.contextmanager
def running(commands, stdin=subprocess.DEVNULL):
    procs = [subprocess.Popen(command, stdin=stdin, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
             for command in commands]
    try:
        yield procs
    finally:
        for proc in procs:
            proc.kill()
        for proc in procs:
            proc.wait()


def transmit(source, target):
    return ["srt-live-transmit", "-q", "-chunk:1316", source, target]


def caller(port, stream_id=""):
    return f"srt://127.0.0.1:{port}?mode=caller&latency=120" + (f"&streamid={stream_id}" if stream_id else "")


def need():
    done = subprocess.run(["bash", "-c", 'cd "$0" && . scripts/lib.sh && need ffmpeg=ffmpeg srt-live-transmit=srt-tools',
                           ROOT])
    require(done.returncode == 0, "ffmpeg and srt-live-transmit are needed")


def subscribers(daemon):
    return len(daemon.api("GET", "srt")["subscriber"].get("cam", []))


def requesters(table):
    port, feed = free_port(), free_port()
    inputs, outputs = [free_port() for _ in range(REFERENCES)], [free_port() for _ in range(REFERENCES)]
    env = {"CORE_SRT_ENABLE": "true", "CORE_SRT_ADDRESS": f"127.0.0.1:{port}"}
    with tempfile.TemporaryDirectory() as work, Daemon(env) as daemon, contextlib.ExitStack() as stack:
        source = Source(recorded(work), [feed, *inputs])
        stack.callback(setattr, source, "stopping", True)
        relays = stack.enter_context(running(
            transmit(f"udp://127.0.0.1:{into}", f"srt://127.0.0.1:{out}?mode=listener&latency=120")
            for into, out in zip(inputs, outputs)))
        stack.enter_context(running([transmit(f"udp://127.0.0.1:{feed}", caller(port, "cam,mode:publish"))]))
        source.start()
        wait_for("the stream is published", 20, lambda: "cam" in daemon.api("GET", "srt")["publisher"], 0.1)
        stack.enter_context(running(transmit(caller(out), "file://con") for out in outputs))
        stack.enter_context(running([transmit(caller(port, "cam"), "file://con")] * VIEWERS))
        wait_for(f"{VIEWERS} request it", 30, lambda: subscribers(daemon) == VIEWERS, 0.2)
        time.sleep(3)
        ours, theirs = [], []
        for _ in range(ROUNDS):
            pids = [daemon.pid, *(proc.pid for proc in relays)]
            before = [precise_cpu_seconds(pid) for pid in pids]
            time.sleep(SECONDS)
            spent = [precise_cpu_seconds(pid) - start for pid, start in zip(pids, before)]
            ours.append(spent[0] / VIEWERS / SECONDS * 100)
            theirs.append(sum(spent[1:]) / REFERENCES / SECONDS * 100)
        require(subscribers(daemon) == VIEWERS, "requesters were lost")
        stats = [it["stats"] for it in daemon.api("GET", "srt")["connections"].values()]
        least = min(it["sent_unique_bytes"] for it in stats if it["sent_pkt"])
        require(least * 8 > MBIT * 1e6 * SECONDS * ROUNDS * 0.9, f"a requester got only {least} bytes")
        require(min(theirs) > 0.05, f"srt-live-transmit carried nothing: {theirs}")
    table.add(f"SRT requester of {MBIT} Mbit/s, {VIEWERS} of them", min(ours), 1, "% of a core", min(theirs),
              "srt-live-transmit")


def idle_peers(table):
    port = free_port()
    with Daemon({"CORE_SRT_ENABLE": "true", "CORE_SRT_ADDRESS": f"127.0.0.1:{port}"}) as daemon:
        # Nothing ever comes out of the pipe.
        pipe, end = os.pipe()
        try:
            # It brings in the pages of code that one peer needs as much as twenty.
            with running([transmit("file://con", caller(port, "first,mode:publish"))], pipe):
                wait_for("the first publishes", 20, lambda: daemon.api("GET", "srt")["publisher"], 0.1)
            wait_for("the first has left", 20, lambda: not daemon.api("GET", "srt")["publisher"], 0.1)
            before = rss_kib(daemon.pid)
            commands = [transmit("file://con", caller(port, f"idle{number},mode:publish")) for number in range(IDLE_PEERS)]
            with running(commands, pipe):
                wait_for("all publish", 20, lambda: len(daemon.api("GET", "srt")["publisher"]) == IDLE_PEERS, 0.2)
                time.sleep(2)
                spent = precise_cpu_seconds(daemon.pid)
                time.sleep(IDLE_SECONDS)
                spent = precise_cpu_seconds(daemon.pid) - spent
                require(len(daemon.api("GET", "srt")["publisher"]) == IDLE_PEERS, "idle peers were lost")
                after = rss_kib(daemon.pid)
        finally:
            os.close(pipe)
            os.close(end)
    table.add(f"{IDLE_PEERS} idle SRT peers", spent / IDLE_SECONDS * 100, 1, "% of a core")
    table.add(f"memory of {IDLE_PEERS} idle SRT peers", after - before, 1024, "KiB")


def srt(table):
    need()
    requesters(table)
    idle_peers(table)
