"""Uploads in pieces with the official tus client: tus_client.py BASE_URL FILE [KEY]. Ends with 1 and a message on failure."""

import os
import sys
import time

import requests
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError


def check(holds, what):
    if not holds:
        sys.exit(f"tus_client: {what}")


def main(base, path, key=None):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    client = TusClient(f"{base}/v1/uploads", headers=headers)
    size = os.path.getsize(path)
    piece = max(size // 5, 1)
    metadata = {"filename": os.path.basename(path)}

    first = client.uploader(path, chunk_size=piece, metadata=metadata, upload_checksum=True)
    first.upload(stop_at=min(2 * piece, size))
    # Another process goes on where the first one stopped.
    second = client.uploader(path, chunk_size=piece, url=first.url)
    check(second.offset == first.offset > 0, f"the upload is at {second.offset}, not {first.offset}")
    second.upload()
    check(second.offset == size, f"{second.offset} of {size} bytes came")

    job = requests.post(f"{base}/v1/jobs", json={"upload": first.url.rsplit("/", 1)[1]}, headers=headers)
    check(job.status_code == 202, f"{job.status_code}: {job.text}")
    check(job.json()["name"] == metadata["filename"], f"the job is called {job.json()['name']!r}")
    place = f"{base}/v1/jobs/{job.json()['id']}"
    for _ in range(1200):
        state = requests.get(place, headers=headers).json()["state"]
        if state in ("done", "partial", "failed", "cancelled"):
            break
        time.sleep(0.25)
    check(state == "done", f"the job is {state}")

    removed = client.uploader(path, chunk_size=piece)
    removed.upload_chunk()
    tus = {"Tus-Resumable": "1.0.0", **headers}
    check(requests.delete(removed.url, headers=tus).status_code == 204, "it is not removed")
    try:
        client.uploader(path, url=removed.url)
    except TusCommunicationError as error:
        check(error.status_code == 404, f"{error.status_code} for what is removed")
    else:
        sys.exit("tus_client: what is removed is still there")
    print("tus_client: ok")


if __name__ == "__main__":
    main(*sys.argv[1:])
