"""The page behind an invitation's link: links, forms and languages of every kind."""

from urllib.parse import quote, quote_from_bytes, urlencode

from hypothesis import strategies as st

from tests.fuzz.headers import extra_headers
from tests.fuzz.inputs import Header, Input, Known
from tests.fuzz.messages import ODD_TEXT
from tests.fuzz.routes import request

PATH = b"/invitations/"
_PATHS = (PATH, PATH, PATH, b"//invitations/", b"/invitations//")
# What mail programs, in-app browsers and people add to links.
_ADDED = (
    b"",
    b"",
    b"?utm_source=mail",
    b"?",
    b"/",
    b".",
    b"%20",
    b"?token=x&form.data=y",
    b"/?a=%ff",
)
_FORM: Header = (b"content-type", b"application/x-www-form-urlencoded")
_LANGUAGES = (
    b"ru", b"en-GB,en;q=0.9", b"*", b"", b"ru;q=x", b"\xff", b"a" * 500, b";;;", b"q=1", b",,,", b"ru-" * 99
)  # fmt: skip


def pages(known: Known) -> st.SearchStrategy[Input]:
    """Returns what a browser sends, and what it does not."""
    links = st.one_of(
        st.sampled_from(known.link_tokens),
        ODD_TEXT.filter(bool).map(lambda text: quote(text, safe="")),
        st.binary(min_size=1, max_size=60).map(quote_from_bytes),
        st.sampled_from([10, 200, 5_000]).map(lambda size: "a" * size),
    )
    forms = st.one_of(
        st.sampled_from(["accept", "decline", "x", ""]).map(lambda answer: {"answer": answer}),
        st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=4),
    ).map(lambda fields: urlencode(fields).encode())
    bodies = st.one_of(
        forms,
        forms.map(lambda form: form * 2),
        st.binary(max_size=100),
        st.sampled_from([b"a=1&" * 20_000, b"%" * 50, b"answer=accept&answer=decline"]),
    )
    spoken = st.one_of(
        st.just(()), st.sampled_from(_LANGUAGES).map(lambda value: ((b"accept-language", value),))
    )
    kinds = st.sampled_from(
        [_FORM, _FORM, _FORM, (b"content-type", b"text/plain"), (b"content-type", b"")]
    )
    links = st.builds(
        lambda folder, link, added: folder + link.encode() + added,
        *(st.sampled_from(_PATHS), links, st.sampled_from(_ADDED)),
    )
    transports = st.sampled_from(["rest-h1", "rest-h2"])
    looks = st.builds(
        lambda transport, verb, link, language, extra: request(
            transport, None, verb, link, (*language, *extra), b""
        ),
        *(transports, st.sampled_from([b"GET", b"GET", b"HEAD"]), links, spoken, extra_headers()),
    )
    answers = st.builds(
        lambda transport, link, language, extra, kind, body: request(
            transport, None, b"POST", link, (kind, *language, *extra), body
        ),
        *(transports, links, spoken, extra_headers(), kinds, bodies),
    )
    return st.one_of(looks, answers)
