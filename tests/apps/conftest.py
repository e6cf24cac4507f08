"""What the app tests share: a running shop, and a browser."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from deployment import BINARY, Deployment
from selenium import webdriver
from selenium.webdriver.chrome.service import Service


@pytest.fixture(scope="module")
def shop() -> Iterator[Deployment]:
    """A shop for the tests of one file."""
    assert BINARY.exists(), f"{BINARY} is missing: cargo build --release, or set SIDESTREAM to another binary"
    with Deployment() as deployment:
        yield deployment


@pytest.fixture
def browser(tmp_path) -> Iterator[webdriver.Chrome]:
    """A fresh Chromium without a window."""
    with chromium(tmp_path / "profile") as driver:
        yield driver


@contextmanager
def chromium(profile: Path) -> Iterator[webdriver.Chrome]:
    """A Chromium without a window, with a folder of its own."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    flags = "headless=new no-sandbox disable-gpu disable-quic no-first-run disable-background-networking"
    flags += " disable-component-update disable-sync ignore-certificate-errors disable-dev-shm-usage"
    for flag in [*flags.split(), "window-size=900,700", f"user-data-dir={profile}"]:
        options.add_argument(f"--{flag}")
    driver = webdriver.Chrome(options, Service(executable_path="/usr/bin/chromedriver"))
    driver.set_page_load_timeout(60)
    try:
        yield driver
    finally:
        driver.quit()
