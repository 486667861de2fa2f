import pytest

from domain.errors import InvalidPaymentLinkError
from domain.money import UINT256_MAX
from domain.payment_links import PaymentLink, parse_link, parse_recipient, parse_target
from domain.transfers import Recipient

USER_ID = "usr_01JD3ZQ6V9K3E8M5T2R7W4X1YB"
REQUEST_ID = "mrq_01JD3ZQ6V9K3E8M5T2R7W4X1YB"


class TestLink:
    @pytest.mark.parametrize(
        ("link", "text"),
        [
            (PaymentLink(Recipient(handle="ada")), "strongroom:@ada"),
            (PaymentLink(Recipient(user_id=USER_ID)), f"strongroom:{USER_ID}"),
            (PaymentLink(Recipient(handle="ada"), "ETH"), "strongroom:@ada?asset=ETH"),
            (
                PaymentLink(Recipient(handle="ada"), "USDC.e", UINT256_MAX, REQUEST_ID),
                f"strongroom:@ada?asset=USDC.e&amount={UINT256_MAX}&request={REQUEST_ID}",
            ),
        ],
    )
    def test_is_written_and_read_back(self, link: PaymentLink, text: str) -> None:
        assert str(link) == text
        assert parse_link(text) == link

    def test_counts_upper_and_lower_case_as_the_same(self) -> None:
        assert parse_target("@Ada").recipient == parse_link("strongroom:@ADA").recipient

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "strongroom:",
            "strongroom:ada",
            "strongroom:@ab",
            "strongroom:@ada?",
            "strongroom:@ada?asset",
            "strongroom:@ada?asset=",
            "strongroom:@ada?asset=ETH&asset=USD",
            "strongroom:@ada?asset=ETH&amount=0",
            "strongroom:@ada?asset=ETH&amount=1.5",
            "strongroom:@ada?asset=ETH&amount=%31%0A",
            "strongroom:@ada?amount=1",
            "strongroom:@ada?asset=E%00TH",
            "strongroom:@ada?request=pay_01JD3ZQ6V9K3E8M5T2R7W4X1YB",
            "strongroom:@ada?to=@eve",
            "strongroom:@ada#@eve",
            "strongroom:@ada@eve",
            "strongroom://@ada",
            "STRONGROOM:@ada",
            "strongroom:@\u0430da",
            "strongroom:@" + "a" * 300,
            "https://example.org",
        ],
    )
    def test_is_refused_where_it_says_anything_else(self, text: str) -> None:
        with pytest.raises(InvalidPaymentLinkError):
            parse_link(text)

    @pytest.mark.parametrize("text", ["ada", "@", "usr_1", USER_ID.lower(), f" {USER_ID}", "@ada "])
    def test_recipient_is_an_id_or_a_handle(self, text: str) -> None:
        with pytest.raises(InvalidPaymentLinkError):
            parse_recipient(text)
