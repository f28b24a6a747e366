"""Who may ask for what: keys files, credentials, scopes, rates."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusee.base.errors import RequestError
from fusee.server.access import Access, Key, read_keys
from fusee.server.errors import Reason, ServingError
from fusee.server.operations import Scope

DIGEST = hashlib.sha256(b"secret").hexdigest()
ENTRY = {"name": "camera", "sha256": DIGEST, "scopes": ["infer"]}


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


def key(name="camera", secret=b"secret", scopes=(Scope.INFER,), **limits):
    return Key(name, hashlib.sha256(secret).digest(), frozenset(scopes), **limits)


def headers(**values):
    return {name.replace("_", "-"): value for name, value in values.items()}.get


def refused(call, *arguments):
    with pytest.raises(ServingError) as caught:
        call(*arguments)
    return caught.value


class TestCheck:
    def test_without_keys_everybody_may_everything(self):
        access = Access()
        assert access.is_open
        for scope in Scope:
            assert access.check(scope, headers()).name == "anyone"

    @pytest.mark.parametrize(
        "header",
        [
            headers(x_api_key="secret"),
            headers(authorization="Bearer secret"),
            headers(authorization="bearer  secret "),
            headers(authorization="Basic " + base64.b64encode(b"anyone:secret").decode()),
        ],
    )
    def test_the_ways_to_show_a_key(self, header):
        access = Access((key(), key("other", b"else")))
        assert not access.is_open
        assert access.check(Scope.INFER, header).name == "camera"

    @pytest.mark.parametrize(
        ("header", "message"),
        [
            (headers(), "a key is needed: send 'authorization: Bearer KEY' or 'x-api-key: KEY'"),
            (headers(authorization="Digest secret"), "a key is needed"),
            (headers(authorization="Basic !"), "a key is needed"),
            (headers(authorization="Basic " + base64.b64encode(b"\xff").decode()), "a key is needed"),
            (headers(x_api_key="wrong"), "the key is not known"),
            (headers(authorization="Bearer "), "the key is not known"),
            (headers(x_api_key="ü\u0416"), "the key is not known"),
        ],
    )
    def test_strangers(self, header, message):
        error = refused(Access((key(),)).check, Scope.INFER, header)
        assert error.reason is Reason.UNAUTHENTICATED
        assert error.message.startswith(message)

    def test_scopes(self):
        access = Access((key(scopes=(Scope.READ,)),))
        assert access.check(Scope.OPEN, headers()).name == "anyone"
        assert access.check(Scope.READ, headers(x_api_key="secret")).name == "camera"
        error = refused(access.check, Scope.ADMIN, headers(x_api_key="secret"))
        assert (error.reason, error.message) == (
            Reason.FORBIDDEN,
            "key 'camera' has not the scope 'admin' that this needs",
        )

    @given(st.text(max_size=30))
    def test_any_header_is_answered(self, text):
        error = refused(Access((key(),)).check, Scope.INFER, headers(authorization=text))
        assert error.reason is Reason.UNAUTHENTICATED


class TestLimits:
    def test_requests_at_a_time(self):
        access = Access((key(concurrent_requests=2),))
        caller = access.check(Scope.INFER, headers(x_api_key="secret"))
        access.begin(caller)
        access.begin(caller)
        error = refused(access.begin, caller)
        assert (error.reason, error.retry_after_s) == (Reason.OVERLOADED, 1.0)
        assert error.message == "key 'camera' has 2 requests under way, as many as it may"
        access.end(caller)
        access.begin(caller)

    def test_requests_a_second(self):
        clock = Clock()
        access = Access((key(requests_per_s=4),), clock)
        caller = access.check(Scope.INFER, headers(x_api_key="secret"))
        for _ in range(4):
            access.begin(caller)
        error = refused(access.begin, caller)
        assert (error.message, error.retry_after_s) == ("key 'camera' may send 4 requests a second", 0.25)
        assert caller.under_way == 4
        clock.now_s += 0.25
        access.begin(caller)
        assert refused(access.begin, caller).reason is Reason.OVERLOADED

    def test_saved_up_requests_are_those_of_a_second(self):
        clock = Clock()
        access = Access((key(requests_per_s=2),), clock)
        caller = access.check(Scope.INFER, headers(x_api_key="secret"))
        clock.now_s += 1000
        access.begin(caller)
        access.begin(caller)
        assert refused(access.begin, caller).reason is Reason.OVERLOADED

    def test_less_than_one_a_second(self):
        clock = Clock()
        access = Access((key(requests_per_s=0.5),), clock)
        caller = access.check(Scope.INFER, headers(x_api_key="secret"))
        clock.now_s += 1.0
        access.begin(caller)
        assert refused(access.begin, caller).retry_after_s == pytest.approx(2.0)

    def test_anyone_is_without_limit(self):
        access = Access()
        caller = access.check(Scope.INFER, headers())
        for _ in range(10):
            access.begin(caller)
        access.end(caller)


class TestKeysFile:
    def _written(self, tmp_path, document):
        path = tmp_path / "keys.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return path

    def test_whole(self, tmp_path):
        entry = {**ENTRY, "scopes": ["infer", "admin"], "requests_per_s": 50, "concurrent_requests": 8}
        (read,) = read_keys(self._written(tmp_path, {"keys": [entry]}))
        assert read == key(scopes=(Scope.INFER, Scope.ADMIN), requests_per_s=50, concurrent_requests=8)

    @pytest.mark.parametrize(
        ("document", "message"),
        [
            ("{", "is not JSON"),
            ([], 'expected {"keys": [...]} with at least one key'),
            ({"keys": []}, "with at least one key"),
            ({"keys": [1]}, "key 0: expected an object, found 1"),
            ({"keys": [{**ENTRY, "scope": 1}]}, "key 0: 'scope' is unknown; it takes"),
            ({"keys": [{"sha256": DIGEST, "scopes": ["infer"]}]}, "key 0: 'name' is missing"),
            ({"keys": [{**ENTRY, "sha256": "secret"}]}, "key 0 (camera): 'sha256' is to be 64 hex digits"),
            ({"keys": [{**ENTRY, "sha256": DIGEST.upper()}]}, "in lower case"),
            ({"keys": [{**ENTRY, "scopes": []}]}, "'scopes' is to be a list of infer, read, admin, found []"),
            ({"keys": [{**ENTRY, "scopes": ["open"]}]}, "'scopes' is to be a list of infer, read, admin"),
            ({"keys": [{**ENTRY, "requests_per_s": 0}]}, "'requests_per_s' is to be a number above 0, found 0"),
            ({"keys": [{**ENTRY, "requests_per_s": True}]}, "'requests_per_s' is to be a number above 0"),
            (
                {"keys": [{**ENTRY, "concurrent_requests": 1.5}]},
                "'concurrent_requests' is to be a whole number above 0",
            ),
            ({"keys": [ENTRY, ENTRY]}, "two keys have the same name"),
        ],
    )
    def test_wrong(self, tmp_path, document, message):
        path = self._written(tmp_path, document)
        with pytest.raises(RequestError) as caught:
            read_keys(path)
        assert str(caught.value).startswith(str(path))
        assert message in str(caught.value)

    def test_missing(self, tmp_path):
        with pytest.raises(RequestError, match="cannot be read: No such file"):
            read_keys(tmp_path / "none.json")
