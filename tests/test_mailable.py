"""Mailables: definitions that are checked when they are used, and never show a value."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from front_desk import front_desk, note, rows, write_templates
from mailglass import ConfigError, Mailable, SendError, Stream
from mailglass.adapters import Capabilities
from mailglass.adapters.fake import FakeAdapter
from mailglass.demo.mailables import Receipt, Welcome
from mailglass.errors import ConfigErrorType
from mailglass.rendering.render import Renderer

CANARY = "canary7f3a"


class Typed(Mailable):
    """A mailable with a typed field."""

    stream = Stream.OPERATIONAL
    sender = "Shop <orders@shop.example>"
    subject = "Hello"
    template = "typed.html.jinja"

    number: int

    def to(self) -> str:
        """Return a customer."""
        return "zoe@mail.example"


@pytest.mark.parametrize("fields", [{}, {"number": CANARY}, {"number": 1, "other": CANARY}])
def test_a_wrong_field_is_told_when_the_mail_is_built(fields: dict[str, object]) -> None:
    """A missing, mistyped or unknown variable, without its value."""
    with pytest.raises(ValidationError) as caught:
        Typed(**fields)  # type: ignore[arg-type]  # the point
    assert CANARY not in str(caught.value)


def test_a_mailable_cannot_be_changed() -> None:
    """What was checked is what is rendered."""
    mailable = Typed(number=1)
    with pytest.raises(ValidationError):
        mailable.number = 2


def test_class_attributes_are_no_fields() -> None:
    """Only what is declared with a type is a variable of the template."""
    assert Typed(number=1).variables() == {"number": 1}
    assert Typed.qualified_name().endswith(".Typed")


def test_without_to_it_is_told_which_class_lacks_it() -> None:
    """The one method that has to be there."""

    class Nobody(Mailable):
        """A mailable that is for nobody."""

    with pytest.raises(TypeError, match="Nobody must define to"):
        Nobody().to()


@pytest.mark.parametrize("kind", [Welcome, Receipt])
def test_the_demos_mails_render_from_their_own_folder(kind: type[Mailable]) -> None:
    """Templates are found beside the module, a text template beside the HTML."""
    for mailable in kind.previews().values():
        message = Renderer().render(mailable)
        assert message.html is not None
        assert message.text is not None
        assert "Zoë" in message.text
        assert 'style="' in message.html
        assert message.mailable == kind.qualified_name()


def test_configured_folders_go_before_those_beside_the_module(tmp_path: Path) -> None:
    """An application can replace a template of a package."""
    write_templates(tmp_path, welcome__html="<p>ours, {{ name }}</p>")
    message = Renderer([tmp_path]).render(Welcome(address="zoe@mail.example", name="Zoë"))
    assert message.html == "<p>ours, Zoë</p>"


def test_what_an_adapter_cannot_carry_is_refused_before_any_row(database_url: str) -> None:
    """An address with letters beyond ASCII needs SMTPUTF8 (RFC 6531)."""

    class Old(FakeAdapter):
        @property
        def capabilities(self) -> Capabilities:
            return Capabilities()

    with front_desk(database_url, Old()) as mail, pytest.raises(SendError) as caught:
        mail.deliver(note(cc="jürgen@mail.example"))
    assert caught.value.code == "smtputf8_unsupported"
    assert "jürgen" not in str(caught.value)
    assert rows(database_url) == {"messages": 0, "deliveries": 0, "events": 0}


def test_a_field_that_hides_a_method_is_refused_when_the_class_is_made() -> None:
    """`to: str` would leave the mail without recipients; the hint says what to do."""
    with (
        pytest.warns(UserWarning, match="shadows an attribute"),
        pytest.raises(ConfigError) as caught,
    ):
        type("Hidden", (Mailable,), {"__annotations__": {"to": str}, "__module__": __name__})
    assert caught.value.type is ConfigErrorType.CONFLICTING
    assert caught.value.key == "Hidden.to"
    assert "to()" in (caught.value.hint or "")
