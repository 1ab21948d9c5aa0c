"""The mail that greets a new customer; an example to copy."""

from collections.abc import Mapping

from mailglass import Mailable, Stream


class Welcome(Mailable):
    """Greets a new customer."""

    stream = Stream.TRANSACTIONAL
    sender = "Shop <hello@shop.example>"
    subject = "Welcome, {{ name }}"
    template = "welcome.html.jinja"

    address: str
    name: str
    url: str = "https://shop.example/account"

    def to(self) -> str:
        """Return the customer."""
        return self.address

    @classmethod
    def previews(cls) -> Mapping[str, Mailable]:
        """Return examples for previews and tests."""
        return {"default": cls(address="zoe@mail.example", name="Zoë")}
