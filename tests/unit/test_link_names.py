"""What a link's file is saved as, and of which kind it is said to be."""

import pytest

from roadvault_door.names import disposition, media_type


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("play.mp4", "play.mp4"),
        ("Gate 7 (north).mp4", "Gate 7 (north).mp4"),
        ("摄像头.mp4", "___.mp4"),
        ("Café.mp4", "Cafe_.mp4"),
        ("2025年1月.mkv", "2025_1_.mkv"),
        ('a"; filename="evil.sh', "a__ filename=_evil.sh"),
        ("100%2e.mp4", "100_2e.mp4"),
        ("a\\..\\b", "a_.._b"),
        ("..", "_."),
        (".bashrc", "_bashrc"),
        ("-rf", "_rf"),
        (" ", "_"),
        ("\u202egpj.exe", "_gpj.exe"),
    ],
)
def test_the_plain_form_is_safe_for_any_client(name: str, plain: str) -> None:
    assert disposition(name).startswith(f"attachment; filename=\"{plain}\"; filename*=UTF-8''")


def test_the_other_form_is_the_real_name() -> None:
    assert disposition("摄像 1.mp4").endswith("; filename*=UTF-8''%E6%91%84%E5%83%8F%201.mp4")
    assert disposition("a:b?.mp4").endswith("; filename*=UTF-8''a%3Ab%3F.mp4")
    assert disposition("a.").endswith("; filename*=UTF-8''a.")
    assert disposition("a'b\"c.mp4").endswith("; filename*=UTF-8''a%27b%22c.mp4")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.ts", "video/mp2t"),
        ("a.MTS", "video/mp2t"),
        ("a.m2ts", "video/mp2t"),
        ("a.MP4", "video/mp4"),
        ("a.b.m4v", "video/mp4"),
        ("a.insv", "video/mp4"),
        ("a.360", "video/mp4"),
        ("a.lrv", "video/mp4"),
        ("a.mov", "video/quicktime"),
        ("a.mkv", "video/x-matroska"),
        ("a.avi", "video/x-msvideo"),
        ("a.flv", "video/x-flv"),
        ("a.dav", "video/x-dav"),
        ("a.h264", "video/h264"),
        ("a.h265", "video/h265"),
        ("a.3gp", "video/3gpp"),
        ("a.webm", "video/webm"),
        ("a.wmv", "video/x-ms-wmv"),
        ("a.mpg", "video/mpeg"),
        ("a.jpg", "image/jpeg"),
        ("a.JPEG", "image/jpeg"),
        ("a.png", "image/png"),
        *(
            (name, "application/octet-stream")
            for name in (
                *("clip.mp4.gz", "mp4", "clip", "clip.", ".mp4x", "a.zip", "a.srt"),
                # What browsers run or show as a page.
                *("a.html", "a.htm", "a.xhtml", "a.svg", "a.svgz", "a.xml", "a.pdf", "a.js", "a.mjs", "a.mht", "a.swf"),
            )
        ),
    ],
)
def test_the_type_goes_by_our_own_table(name: str, kind: str) -> None:
    assert media_type(name) == kind
