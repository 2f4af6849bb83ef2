"""What clients write as cbUrl: what is called, byte for byte, and what is refused at once."""

import pytest

from roadvault_common.web.callback_url import BadCallbackUrl, read

TAKEN = {
    "http://127.0.0.1:9/x ": ("127.0.0.1:9", "/x"),
    "\t\N{NO-BREAK SPACE}http://client/x\N{ZERO WIDTH NO-BREAK SPACE}\r\n": ("client:80", "/x"),
    "HTTP://127.0.0.1:9/X": ("127.0.0.1:9", "/X"),
    "http://video_api:8080/cb": ("video_api:8080", "/cb"),
    "http://回调.例子.中国/完成?名=值": (
        "xn--zbss05j.xn--fsqu00a.xn--fiqs8s:80",
        "/%E5%AE%8C%E6%88%90?%E5%90%8D=%E5%80%BC",
    ),
    "http://127.0.0.1:9/x?a=1#top": ("127.0.0.1:9", "/x?a=1"),
    "http://[::1]:9/x": ("::1:9", "/x"),
    "http://127.0.0.1:9/x?n=%D6%D0": ("127.0.0.1:9", "/x?n=%D6%D0"),
    "https://client./cb": ("client.:443", "/cb"),
    "http://client:/": ("client:80", "/"),
    "http://client": ("client:80", "/"),
    "http://client?token=1": ("client:80", "/?token=1"),
    "http://client/cb?": ("client:80", "/cb?"),
    "http://client/cb?sig=rX7%2FX%3D%2B%27%40%3a&t=a+b%20c": ("client:80", "/cb?sig=rX7%2FX%3D%2B%27%40%3a&t=a+b%20c"),
    "http://client/a//b/./c/../d": ("client:80", "/a//b/./c/../d"),
    "http://client/cb?a&b=&a=2;c=3&[x]=|": ("client:80", "/cb?a&b=&a=2;c=3&[x]=|"),
    r'http://client/a\b"<>^`{|}~%zz': ("client:80", r'/a\b"<>^`{|}~%zz'),
    "http://client/%2e%2E/@:!$&'()*+,;=": ("client:80", "/%2e%2E/@:!$&'()*+,;="),
}  # fmt: skip


@pytest.mark.parametrize("text", TAKEN)
def test_a_url_is_kept_byte_for_byte(text: str) -> None:
    url = read(text)
    assert (url.place, url.target) == TAKEN[text]


def test_what_the_host_header_says() -> None:
    urls = ("http://Client:80/", "https://client:443/", "http://client:443/", "http://[::1]/", "https://[::1]:8443/")
    assert [read(url).authority for url in urls] == ["client", "client", "client:443", "[::1]", "[::1]:8443"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "http or https"),
        ("127.0.0.1:9/x", "http or https"),
        ("ftp://client/", "http or https"),
        ("javascript:alert(1)", "http or https"),
        ("http:///x", "http or https"),
        ("http://a b/", "without blanks"),
        ("http://client/a\r\nX-Header: 1", "without blanks"),
        ("http://client/a\x00", "without blanks"),
        ("http://client/a\x7f", "without blanks"),
        ("http://user:secret@127.0.0.1:9/x", "password"),
        ("http://client/" + "a" * 2040, "2048"),
        ("http://127.0.0.1:99999/", "port"),
        ("http://127.0.0.1:0/", "port"),
        ("http://client:123456/", "not a URL"),
        ("http://client:\u0661/", "not a URL"),
        ("http://client/\ud800", "not a URL"),
    ],
)
def test_a_url_that_can_not_be_called_is_refused_in_words(text: str, message: str) -> None:
    with pytest.raises(BadCallbackUrl, match=message) as caught:
        read(text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "host",
    [
        "[::ffff:127.0.0.1%25]", "[::1%25lo]", "[fe80::1%eth0]", "[::1", "::1", "[]", "[v1.x]", "[::g]", "a%2eb", "%31",
        "0x7f.1", "0x7f000001", "2130706433", "127.1", "127.0.0.01", "0177.0.0.1", "127.0.0.1.", "1.2.3.4.5",
        "256.1.1.1", "\uff11\uff12\uff17.1", "127\u30021", "a.0x7f", "a.1", "0x", "xn--", "a..b", ".", "a" * 64,
        "client\\", "client\\.evil", "cl|ient", "a,b",
    ],
)  # fmt: skip
def test_a_host_is_a_name_or_an_address_as_it_is_written_today(host: str) -> None:
    with pytest.raises(BadCallbackUrl, match="no name and no address"):
        read(f"http://{host}:5001/api/v0/pin/rm")


@pytest.mark.parametrize("host", ["\uff11\uff12\uff17.0.0.1", "127\u30020\u30020\u30021", "127.0.0.1"])
def test_an_address_is_known_in_whatever_characters(host: str) -> None:
    assert str(read(f"http://{host}/").address) == "127.0.0.1"
    assert read("http://client/").address is None
