"""A real Chromium with a virtual authenticator (CDP `WebAuthn`), driven by Playwright: whoever the passkey's holder is."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from support.https import Certificate, make_certificate

CHROMIUM = "/usr/bin/chromium"
ELSEWHERE = "sign.test"
"""The host of another operator, which is this machine."""


@dataclass
class Person:
    """Who sits at the browser: their authenticator, what they press, and what they saw. `profile` is of a browser in use."""

    browser: Browser
    profile: BrowserContext | None = None
    verifies: bool = True
    credentials: list[dict[str, object]] = field(default_factory=list)
    press: str = "sign"
    before: Callable[[Page], None] = lambda page: None
    after: Callable[[Page], None] = lambda page: None
    urls: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    buttons: list[str] = field(default_factory=list)
    shown: str = ""
    said: str = ""

    def open(self, url: str) -> None:
        """Open the page at `url`, press, and read what it says; the authenticator keeps the passkeys that it makes."""
        self.urls.append(url)
        context = self.profile or self.browser.new_context()
        page = context.new_page()
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("dialog", lambda dialog: (self.ran.append(dialog.message), dialog.dismiss()))
        device = context.new_cdp_session(page)
        device.send("WebAuthn.enable")
        options = {
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": self.verifies,
            "isUserVerified": self.verifies,
            "automaticPresenceSimulation": True,
        }
        found = device.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"]
        for credential in self.credentials:
            device.send("WebAuthn.addCredential", {"authenticatorId": found, "credential": credential})
        self.before(page)
        page.goto(url)
        page.locator("#status", has_text=re.compile("Read all|Refused")).wait_for()
        self.shown = page.inner_text("#shown")
        self.buttons.append(page.inner_text("#sign"))
        self.after(page)
        if self.press == "close":
            page.goto("about:blank")
            return
        if page.is_visible("#buttons"):
            page.click(f"#{self.press}")
            page.wait_for_selector("#status.yes, #status.no")
        self.said = page.inner_text("#status")
        self.credentials = device.send("WebAuthn.getCredentials", {"authenticatorId": found})["credentials"]
        if context is not self.profile:
            context.close()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """What the host of another operator shows, and the browser believes as if an authority had signed it."""
    return make_certificate(ELSEWHERE, tmp_path_factory.mktemp("https"))


@pytest.fixture(scope="session")
def chromium(certificate: Certificate) -> Iterator[Browser]:
    subprocess.run([CHROMIUM, "--version"], check=True, capture_output=True)  # bootstrap installs it
    with sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1",
                f"--ignore-certificate-errors-spki-list={certificate.spki_sha256}",
            ],
        )
        yield browser
        browser.close()


@pytest.fixture
def person(chromium: Browser) -> Person:
    return Person(chromium)


@pytest.fixture
def origin() -> str:
    """A page on a port that is free, so that suites can run beside each other."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://localhost:{probe.getsockname()[1]}"
