"""Requests that mean harm, the same ones each time."""

import json
from itertools import product
from random import Random
from typing import Any, NamedTuple
from urllib.parse import quote, quote_from_bytes

from fipe_simulator import SAMPLE_CATALOGUE, read_catalogue
from tests.api_server import Api

ROW = read_catalogue(SAMPLE_CATALOGUE).rows[0]
GOOD = {
    "vehicleType": "cars", "brandId": ROW.brand_code, "modelId": ROW.model_code, "fipeCode": ROW.fipe_code,
    "yearId": f"{ROW.model_year}-{ROW.fuel_code}", "fipe_code": ROW.fipe_code, "month": "2026-06",
    "reference": 334, "q": "a", "limit": 5, "offset": 0, "type": "car", "brand": "vw", "since": "2026-06",
    "by": "type", "model_year": ROW.model_year, "difference": "new",
}  # fmt: skip
"""Parameters by their names, as the descriptions have them, with values of what is there."""
VEHICLE = {"code": ROW.fipe_code, "year": ROW.model_year, "fuel": "x"}
FLEET = {"vehicles": [VEHICLE], "month": "2026-06"}

SQL = [
    "'", "''", '"', "' or 1=1 --", "1; drop table fipe.price", "1); delete from fipe.price; --", "$$", "%s",
    "%(month)s", "' union all select rolpassword from pg_authid --", "pg_sleep(20)", "'||pg_sleep(20)||'",
    "a & b | !c", "'a':* <-> 'b'", "\\", "\\'", "1/**/or/**/1", "0x31", "'; copy fipe.price to '/tmp/x'; --",
    "');set role postgres;--", "1;set default_transaction_read_only=off;delete from fipe.price",
    "'||lo_create(0)||'", "{1}", "array[1]", "null", "current_user", "\x00' or 1=1", "' and 1=1/0 --",
]  # fmt: skip
NUMBERS = [
    "-1", "0", "2147483648", "9223372036854775808", "-9223372036854775809", "9" * 400, "1e309", "1e5", "NaN",
    "Infinity", "0x10", "1_000", "+1", " 1", "1.0", "1.5", "१२", "١٢٣", "１２", "²", "-0", "00000001",
]  # fmt: skip
TEXTS = [
    "", " ", "\x00", "\x1f", "\n", "\r\nX-Injected: yes", "\u2028", "\ufeff", "\ud7ff", "\uffff", "🚗" * 50,
    "a" * 3000, "%" * 200, "é" * 200, "ﬀ", "İ", "\u202e", "e\u0301" * 90, "<script>alert(1)</script>",
    "${jndi:ldap://x}", "{{7*7}}", "{}", "[]", "true", "../../etc/passwd", "*:*", "0001-01", "9999-12",
    "2026-00", "32000-1", "99999-99999", "99999999999999999999-1",
]  # fmt: skip
AS_BYTES = [
    "%00", "%0a", "%0d%0aX-Injected:%20yes", "%c0%af", "%c0%ae%c0%ae%c0%af", "%e0%80%af", "%f0%80%80%af",
    "%ed%a0%80", "%ff", "%fe%ff", "%u0027", "%", "%2", "%zz", "%2527", "%252e%252e%252f", "+", "&&", "=", "#",
    "?", ";", "%3f", "%23", "%2f", "%5c",
]  # fmt: skip
"""What is no text, or looks like a part of an address."""
PATHS = [
    "/../etc/passwd", "/..%2f..%2fetc%2fpasswd", "/page/../../etc/passwd", "/page/..%2f..%2fapplication.py",
    "/page/%2e%2e/%2e%2e/application.py", "/page//etc/passwd", "/page/..%5c..%5cwords.json", "/page/%00",
    "/page/page.js%00.css", "/page/" + "a" * 5000, "/page/" + "a/" * 2000, "/page/CON", "/page/.git/config",
    "//etc/passwd", "/./v1/./months", "/v1//months", "/v1/months/", "/v1%2fmonths", "/V1/MONTHS",
    "/v1/months%00", "/v1/months%0a", "/v1/months;a=b", "/api/v2", "/api/v2/", "/api/v2//references",
    "/api/v2/../../v1/months", "/api/v2%0a/references", "/docs", "/redoc", "/admin", "/.env", "/metrics",
    "/server-status", "/openapi.json", "/api/v2/openapi.json", "/%", "/%c0%ae%c0%ae/", "*",
    "http://169.254.169.254/latest/meta-data", "http://x/v1/months", "v1/months", "", "?",
    "/?" + "a=b&" * 3000, "/v1/months?limit=1" + "&limit=1" * 1000, "/v1/search?q=a&q=b&Q=c",
    "/v1/months?limit[]=1", "/v1/months?__proto__=x", "/v1/search?q=" + "a" * 15000,
]  # fmt: skip
METHODS = [
    "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "POST", "get", "PROPFIND", "A" * 300,
]  # fmt: skip
HEADERS = [
    "If-None-Match: *", "If-None-Match: W/", 'If-None-Match: "' + "a" * 8000,
    "If-None-Match: ,,,\"\",W/\"'\"", "If-Modified-Since: never", "Accept-Encoding: gzip;q=NaN",
    "Accept-Encoding: gzip, gzip, *;q=0, br;q=2", "Accept-Encoding: " + "gzip," * 1500,
    "Accept: application/xml", "Range: bytes=0-1,5-2,-9", "Host: ", "Host: evil.example\r\nHost: other",
    "Host: ' or 1=1 --", "Host: a:99999999", "X-Forwarded-For: ' or 1=1", "X-Forwarded-Host: evil.example",
    "X-Forwarded-Proto: javascript", "Forwarded: for=\"[::\"", "Cookie: a=b;" * 500, "Origin: null",
    "Origin: https://evil.example", "Access-Control-Request-Method: DELETE\r\nOrigin: x",
    "Authorization: Basic " + "A" * 4000, "Authorization: Bearer x", "X-Subscription-Token: ' or 1=1 --",
    "X-Api-Key: x", "Content-Length: 5", "Content-Length: 0\r\nContent-Length: 5", "Content-Length: -1",
    "Content-Length: 99999999999999999999", "Content-Length: 5, 5", "Content-Length: five",
    "Content-Length: \xb2", "Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: x", "Content-Length: 5\r\nTransfer-Encoding: chunked", "Expect: 100-continue",
    "Expect: x", "Upgrade: websocket",
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13",
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c", "X-Long: " + "a" * 70_000, "X-Nul: a\x00b",
    "No colon", ": no name", "X Space: 1", " folded: 1", "X-Cr: a\rb", "\x00", "X-Latin: \xff",
    "X: 1\r\n" * 3000 + "X: 1", "X-Original-URL: /admin", "X-HTTP-Method-Override: DELETE",
    "Content-Type: text/plain; charset=utf-7",
]  # fmt: skip
CONTENT_TYPES = [
    "application/json", "text/plain", "application/json; charset=utf-16", "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x", "application/xml", "", "application/json; charset=x",
    "application/x+json",
]  # fmt: skip
BODIES = [
    b"", b"{", b"[]", b"null", b'"', b"\x00", b"\xff\xfe{\x00}\x00", b"\xef\xbb\xbf{}", b"[" * 100_000,
    b'{"a":' * 50_000, b'{"vehicles":' + b"[" * 5000 + b"]" * 5000 + b"}", b'{"vehicles": NaN}',
    b'{"vehicles": [1e999]}', b'{"vehicles": [' + b"9" * 5000 + b"]}", b'{"vehicles": [{"code": "\\ud800"}]}',
    b'{"vehicles": [], "vehicles": {}}', b'{"__proto__": {}, "vehicles": []}', b'{"vehicles": "\\u0000"}',
    b'{"vehicles": [' + b'{"code":"1","year":"1"},' * 5000 + b'{"code":"1","year":"1"}]}', b"a" * 1_100_000,
    b'{"vehicles": [{"code": "' + b"a" * 1_000_000 + b'"}]}', b'{"vehicles": [{}]}' + b" " * 1_048_576,
    b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>", b"vehicles=1",
    b"--x\r\nContent-Disposition: form-data; name=a; filename=../../x\r\n\r\n1\r\n--x--\r\n",
]  # fmt: skip
CHUNKS = [
    b"5\r\nhello\r\n0\r\n\r\n", b"zz\r\n", b"-1\r\n\r\n", b"ffffffffffffffffff\r\na", b"5\r\nhello world\r\n",
    b"5;" + b"a" * 20_000 + b"\r\nhello\r\n", b"0\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", b"\r\n\r\n",
    b"0\r\n\x00", b"1\r\na\r\n" * 5000 + b"0\r\n\r\n",
]  # fmt: skip
GARBAGE = [
    b"\r\n\r\n", b"\x00" * 100, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/0.9\r\n\r\n",
    b"GET /\r\n\r\n", b"GET / HTTP/1.1\n\n", b"GET\t/\tHTTP/1.1\r\n\r\n",
    b"GET /caf\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / a HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /v1/months HTTP/1.1\r\n\r\n", b"a" * 200_000, b"\n" * 1000,
    b"SSH-2.0-OpenSSH_9.0\r\n", b"*1\r\n$4\r\nINFO\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHo", b"HTTP/1.1 200 OK\r\n\r\n",
    b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
]  # fmt: skip


class Operation(NamedTuple):
    """A path, and the names of its parameters."""

    path: str
    of_path: list[str]
    of_query: list[str]

    def request(self, given: dict[str, str]) -> bytes:
        """A request with these values as they are, and good ones for what else the path needs."""
        values = {name: given.get(name, quote(str(GOOD[name]))) for name in self.of_path + self.of_query}
        path = self.path.format(**values)
        query = "&".join(f"{name}={values[name]}" for name in self.of_query if name in given or name == "q")
        return http(f"{path}?{query}" if query else path)


def http(target: str, method: str = "GET", headers: str = "Host: x", body: bytes = b"") -> bytes:
    """A request as it goes over the wire, from characters of one byte."""
    head = f"{method} {target} HTTP/1.1\r\n{headers}\r\nConnection: close\r\n\r\n"
    return head.encode("latin-1", "replace") + body


def post(body: bytes, content_type: str = "application/json") -> bytes:
    headers = f"Host: x\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}"
    return http("/v1/valuations", "POST", headers, body)


def post_json(body: Any) -> bytes:
    return post(json.dumps(body).encode())


def operations(api: Api) -> list[Operation]:
    """All that can be asked, as the API describes itself."""
    found = []
    for prefix in ("", "/api/v2"):
        for path, methods in api.get(f"{prefix}/openapi.json").json()["paths"].items():
            if "get" in methods:
                parameters = methods["get"].get("parameters", [])
                in_path, in_query = (
                    [each["name"] for each in parameters if each["in"] == place]
                    for place in ("path", "query")
                )
                found.append(Operation(prefix + path, in_path, in_query))
    return found


def in_every_parameter(asked: list[Operation]) -> list[bytes]:
    """Each bad value in each parameter of each path, and in each field of a list of vehicles."""
    bad = [quote(each, safe="") for each in SQL + NUMBERS + TEXTS] + AS_BYTES
    requests = [
        operation.request({name: value})
        for operation in asked
        for name, value in product(operation.of_path + operation.of_query, bad)
    ]
    for value in SQL + NUMBERS + TEXTS:
        requests += [post_json({**FLEET, name: value}) for name in ("month", "since", "vehicles", "x")]
        requests += [post_json({"vehicles": [{**VEHICLE, name: value}]}) for name in VEHICLE]
    return requests


def others() -> list[bytes]:
    """What is bad elsewhere: paths, methods, heads, bodies, and what is no HTTP."""
    good = ["/v1/months", "/api/v2/cars/brands", "/page/page.js", "/"]
    fleet = json.dumps(FLEET).encode()
    return [
        *map(http, PATHS),
        *(http(path, method) for path in [*good, "/v1/valuations"] for method in METHODS),
        *(http(path, headers=f"Host: x\r\n{header}") for path in good for header in HEADERS),
        *(http(path, "HEAD", f"Host: x\r\n{header}") for path in good for header in HEADERS[:12]),
        *(http("/v1/valuations", "POST", f"Host: x\r\n{header}", fleet) for header in HEADERS),
        *(post(body, content_type) for body, content_type in product(BODIES, CONTENT_TYPES[:3])),
        *(post(fleet, content_type) for content_type in CONTENT_TYPES),
        *(
            http("/v1/valuations", "POST", "Host: x\r\nTransfer-Encoding: chunked", chunks)
            for chunks in CHUNKS
        ),
        *GARBAGE,
    ]


def mixed(random: Random, asked: list[Operation], whole: list[bytes]) -> bytes:
    """Several bad values at once, or another request that is cut or has bytes changed."""
    if random.random() < 0.7:
        operation = random.choice(asked)
        names = operation.of_path + operation.of_query
        return operation.request({name: any_value(random) for name in names if random.random() < 0.4})
    request = bytearray(random.choice(whole)[:20_000])
    for _ in range(random.randrange(4)):
        request[random.randrange(len(request))] = random.randrange(256)
    return bytes(request[: random.randrange(1, len(request))] if random.random() < 0.2 else request)


def any_value(random: Random) -> str:
    if random.random() < 0.3:
        return quote_from_bytes(random.randbytes(random.randrange(40)), safe="")
    return random.choice([quote(random.choice(SQL + NUMBERS + TEXTS), safe=""), random.choice(AS_BYTES)])
