"""What receivers may do to us: nothing that costs more than one timeout."""

import socket
import ssl
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from tests.support.receiver import Receiver, drops, endless, never, receiving, status
from webhooks.sender import ANSWER_BYTES_MAX, Answer, SendError, WebhookSender


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving(Receiver()) as opened:
        yield opened


async def post(receiver: Receiver, **settings: Any) -> Answer:
    sender = WebhookSender(allows_loopback=True, **settings)
    return await sender.post(receiver.url, b'{"a": 1}', {"content-type": "application/json"})


class TestPost:
    async def test_tells_what_was_answered(self, receiver: Receiver) -> None:
        receiver.replies = [status(202, "thanks")]
        answer = await post(receiver)

        assert (answer.status_code, answer.text, answer.error) == (202, "thanks", None)
        assert answer.is_taken
        assert receiver.received[0].body == b'{"a": 1}'

    @pytest.mark.parametrize("code", [400, 404, 410, 429, 500, 503])
    async def test_tells_that_it_was_not_taken(self, receiver: Receiver, code: int) -> None:
        receiver.replies = [status(code, "no", Retry_After="120")]
        answer = await post(receiver)

        assert (answer.status_code, answer.is_taken) == (code, False)
        assert answer.retry_after_s == 120

    @pytest.mark.parametrize("value", ["Wed, 21 Oct 2099 07:28:00 GMT", "-1", "1.5", "9" * 30, ""])
    async def test_ignores_a_wish_that_is_no_number(self, receiver: Receiver, value: str) -> None:
        receiver.replies = [status(503, Retry_After=value)]
        assert (await post(receiver)).retry_after_s == 0

    @pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
    async def test_follows_no_redirect(self, receiver: Receiver, code: int) -> None:
        receiver.replies = [status(code, Location="/elsewhere")]
        answer = await post(receiver)

        assert (answer.status_code, answer.error) == (code, SendError.REDIRECT)
        assert not answer.is_taken
        assert len(receiver.received) == 1

    async def test_waits_no_longer_than_its_timeout(self, receiver: Receiver) -> None:
        receiver.replies = [never]
        answer = await post(receiver, timeout=timedelta(milliseconds=100))

        assert (answer.status_code, answer.error) == (None, SendError.TIMEOUT)
        assert 100 <= answer.duration_ms < 5_000

    async def test_reads_the_beginning_of_an_endless_answer(self, receiver: Receiver) -> None:
        receiver.replies = [endless]
        answer = await post(receiver)

        assert answer.is_taken
        assert answer.text == "x" * ANSWER_BYTES_MAX

    async def test_keeps_text_that_the_database_can_store(self, receiver: Receiver) -> None:
        async def binary(request: web.Request) -> web.StreamResponse:
            del request
            return web.Response(body=b"a\x00\xff\xfeb")

        receiver.replies = [binary]
        answer = await post(receiver)

        assert "\x00" not in answer.text
        assert answer.text.encode()

    async def test_unpacks_nothing(self, receiver: Receiver) -> None:
        async def packed(request: web.Request) -> web.StreamResponse:
            assert "accept-encoding" not in {name.lower() for name in request.headers}
            return web.Response(body=b"no gzip at all", headers={"Content-Encoding": "gzip"})

        receiver.replies = [packed]
        assert (await post(receiver)).text == "no gzip at all"

    async def test_tells_that_nobody_was_there(self, receiver: Receiver) -> None:
        receiver.replies = [drops]
        assert (await post(receiver)).error == SendError.UNREACHABLE
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            receiver.url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
            assert (await post(receiver)).error == SendError.UNREACHABLE

    async def test_insists_on_a_certificate(self, receiver: Receiver) -> None:
        receiver.url = receiver.url.replace("http://", "https://")
        answer = await post(receiver)

        assert answer.error in {SendError.TLS, SendError.UNREACHABLE}
        assert receiver.received == []
        assert WebhookSender()._tls.verify_mode == ssl.CERT_REQUIRED


class TestAddress:
    @pytest.mark.parametrize(
        "host",
        ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "127.1", "[::ffff:127.0.0.1]"],
    )
    async def test_of_this_machine_is_not_called_whatever_its_spelling(
        self, receiver: Receiver, host: str
    ) -> None:
        url = receiver.url.replace("127.0.0.1", host)
        answer = await WebhookSender().post(url, b"{}", {})

        assert answer.status_code is None
        assert answer.error in {SendError.FORBIDDEN_ADDRESS, SendError.MALFORMED}
        assert receiver.received == []

    async def test_is_judged_by_what_the_name_resolves_to(
        self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        port = int(receiver.url.rpartition(":")[2].partition("/")[0])
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_named: found)
        url = f"http://public.example:{port}/hook"

        answer = await WebhookSender().post(url, b"{}", {})
        assert answer.error == SendError.FORBIDDEN_ADDRESS
        assert receiver.received == []
        # The name does lead there: with the setting it is called.
        assert (await WebhookSender(allows_loopback=True).post(url, b"{}", {})).is_taken

    async def test_is_not_taken_from_a_proxy_of_the_environment(
        self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        assert (await post(receiver)).is_taken
