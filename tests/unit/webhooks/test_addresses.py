import pytest

from domain.errors import InvalidWebhookUrlError
from webhooks.addresses import check_url, is_allowed

PRIVATE = [
    "0.0.0.0",  # noqa: S104
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "192.168.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "2001:0:7f00:1::",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2001:db8::1",
    "3fff::1",
    "fc00::1",
    "fd00::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "not an address",
    "",
]
PUBLIC = ["1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "::ffff:1.1.1.1"]


class TestAddress:
    @pytest.mark.parametrize("address", PRIVATE)
    def test_that_is_not_public_is_refused(self, address: str) -> None:
        assert not is_allowed(address, allows_loopback=False)

    @pytest.mark.parametrize("address", PUBLIC)
    def test_that_is_public_is_allowed(self, address: str) -> None:
        assert is_allowed(address, allows_loopback=False)

    @pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "::1"])
    def test_of_this_machine_is_allowed_by_the_setting_alone(self, address: str) -> None:
        assert is_allowed(address, allows_loopback=True)

    @pytest.mark.parametrize("address", ["10.0.0.1", "169.254.169.254", "fd00::1", "0.0.0.0"])  # noqa: S104
    def test_of_the_network_is_refused_with_the_setting_too(self, address: str) -> None:
        assert not is_allowed(address, allows_loopback=True)


class TestUrl:
    @pytest.mark.parametrize(
        "url",
        [
            "https://shop.example/hook",
            "https://shop.example:8443/hook?token=x",
            "https://1.1.1.1/",
            "https://[2606:4700:4700::1111]/hook",
            "https://xn--bcher-kva.example/",
        ],
    )
    def test_that_is_public_https_is_taken(self, url: str) -> None:
        check_url(url, allows_loopback=False)

    @pytest.mark.parametrize(
        "url",
        [
            "http://shop.example/hook",
            "ftp://shop.example/hook",
            "file:///etc/passwd",
            "shop.example",
            "https://",
            "https:///hook",
            "https://user@shop.example/",
            "https://user:secret@shop.example/",
            "https://shop.example/#part",
            "https://shop.example:0/",
            "https://shop.example:99999/",
            "https://shop.example:port/",
            "https://shop.example/a b",
            "https://shop.example/\r\nHost: other",
            "https://b\u00fccher.example/",
            "https://[::1/",
            "https://10.0.0.1/",
            "https://169.254.169.254/latest/meta-data",
            "https://[fd00::1]/",
            "https://127.0.0.1/",
            "https://localhost/",
            "http://127.0.0.1/",
            "https://shop.example/" + "x" * 2_000,
        ],
    )
    def test_of_any_other_form_is_refused(self, url: str) -> None:
        with pytest.raises(InvalidWebhookUrlError):
            check_url(url, allows_loopback=False)

    @pytest.mark.parametrize(
        "url",
        ["http://127.0.0.1:9000/", "http://localhost/", "http://[::1]/", "https://localhost/"],
    )
    def test_of_this_machine_is_taken_by_the_setting_alone(self, url: str) -> None:
        check_url(url, allows_loopback=True)
        with pytest.raises(InvalidWebhookUrlError):
            check_url(url, allows_loopback=False)

    @pytest.mark.parametrize("url", ["http://shop.example/", "http://10.0.0.1/"])
    def test_without_tls_is_of_this_machine_alone(self, url: str) -> None:
        with pytest.raises(InvalidWebhookUrlError):
            check_url(url, allows_loopback=True)
