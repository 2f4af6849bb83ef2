"""What an upload is called, in all the ways that clients write it."""

from clients_wire import CJK, DATA, FILE, B, Taken, contents, field, form, named, part, request
from servers_ingest import Door

NAMES = [
    Taken(
        ".NET: parts' names without quotes, the name twice",
        form(
            part("form-data; name=filename", b"cam1.mp4", "Content-Type: text/plain; charset=utf-8"),
            part("form-data; name=file; filename=cam1.mp4; filename*=utf-8''cam1.mp4"),
        ),
        "cam1.mp4",
        f'multipart/form-data; boundary="{B}"',
    ),
    Taken(
        ".NET: an RFC 2047 word, and filename*",
        form(
            part(
                'form-data; name=file; filename="=?utf-8?B?5rWL6K+VLm1wNA==?=";'
                " filename*=utf-8''%E6%B5%8B%E8%AF%95.mp4"
            )
        ),
        "测试.mp4",
    ),
    Taken(".NET: the word alone", named('filename="=?utf-8?B?5rWL6K+VLm1wNA==?="'), "测试.mp4"),
    Taken("Spring: a Q word", named('filename="=?UTF-8?Q?=E6=B5=8B=E8=AF=95.mp4?="'), "测试.mp4"),
    Taken("javax.mail: several words", named('filename="=?GBK?B?suLK1A==?= =?utf-8?Q?=E8=AF=95.mp4?="'), "测试试.mp4"),
    Taken("a word that is none", named('filename="=?utf-8?B?5rW?="'), "=?utf-8?B?5rW?="),
    Taken("a word in a charset that is not known", named('filename="=?x-none?B?5rWL?="'), "=?x-none?B?5rWL?="),
    Taken("urllib3 1: filename* alone", named("filename*=utf-8''%E6%B5%8B%E8%AF%95.mp4"), "测试.mp4"),
    Taken(
        "Apache HttpClient 5: filename* in quotes", named('filename="x"; filename*="UTF-8\'\'%E6%B5%8B.mp4"'), "测.mp4"
    ),
    Taken(
        "Python's email: a long filename* in pieces", named("filename*0*=UTF-8''%E6%B5; filename*1*=%8B.mp4"), "测.mp4"
    ),
    Taken("filename* in ISO-8859-1", named("filename=x; filename*=ISO-8859-1''cam%E9ra.mp4"), "caméra.mp4"),
    Taken("filename* in GBK", named("filename*=GBK''%B2%E2%CA%D4.mp4"), "测试.mp4"),
    Taken(
        "filename* beside one in GBK bytes", named(b"filename=\"\xb2\xe2\"; filename*=UTF-8''%E6%B5%8B.mp4"), "测.mp4"
    ),
    Taken("filename* that can't be read", named("filename=\"x.mp4\"; filename*=UTF-8''%B2%E2.mp4"), "x.mp4"),
    Taken("filename* without a charset", named('filename="x.mp4"; filename*=y.mp4'), "x.mp4"),
    Taken("aiohttp: percent-encoded", named('filename="%E6%B5%8B%E8%AF%95%20100%25.mp4"'), "测试 100%.mp4"),
    Taken("a browser's file of that very name", named('filename="100%25.mp4"'), "100%25.mp4"),
    Taken("a name with blanks is no encoder's", named('filename="a %E6%B5%8B.mp4"'), "a %E6%B5%8B.mp4"),
    Taken("nor one with a % alone", named('filename="100%_%E6%B5%8B.mp4"'), "100%_%E6%B5%8B.mp4"),
    Taken("nor one that is no UTF-8", named('filename="%B2%E2.mp4"'), "%B2%E2.mp4"),
    Taken("browsers, httpx: %22", named('filename="a %22b%22.mp4"'), 'a "b".mp4'),
    Taken("Go, old curl: backslash and quote", named('filename="a \\"b\\".mp4"'), 'a "b".mp4'),
    Taken("quotes as they are", named('filename="a"b.mp4"'), 'a"b.mp4'),
    Taken("semicolons", named('filename="a;b=c; name=x.mp4"'), "a;b=c; name=x.mp4"),
    Taken("no quotes, a blank", named("filename=cam 1.mp4"), "cam 1.mp4"),
    Taken("no quotes, UTF-8", named("filename=测试.mp4"), "测试.mp4"),
    Taken("the header in capitals", named('FILENAME="a.mp4"')),
    Taken("old Windows clients: a path", named('filename="D:\\dashcam\\front\\new.mp4"'), "new.mp4"),
    Taken("a share", named('filename="\\\\nas\\cam\\a.mp4"')),
    Taken("browsers that send a folder", named('filename="2026-11/front/a.mp4"')),
    Taken("curl, requests, OkHttp, Node: UTF-8", named(f'filename="{CJK}"'), CJK),
    Taken(
        "the field before GBK in the header",
        form(field(CJK), part(b'form-data; name="file"; filename="\xbe\xa9A.mp4"')),
        CJK,
    ),
    Taken("the field behind it", form(part(b'form-data; name="file"; filename="\xbe\xa9A.mp4"'), field(CJK)), CJK),
    Taken(
        "GBK, which the form declares",
        form(field(b"GBK", name="_charset_"), part('form-data; name="file"; filename="誠模.mp4"'.encode("gbk"))),
        "誠模.mp4",
    ),
    Taken("and for a field", form(field(b"gb2312", name="_charset_"), field(CJK.encode("gbk")), FILE), CJK),
    Taken(
        "a declared charset that changes nothing",
        form(field(b"UTF-8", name="_charset_"), field("c.mp4"), FILE),
        "c.mp4",
    ),
    Taken(
        "Apache HttpClient: a field in GBK",
        form(
            field(CJK.encode("gbk"), "Content-Type: text/plain; charset=GBK", "Content-Transfer-Encoding: 8bit"), FILE
        ),
        CJK,
    ),
    Taken(
        "a field in ISO-8859-1",
        form(field("caméra.mp4".encode("latin-1"), "Content-Type: text/plain; charset=ISO-8859-1"), FILE),
        "caméra.mp4",
    ),
    Taken(
        "ISO-8859-1 by default, meant is UTF-8",
        form(field(CJK, 'Content-Type: text/plain; charset="ISO-8859-1"'), FILE),
        CJK,
    ),
    Taken(
        "Delphi's Indy: a field in quoted-printable",
        form(
            field(
                "=E6=B5=8B=\r\n.mp4",
                "Content-Type: text/plain; charset=utf-8",
                "Content-Transfer-Encoding: quoted-printable",
            ),
            FILE,
        ),
        "测.mp4",
    ),
    Taken(
        "libraries for mail: in base64",
        form(field("5rWL\r\nLm1wNA==", "Content-Transfer-Encoding: base64"), FILE),
        "测.mp4",
    ),
    Taken(
        "Retrofit: as JSON",
        form(field('"a \\"b\\".mp4"', "Content-Type: application/json; charset=UTF-8"), FILE),
        'a "b".mp4',
    ),
    Taken("JSON that is none", form(field("c.mp4", "Content-Type: application/json"), FILE), "c.mp4"),
    Taken("JSON that is no text", form(field("17", "Content-Type: application/json"), FILE), "17"),
    Taken(
        "Unity: a Q word, headers in another order",
        form(
            part("form-data; name=file", DATA).replace(
                b"Content-Disposition: form-data",
                b'Content-Type: video/mp4\r\nContent-disposition: form-data; filename="=?utf-8?Q?=E6=B5=8B.mp4?="',
            )
        ),
        "测.mp4",
    ),
    Taken("curl -F filename=<name.txt", form(field("a.mp4\r\n"), FILE)),
    Taken("the same from Notepad", form(field("\ufeffc.mp4\r\n"), FILE), "c.mp4"),
    Taken("twice the same field", form(field("c.mp4"), field("c.mp4"), FILE), "c.mp4"),
    Taken("macOS: NFD stays", form(field("Ve\u0301hicule.mp4"), FILE), "Ve\u0301hicule.mp4"),
    Taken("4-byte UTF-8", form(field("🚗𠮷.mp4"), FILE), "🚗𠮷.mp4"),
    Taken("255 bytes", form(field("中" * 83 + ".mp4ab"), FILE), "中" * 83 + ".mp4ab"),
    *(
        Taken("what other systems reserve stays", form(field(name), FILE), name)
        for name in (
            "CON.mp4",
            "a.",
            "a .mp4 ",
            " a.mp4",
            ".hidden",
            "-rf.mp4",
            "a:b?.mp4",
            "*.mp4",
            "%s%d.mp4",
            "';--",
        )
    ),
]


async def test_uploads_are_called_what_their_clients_mean(door: Door) -> None:
    for case in NAMES:
        assert (case.who, *await contents(door, case)) == (case.who, 200, case.name, DATA)


async def test_cameras_that_call_all_files_the_same_get_each_their_own_number(door: Door) -> None:
    answers = [await request(door, form(field("00001.jpg"), FILE)) for _ in range(2)]
    assert len({answer["result"]["fileID"] for _, _, answer in answers}) == 2
