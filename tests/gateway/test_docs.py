"""The page at /docs in a real browser, in front of the whole service."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import httpx
import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Locator, Page, Route, expect

import gateway.docs
from gateway.docs import static_files
from gateway.openapi.constraints import LINES, NOT_BLANK, SEGMENT, TEXT
from gateway.openapi.examples import RESELLER
from tests.browser import browser
from tests.gateway.openapi_document import DOCUMENT
from tests.service import Service


@dataclass
class Docs:
    """The page, and what the browser did for it."""

    page: Page
    service: Service
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    async def open(self, verb: str, path: str) -> Locator:
        """Opens the page at an operation, as its link does, ready to be tried out."""
        operation = DOCUMENT["paths"][path][verb]
        link = f"{operation['tags'][0]}/{operation['operationId']}"
        await self.page.goto(f"{self.service.rest}/docs#/{link}")
        block = self.page.locator(
            f".opblock-{verb}", has=self.page.locator(f'[data-path="{path}"]')
        )
        await block.get_by_role("button", name="Try it out").click()
        return block


@pytest_asyncio.fixture
async def docs(service: Service) -> AsyncIterator[Docs]:
    async with browser() as chromium:
        page = await chromium.new_page()
        opened = Docs(page, service)
        page.on("console", lambda said: opened.complaints.append(said.text))
        page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        page.on("requestfailed", lambda request: opened.complaints.append(request.url))
        page.on("request", lambda request: opened.requests.append(request.url))
        yield opened
    assert opened.complaints == []
    strangers = [
        url for url in opened.requests if not url.startswith((f"{service.rest}/", "data:"))
    ]
    assert strangers == []


async def test_the_page_shows_every_operation(docs: Docs) -> None:
    await docs.page.goto(f"{docs.service.rest}/docs")
    shown = docs.page.locator(".opblock-summary-path")
    paths = [path for path, item in DOCUMENT["paths"].items() for _ in item]
    await expect(shown).to_have_count(len(paths))
    found = [await each.get_attribute("data-path") for each in await shown.all()]
    assert sorted(path or "" for path in found) == sorted(paths)
    await expect(docs.page.get_by_role("button", name="Authorize").first).to_be_visible()


async def test_a_call_goes_out_to_the_gateway(docs: Docs) -> None:
    block = await docs.open("get", "/endpoints")
    async with docs.page.expect_response(f"{docs.service.rest}/endpoints") as answered:
        await block.get_by_role("button", name="Execute").click()
    answer = await answered.value
    assert answer.status == 200
    endpoints = (await answer.json())["endpoints"]
    assert {each["id"] for each in endpoints} == {"billing", "operation", "iam", "endpoint"}
    body = block.locator(".live-responses-table .highlight-code")
    await expect(body).to_contain_text(endpoints[0]["address"])


async def test_a_long_answer_is_shown_without_colours(docs: Docs) -> None:
    """Of a page of a thousand rows they would keep the browser busy for half a minute."""
    block = await docs.open("get", "/endpoints")
    parts = block.locator(".live-responses-table .highlight-code").first.locator("span")
    for rows, coloured in ((10, True), (1000, False)):
        endpoints = [{"id": f"endpoint {number}", "address": "a" * 400} for number in range(rows)]
        await docs.page.route("**/endpoints", partial(fulfil, {"endpoints": endpoints}))
        await block.get_by_role("button", name="Execute").click()
        await expect(block.locator(".live-responses-table")).to_contain_text(f"endpoint {rows - 1}")
        assert (await parts.count() > 0) is coloured
        await docs.page.unroute("**/endpoints")


async def fulfil(body: object, route: Route) -> None:
    await route.fulfill(json=body)


async def test_a_person_authorizes_and_invites(docs: Docs) -> None:
    invite = "/billing/v1/customers:invite"
    block = await docs.open("post", invite)
    await docs.page.locator(".auth-wrapper .authorize").first.click()
    dialog = docs.page.locator(".dialog-ux")
    await dialog.locator("input").fill(docs.service.token)
    await dialog.get_by_role("button", name="Authorize").click()
    await dialog.get_by_role("button", name="Close").first.click()
    await block.locator("textarea").fill(json.dumps(docs.service.invitation()))
    async with docs.page.expect_response(f"{docs.service.rest}{invite}") as answered:
        await block.get_by_role("button", name="Execute").click()
    answer = await answered.value
    assert answer.status == 200
    begun = await answer.json()
    await expect(block.locator(".live-responses-table")).to_contain_text(begun["id"])
    assert docs.service.finished(begun["id"])["response"]["id"] == begun["metadata"]["customerId"]


async def test_a_link_brings_a_token_that_lasts_as_long_as_the_tab(docs: Docs) -> None:
    service, page = docs.service, docs.page
    await page.emulate_media(color_scheme="dark")
    await page.goto(f"{service.rest}/docs#token={service.token}&reseller={service.resellerId}")
    locked = page.locator(".auth-wrapper .authorize.locked")
    await expect(locked).to_have_count(1)
    assert page.url == f"{service.rest}/docs"
    await expect(page.locator("html.dark-mode")).to_have_count(1)
    await page.reload()
    await expect(locked).to_have_count(1)
    await page.goto("about:blank")  # else the link to an operation is followed on the page as it is
    block = await docs.open("get", "/v1/resellers/{resellersId}/customers")
    await expect(block.locator("input").first).to_have_value(service.resellerId)
    # A part of the path is held against its pattern.
    async with page.expect_response(lambda answer: "/customers" in answer.url) as listed:
        await block.get_by_role("button", name="Execute").click()
    answered = await listed.value
    assert answered.status == 200
    await answered.finished()  # else it is broken off
    await page.goto("about:blank")
    block = await docs.open("get", "/v1/operations")
    async with page.expect_response(lambda answer: "/v1/operations" in answer.url) as answer:
        await block.get_by_role("button", name="Execute").click()
    assert (await answer.value).status == 200
    # Logged out, nothing is left of it.
    await locked.click()
    await page.locator(".dialog-ux").get_by_role("button", name="Logout").click()
    assert await page.evaluate("sessionStorage.length") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_nothing_serious_keeps_people_from_using_the_page(
    docs: Docs, scheme: Literal["light", "dark"]
) -> None:
    """Operations, some tried out, and the dialog before them: axe finds nothing serious."""
    service, page = docs.service, docs.page
    await page.emulate_media(color_scheme=scheme)
    await page.goto(f"{service.rest}/docs#token={service.token}&reseller={service.resellerId}")
    await expect(page.locator(".auth-wrapper .authorize.locked")).to_have_count(1)
    for verb, path in (
        ("post", "/billing/v1/customers:invite"),
        ("get", "/v1/resellers/{resellersId}/customers"),
        ("patch", "/v1/resellers/{resellersId}/customers/{customersId}"),
        ("delete", "/v1/resellers/{resellersId}/webhooks/{webhooksId}"),
    ):
        block = page.locator(f".opblock-{verb}", has=page.locator(f'[data-path="{path}"]'))
        await block.locator(".opblock-summary-control").click()
        await block.get_by_role("button", name="Try it out").click()
        if verb == "get":
            await block.get_by_role("button", name="Execute").click()
            await expect(block.locator(".live-responses-table")).to_be_visible()
    await page.locator(".auth-wrapper .authorize").click()
    await expect(page.get_by_role("button", name="Close").first).to_be_visible()
    assert await serious(page) == []


async def serious(page: Page) -> list[tuple[str, str]]:
    """Returns what axe finds: the rule, and the first element that breaks it."""
    found = (await Axe().run(page)).response["violations"]
    return [
        (each["id"], each["nodes"][0]["html"])
        for each in found
        if each["impact"] in ("serious", "critical")
    ]


def test_the_example_that_the_page_replaces_is_that_of_the_document() -> None:
    script = (Path(gateway.docs.__file__).parent / "start.js").read_text()
    assert f'EXAMPLE_RESELLER = "{RESELLER}"' in script


async def test_patterns_are_ecma_regular_expressions(docs: Docs) -> None:
    patterns: list[str] = []

    def collect(value: object) -> None:
        if isinstance(value, dict):
            found = value.get("pattern")
            patterns.extend([found] if isinstance(found, str) else [])
            value = list(value.values())
        if isinstance(value, list):
            for each in value:
                collect(each)

    collect(DOCUMENT)
    await docs.page.goto(f"{docs.service.rest}/docs")
    # Swagger UI compiles them without a flag, JSON Schema says that it is `u`.
    compile_all = (
        "patterns => patterns.map(each => ['', 'u'].map(flag => RegExp(each, flag)).length)"
    )
    assert len(await docs.page.evaluate(compile_all, patterns)) == len(patterns) > 10
    matching = """([pattern, texts]) => ['', 'u'].map(
        flag => texts.filter(each => new RegExp(pattern, flag).test(each)))"""
    good, bad = ["a\U000e1000", "\U0001f41f"], ["a\U000e0fff", "\U000f0000", "\U000e0001b"]
    for pattern in (NOT_BLANK, TEXT, LINES, SEGMENT):
        loose, exact = await docs.page.evaluate(matching, [pattern, [*good, *bad, "a\0"]])
        assert (loose, exact) == ([*good, *bad], good)


def test_files_are_served_as_they_are(service: Service) -> None:
    for file in static_files():
        answer = httpx.get(service.rest + file.path)
        assert answer.status_code == 200
        assert answer.content == file.file.read_bytes()
        assert answer.headers["content-type"] == file.content_type
        assert answer.headers["x-content-type-options"] == "nosniff"
    page = httpx.get(f"{service.rest}/docs").headers["content-security-policy"]
    assert "default-src 'none'" in page
    assert "unsafe" not in page
