"""What strangers write to an e-mail's sender is read for a bounded time, whatever it is."""

import asyncio
import sys
from collections.abc import AsyncIterator

import psutil
import pytest
import pytest_asyncio

from server.bounces.reader import ReaderLostError, ReportReader
from server.bounces.receiver import MOST_BYTES
from tests.bounces.samples import SAMPLES

# By the standard library's parser, or flufl's patterns, each takes from ten seconds to many minutes.
_COSTLY = {
    "a parameter with one quote": b'Content-Type: multipart/report; a="' + b";" * 250_000,
    "groups of fields": b"Content-Type: message/delivery-status\r\n\r\n" + b"\r\n" * 100_000,
    "short lines": b"From: mailer-daemon\r\n\r\n" + b"a\r\n" * 80_000,
    "nested messages": b"Content-Type: message/rfc822\r\n\r\n" * 8000,
}


@pytest_asyncio.fixture
async def reader() -> AsyncIterator[ReportReader]:
    reader = ReportReader()
    yield reader
    await reader.stop()


async def test_what_takes_too_long_is_no_report(reader: ReportReader) -> None:
    sample = next(each for each in SAMPLES.values() if each.report)
    for content in _COSTLY.values():
        assert len(content) <= MOST_BYTES
        async with asyncio.timeout(60):  # far more than half a second of the processor's time takes
            assert await reader.read(content, "") is None
        # By the same process.
        assert await reader.read(sample.content, sample.reverse_path) == sample.report


async def test_each_of_many_gets_the_answer_to_its_own(reader: ReportReader) -> None:
    assert await reader.read(b"", "") is None  # the process is there
    found = await asyncio.gather(
        *(reader.read(sample.content, sample.reverse_path) for sample in SAMPLES.values())
    )
    assert found == [sample.report for sample in SAMPLES.values()]


async def test_a_reader_that_dies_is_followed_by_another(reader: ReportReader) -> None:
    sample = next(each for each in SAMPLES.values() if each.report)
    assert await reader.read(sample.content, sample.reverse_path) == sample.report
    (child,) = psutil.Process().children()
    reading = asyncio.create_task(reader.read(_COSTLY["short lines"], ""))
    await asyncio.sleep(0)
    child.kill()
    with pytest.raises(ReaderLostError):
        await reading
    assert await reader.read(sample.content, sample.reverse_path) == sample.report


async def test_whoever_goes_away_leaves_no_answer_to_the_next(reader: ReportReader) -> None:
    sample = next(each for each in SAMPLES.values() if each.report)
    assert await reader.read(sample.content, sample.reverse_path) == sample.report
    reading = asyncio.create_task(reader.read(_COSTLY["short lines"], ""))
    await asyncio.sleep(0)  # it asks the process, which is there
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert await reader.read(sample.content, sample.reverse_path) == sample.report


async def test_a_report_that_we_fail_at_is_told_without_its_words(
    reader: ReportReader, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failing = (
        "from server.bounces import reader_process\n"
        "reader_process.read_report = lambda content, path: int(content)\n"
        "reader_process.main()"
    )
    monkeypatch.setattr("server.bounces.reader._COMMAND", (sys.executable, "-c", failing))
    assert await reader.read(b"ostap@example.com", "") is None
    assert await reader.read(b"ostap@example.com", "") is None
    assert caplog.text.count("reading a report failed: builtins.ValueError") == 1
    assert "ostap" not in caplog.text
