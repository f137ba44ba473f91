#!/usr/bin/env python3
"""A worker that does what its recording says, so that tests can have crashes, hangs and failures when they want them.

The recording is a text: `say WORDS`, `slow SECONDS`, `crash N` (dies in the first N attempts), `fail KIND`, `hang` (ignores
orders to stop). A voice is enrolled from recordings that say something. The protocol is crates/sori-server/src/work.rs.
"""
import json
import os
import queue
import sys
import threading
import time

orders = queue.Queue()
cancelled = set()


def report(name, **fields):
    sys.stdout.write(json.dumps({"report": name, **fields}) + "\n")
    sys.stdout.flush()


def read():
    for line in sys.stdin:
        order = json.loads(line)
        if order["order"] == "cancel":
            cancelled.add(order["job"])
        else:
            orders.put(order)
    os._exit(0)


def keep(folder, name, text):
    with open(os.path.join(folder, name), "w") as out:
        out.write(text)


def analyze(order):
    job, folder = order["job"], order["folder"]
    with open(order["media"]) as media:
        verb, _, rest = media.read().strip().partition(" ")
    report("started", job=job, duration=2.0)
    if verb == "crash" and order["attempt"] <= int(rest):
        os._exit(9)
    if verb == "fail":
        report("failed", job=job, kind=rest, message="as the recording says")
        return
    end = time.monotonic() + (float(rest) if verb == "slow" else 0)
    step = 0
    while verb in ("slow", "hang") and (verb == "hang" or time.monotonic() < end):
        if verb == "slow" and job in cancelled:
            report("cancelled", job=job)
            return
        step = min(step + 3, 99)
        report("progress", job=job, stage="transcribe", done_seconds=step / 50, duration=2.0, percent=step)
        time.sleep(0.02)
    text = rest if verb == "say" else "done"
    words = [{"word": w, "start": i * 0.5, "end": i * 0.5 + 0.4, "score": 0.9, "time_source": "attention"} for i, w in enumerate(text.split())]
    segment = {"id": 0, "start_time": 0.0, "end_time": 2.0, "text": text, "words": words}
    report("segment", job=job, id=0, start=0.0, end=2.0, text=text)
    document = {"text": text, "language": "en", "duration": 2.0, "segments": [segment], "rerun": order["rerun"]}
    document["voices"] = [voice["name"] for voice in order["profiles"]]
    document["samples"] = [voice["name"] for voice in order.get("references", [])]
    keep(folder, "document.json", json.dumps(document))
    keep(folder, "page.html", "<!doctype html><title>page</title>")
    keep(folder, "heard.sori", "heard")
    report("done", job=job, partial=False, duration=2.0, stages=[{"stage": "vad", "seconds": 0.1}], warnings=[])


def enroll(order):
    job = order["job"]
    report("started", job=job, duration=None)
    for path in order["media"]:
        with open(path) as media:
            verb, _, rest = media.read().strip().partition(" ")
        if verb == "crash" and order["attempt"] <= int(rest):
            os._exit(9)
        if verb == "slow":
            time.sleep(float(rest))
        if verb == "fail":
            report("failed", job=job, kind=rest, message=f"{path}: as the recording says")
            return
    count = len(order["media"])
    model = {"name": "fake", "checksum": "0"}
    profile = {"name": order["name"], "model": model, "centroid": [1.0, 0.5], "spread": 0.0, "seconds": 10.0 * count, "clips": count}
    keep(order["folder"], "profile.json", json.dumps(profile))
    report("done", job=job, partial=False, duration=12.0, stages=[], warnings=[])


threading.Thread(target=read, daemon=True).start()
report("ready", models={"transcribe": "fake"})
while True:
    order = orders.get()
    {"analyze": analyze, "enroll": enroll}[order["order"]](order)
