"""Whoever had the signing page's port at another time, and the person's browser there once, has nothing of it later."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Page

from keys.test_passkeys_in_chromium import Lab, lab, origin_of

__all__ = ["lab"]

pytestmark = pytest.mark.xdist_group("chromium")

PLACED = b"""<!doctype html><script>
async function again() { await navigator.serviceWorker.register("worker.js", {updateViaCache: "all"}).catch(() => 0); }
again().then(() => navigator.serviceWorker.ready).then(() => { document.title = "ready"; setInterval(again, 5); });
</script>"""
WORKER = b"""
const page = '<h1>Approve something harmless</h1><p id="status">Read all of it</p><div id="shown">something harmless</div>';
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  if (event.request.mode === "navigate" && new URL(event.request.url).pathname !== "/")
    event.respondWith(new Response(page, {headers: {"Content-Type": "text/html"}}));
});
"""


class Squatter(BaseHTTPRequestHandler):
    """What another user of the machine serves while no command waits for a passkey."""

    def do_GET(self) -> None:
        body, kind = (WORKER, "text/javascript") if self.path == "/worker.js" else (PLACED, "text/html")
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Cache-Control", "public, max-age=86400")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *said: object) -> None:
        pass


@contextmanager
def squatting(port: int) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", port), Squatter)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_service_worker_that_somebody_left_at_the_pages_origin_does_not_answer_in_its_place(lab: Lab) -> None:
    """The tab that placed it is still open, and places it again and again from what the browser has in its cache."""
    person: Any = lab.person
    person.profile = person.browser.new_context()
    try:
        left: Page = person.profile.new_page()
        with squatting(int(origin_of(lab).rpartition(":")[2])):
            left.goto(f"{origin_of(lab)}/")
            left.wait_for_function("document.title === 'ready'")
        left.goto(f"{origin_of(lab)}/anything")
        assert left.inner_text("#shown") == "something harmless", "it answers although nobody listens any more"
        left.go_back()
        asked = lab.ask()
        approval = lab.world.approve(asked, "bob")
        assert asked.record_digest in person.shown
        assert approval.record_digest in person.shown
        assert person.said.startswith("Done")
    finally:
        person.profile.close()
