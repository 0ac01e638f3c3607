"""Reading what comes back."""

import time

import pytest

from server.bounces.receiver import MOST_BYTES
from server.bounces.reports import read_report
from tests.bounces.samples import SAMPLES, Sample, dsn


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_each_form_is_told_for_what_it_is(sample: Sample) -> None:
    assert read_report(sample.content, sample.reverse_path) == sample.report


def test_the_worst_of_several_recipients_counts() -> None:
    report = read_report(
        dsn(
            "Action: delayed\nStatus: 4.4.1\n\nFinal-Recipient: rfc822; x@y.test\n"
            "Action: failed\nStatus: 5.1.1\n"
        ),
        "",
    )
    assert report
    assert report.came_back


def test_the_largest_e_mail_is_read_in_no_time() -> None:
    deep = b"".join(
        b'Content-Type: multipart/mixed; boundary="%d"\r\n\r\n--%d\r\n' % (n, n)
        for n in range(15_000)
    )
    fields = b"Content-Type: message/delivery-status\r\n\r\n" + b"Action: failed\r\n\r\n" * 50_000
    for content in (deep, fields, b"550 " * 250_000, b"X: y\r\n" * 160_000):
        began = time.thread_time()
        read_report(content[:MOST_BYTES], "")
        assert time.thread_time() - began < 5


def test_what_is_nested_too_deep_is_no_report() -> None:
    deep = b"".join(
        b'Content-Type: multipart/mixed; boundary="%d"\r\n\r\n--%d\r\n' % (n, n) for n in range(999)
    )
    assert read_report(deep, "") is None


PARAMETERS = ["boundary*=b; boundary*0=c", f"boundary*{'9' * 5000}=b", "boundary*=\0''b"]


@pytest.mark.parametrize("parameters", PARAMETERS)
def test_parameters_that_the_library_can_not_read_are_no_report(parameters: str) -> None:
    content = f"From: <>\r\nContent-Type: multipart/report; {parameters}\r\n\r\n--b\r\n".encode()
    assert read_report(content, "") is None
