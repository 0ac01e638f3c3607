"""The npm clients of Connect and gRPC-Web on a page in Chromium, of another origin than the service."""

import asyncio
import json
import os
import subprocess
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from report import DEV

from tests.browser import browser

HERE = Path(__file__).parent
DESCRIPTORS = HERE.parents[2] / "gen" / "descriptors.pb"


class Files(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def bundle(folder):
    """Makes a page of what a program for browsers would be made of."""
    program = Path(os.environ["NODE_PATH"], ".bin", "esbuild")
    words = [HERE / "page.js", "--bundle", "--platform=browser", f"--outfile={folder}/page.js"]
    subprocess.run([program, *words, "--log-level=warning"], check=True)
    (folder / "index.html").write_text('<!doctype html><script src="page.js"></script>')
    (folder / "descriptors.pb").write_bytes(DESCRIPTORS.read_bytes())


async def reports(port):
    async with browser() as chromium:
        context = await chromium.new_context(ignore_https_errors=True)
        for host, function in (("127.0.0.1", "calls"), ("localhost", "refusals")):
            page = await context.new_page()
            await page.goto(f"http://{host}:{port}/")
            for report in await page.evaluate(f"dev => window.{function}(dev)", DEV):
                print(json.dumps(report), flush=True)


with tempfile.TemporaryDirectory() as folder:
    bundle(Path(folder))
    port = urlsplit(DEV["origin"]).port
    serve = partial(Files, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", port), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        asyncio.run(reports(port))
        server.shutdown()
