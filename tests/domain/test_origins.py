"""Where pages may lead: what counts as an origin, and what only looks like one."""

import pytest

from server.domain.origins import origin_of, parse_origin


@pytest.mark.parametrize(
    ("uri", "origin"),
    [
        ("https://shop.example", "https://shop.example"),
        ("https://Shop.Example/", "https://shop.example"),
        ("https://shop.example:443/a/b?c=d&e=%20#f", "https://shop.example"),
        ("https://shop.example:8443?x", "https://shop.example:8443"),
        ("HTTPS://shop.example/@evil.example", "https://shop.example"),
        ("https://xn--80ak6aa92e.com/", "https://xn--80ak6aa92e.com"),
        ("http://localhost:3000/welcome", "http://localhost:3000"),
        ("https://shop.example.evil.example/", "https://shop.example.evil.example"),
    ],
)
def test_the_origin_of_a_uri(uri: str, origin: str) -> None:
    assert origin_of(uri) == origin
    assert parse_origin(origin) == origin


@pytest.mark.parametrize(
    "uri",
    [
        *("", "shop.example", "//shop.example", "https:shop.example", "https:/shop.example"),
        *("http://shop.example", "ftp://shop.example", "javascript:alert(1)//https://shop.example"),
        *("data:text/html,x", "https://", "https:///shop.example", " https://shop.example"),
        *("https://shop.example@evil.example", "https://a:b@shop.example/"),
        *("https://shop.example\\@evil.example", "https://evil.example\\.shop.example"),
        *("https://shop.example\n/", "https://shop.example/\t", "https://shop .example"),
        *(
            "https://sh\u043ep.example/",
            "https://shop.example\uff0fevil",
            "https://shop\u3002example",
        ),
        *("https://shop%2eexample/", "https://[::1]/", "https://shop..example", "https://.example"),
        *("https://shop.example./", "https://shop.example:0/", "https://shop.example:65536/"),
        *(
            "https://shop.example:/",
            "https://-a.example/",
            'https://shop.example/"onclick=',
            "x" * 999,
        ),
        *(
            "https://shop.example/<script>",
            "https://shop.example/%zz",
            "https://shop.example/\u00e9",
        ),
    ],
)
def test_what_only_looks_like_a_uri_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="must"):
        origin_of(uri)
    with pytest.raises(ValueError, match="must"):
        parse_origin(uri)


@pytest.mark.parametrize("text", ["https://shop.example/", "https://shop.example?x", "https://a#b"])
def test_an_origin_has_no_path(text: str) -> None:
    with pytest.raises(ValueError, match="end there"):
        parse_origin(text)
