"""Many clients at once: each asks for a picture, follows it, fetches it and looks whether it is its own.

Arguments: `load` or `pictures`, URL, number of clients, seconds, process id of the server, steps of `pictures`, which draws
one picture and tells how long that took. Prints one JSON object.
"""

import asyncio
import json
import struct
import sys
import time
import urllib.request

MODE, URL, STEPS = sys.argv[1], sys.argv[2], int(sys.argv[6])
N_CLIENTS, SECONDS, PID = int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5])
HOST, PORT = URL.removeprefix("http://").rstrip("/").split(":")
found = {"pictures": 0, "lost": 0, "mixed_up": 0, "refused": 0, "errors": []}


async def ask(method, path, body=b"", headers=()):
    """One request on a connection of its own: status and body."""
    reader, writer = await asyncio.open_connection(HOST, int(PORT))
    head = f"{method} {path} HTTP/1.1\r\nhost: {HOST}:{PORT}\r\nconnection: close\r\ncontent-length: {len(body)}\r\n"
    writer.write((head + "".join(f"{k}: {v}\r\n" for k, v in headers) + "\r\n").encode() + body)
    await writer.drain()
    answer = await reader.read()
    writer.close()
    head, _, rest = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    if any(line.lower() == "transfer-encoding: chunked" for line in lines):
        whole = b""
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            n = int(size, 16)
            whole, rest = whole + rest[:n], rest[n + 2 :]
        rest = whole
    return int(lines[0].split()[1]), rest


def settings(png):
    """The text `smelt` of a PNG."""
    at = 8
    while at < len(png):
        (n,) = struct.unpack(">I", png[at : at + 4])
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + n]
        if kind == b"tEXt" and data.startswith(b"smelt\0"):
            return json.loads(data[6:])
        if kind == b"iTXt" and data.startswith(b"smelt\0"):
            return json.loads(data.split(b"\0", 5)[-1])
        at += 12 + n
    return {}


async def client(idx, until):
    name = [("smelt-client", f"load {idx}")]
    turn = 0
    while time.monotonic() < until:
        seed = idx * 1_000_000 + turn
        turn += 1
        body = json.dumps({"prompt": "red heart", "steps": 1, "seed": seed, "scheduler": "euler"}).encode()
        try:
            status, answer = await ask("POST", "/smelt/v1/jobs", body, name)
            if status == 429:
                found["refused"] += 1
                await asyncio.sleep(1)
                continue
            job = json.loads(answer)["id"]
            await ask("GET", f"/smelt/v1/jobs/{job}/events")
            status = json.loads((await ask("GET", f"/smelt/v1/jobs/{job}"))[1])
            if status["phase"] != "done" or len(status["pictures"]) != 1:
                found["lost"] += 1
                continue
            code, png = await ask("GET", status["pictures"][0]["url"])
            if code != 200:
                found["lost"] += 1
            elif settings(png).get("seed") != seed:
                found["mixed_up"] += 1
            else:
                found["pictures"] += 1
        except Exception as error:
            found["lost"] += 1
            if len(found["errors"]) < 5:
                found["errors"].append(repr(error))


async def probe(until, times):
    """Calls that draw nothing, for how long they take while others draw."""
    paths = ["/health", "/smelt/v1/models", "/smelt/v1/capabilities", "/smelt/v1/pictures?limit=1"]
    turn = 0
    while time.monotonic() < until:
        begin = time.monotonic()
        await asyncio.to_thread(lambda: urllib.request.urlopen(URL.rstrip("/") + paths[turn % len(paths)]).read())
        times.append(time.monotonic() - begin)
        turn += 1
        await asyncio.sleep(0.1)


async def watch(begin, until, resident):
    while time.monotonic() < until:
        for line in open(f"/proc/{PID}/status"):
            if line.startswith("VmRSS"):
                resident.append((time.monotonic() - begin, int(line.split()[1]) * 1024))
        await asyncio.sleep(1)


async def main():
    begin = time.monotonic()
    until = begin + SECONDS
    times, resident = [], []
    await asyncio.gather(probe(until, times), watch(begin, until, resident), *(client(i, until) for i in range(N_CLIENTS)))
    times.sort()
    late = [n for at, n in resident if at > 60] or [n for _, n in resident]
    print(json.dumps({
        **found,
        "clients": N_CLIENTS,
        "seconds": SECONDS,
        "probes": len(times),
        "p50_ms": 1000 * times[len(times) // 2],
        "p99_ms": 1000 * times[int(len(times) * 0.99)],
        "resident_min": min(late),
        "resident_max": max(late),
    }))


async def one():
    """A picture, from the request to the file."""
    body = json.dumps({"prompt": "red heart", "steps": STEPS, "seed": 7, "scheduler": "euler"}).encode()
    begin = time.monotonic()
    job = json.loads((await ask("POST", "/smelt/v1/jobs", body))[1])["id"]
    await ask("GET", f"/smelt/v1/jobs/{job}/events")
    status = json.loads((await ask("GET", f"/smelt/v1/jobs/{job}"))[1])
    await ask("GET", status["pictures"][0]["url"])
    print(json.dumps({"picture_s": time.monotonic() - begin}))


asyncio.run(main() if MODE == "load" else one())
