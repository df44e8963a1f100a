"""Make the pictures of the README anew: the figure, and what a browser shows of the page.

    python scripts/make_pictures.py PATH_OF_MINILM

PATH_OF_MINILM is a folder with sentence-transformers/all-MiniLM-L6-v2. Needs selenium (the extra
`test`), Chromium and its driver; what it writes is in scripts/pictures/.
"""

from __future__ import annotations

import argparse
import base64
import shutil
import tempfile
from pathlib import Path

from selenium import webdriver

from numpy_bert import BertModel, BertTokenizer, explain

PICTURES = Path(__file__).parent / "pictures"
SENTENCE = "this is a test sentence"
LONGER = "The bank by the river was older than the bank that lent us the money."
WIDTH = 1400
# The panels that the screenshot shows.
FIRST, LAST = "dropout", "attention"


def main() -> None:
    """Write the figure and the screenshot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("minilm", metavar="PATH_OF_MINILM")
    folder = parser.parse_args().minilm
    model, tokenizer = BertModel.from_pretrained(folder), BertTokenizer.from_pretrained(folder)
    PICTURES.mkdir(exist_ok=True)
    reading = explain.read(SENTENCE, model=model, tokenizer=tokenizer)
    explain.figure(reading).save(PICTURES / "embedding.svg", force=True)
    longer = explain.read(LONGER, model=model, tokenizer=tokenizer, token=2, name="MiniLM")
    (PICTURES / "page.png").write_bytes(screenshot(explain.page(longer)))
    for path in sorted(PICTURES.iterdir()):
        print(f"{path.name}: {path.stat().st_size:,} bytes")


def screenshot(page: str) -> bytes:
    """Return what Chromium shows of the page from one panel to another, as PNG."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        path.write_text(page, "utf-8")
        driver = webdriver.Chrome(options=options, service=service)
        try:
            size = {"width": WIDTH, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            driver.get(path.as_uri())
            top, bottom = driver.execute_script(
                "const box = id => document.getElementById(id).getBoundingClientRect();"
                "return [box(arguments[0]).top, box(arguments[1]).bottom]",
                FIRST,
                LAST,
            )
            clip = {"x": 0, "y": top, "width": WIDTH, "height": bottom - top, "scale": 1}
            shot = driver.execute_cdp_cmd(
                "Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip}
            )
        finally:
            driver.quit()
    return base64.b64decode(shot["data"])


if __name__ == "__main__":
    main()
