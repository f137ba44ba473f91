"""Takes a server's callbacks and verifies them with the library of Standard Webhooks: callback_client.py BASE_URL FILE SECRET...
Each secret alone has to do, as while one is replaced by another. Ends with 1 and a message on failure."""

import queue
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests
from standardwebhooks import Webhook, WebhookVerificationError


def check(holds, what):
    if not holds:
        sys.exit(f"callback_client: {what}")


class Receiver(BaseHTTPRequestHandler):
    got = queue.Queue()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.got.put((body, dict(self.headers)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def last(form):
    """The callback that tells the end; progress may come before."""
    while True:
        body, headers = Receiver.got.get(timeout=120)
        if b'"processing"' not in body and b'"job.progress"' not in body:
            check(headers["content-type"].startswith("application/json"), f"{form}: {headers}")
            return body, headers


def main(base, path, *secrets):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hook = f"http://127.0.0.1:{server.server_port}/hook"
    for form in ["plain", "standard"]:
        with open(path, "rb") as file:
            fields = {"callback_url": hook, "callback_form": form}
            job = requests.post(f"{base}/v1/jobs", data=fields, files={"file": file})
        check(job.status_code == 202, f"{job.status_code}: {job.text}")
        body, headers = last(form)
        for secret in secrets:
            told = Webhook(secret).verify(body, headers)
        said = told if form == "plain" else told["data"]
        check(said["job_id"] == job.json()["id"], f"{form}: {told}")
        check(said["status"] == "completed", f"{form}: {told}")
        check(form == "plain" or told["type"] == "job.completed", f"{form}: {told}")
        text = requests.get(f"{base}/v1/jobs/{said['job_id']}/result").json()["text"]
        check(said["result"]["text"] == text, f"{form}: {told}")

        lies = {
            "a changed body": (body.replace(b"completed", b"Completed"), headers),
            "another's id": (body, {**headers, "webhook-id": "another"}),
            "another's time": (body, {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)}),
        }
        for lie, (body, headers) in lies.items():
            try:
                Webhook(secrets[0]).verify(body, headers)
            except WebhookVerificationError:
                continue
            sys.exit(f"callback_client: {form}: {lie} is taken")
    print("callback_client: ok")


if __name__ == "__main__":
    main(*sys.argv[1:])
