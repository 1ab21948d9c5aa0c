"""What the unsubscribe page says, in each language it knows, and the choice among them."""

# ruff: noqa: E501, RUF001 - a sentence stands on one line, and languages have their own apostrophes
from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

ACCEPT_LANGUAGE_CHARS_MAX: Final = 512
_RANGE: Final = re.compile(
    r"\s*([A-Za-z]{1,8})(?:-[A-Za-z0-9-]{1,40})?\s*(?:;\s*q=([01](?:\.\d{0,3})?))?\s*"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """The sentences of one language; ``direction`` is ``ltr`` or ``rtl``."""

    ask_title: str
    ask: str
    button: str
    done_title: str
    done: str
    invalid_title: str
    invalid: str
    failed_title: str
    failed: str
    direction: str = "ltr"


LANGUAGES: Final = MappingProxyType(
    {
        "ar": Texts(
            ask_title="هل تريد إلغاء الاشتراك؟",
            ask="لن تصلك بعد ذلك رسائل من هذا النوع. ستصلك الرسائل الضرورية لحسابك كما كانت.",
            button="إلغاء الاشتراك",
            done_title="تم إلغاء اشتراكك",
            done="لن تصلك رسائل من هذا النوع بعد الآن. يمكنك إغلاق هذه الصفحة.",
            invalid_title="هذا الرابط لا يعمل",
            invalid="قد يكون الرابط ناقصًا أو قديمًا جدًا. افتحه مرة أخرى من الرسالة.",
            failed_title="لم ينجح ذلك",
            failed="لم نتمكن من حفظ طلبك. حاول مرة أخرى بعد قليل.",
            direction="rtl",
        ),
        "de": Texts(
            ask_title="Möchten Sie sich abmelden?",
            ask="Sie erhalten dann keine E-Mails dieser Art mehr. Was für Ihr Konto nötig ist, kommt weiterhin.",
            button="Abmelden",
            done_title="Sie sind abgemeldet",
            done="Sie erhalten keine E-Mails dieser Art mehr. Sie können diese Seite schließen.",
            invalid_title="Dieser Link funktioniert nicht",
            invalid="Der Link ist unvollständig oder zu alt. Öffnen Sie ihn noch einmal aus der E-Mail.",
            failed_title="Das hat nicht geklappt",
            failed="Ihre Abmeldung konnte nicht gespeichert werden. Bitte versuchen Sie es gleich noch einmal.",
        ),
        "en": Texts(
            ask_title="Do you want to unsubscribe?",
            ask="You will get no more emails of this kind. What your account needs will still reach you.",
            button="Unsubscribe",
            done_title="You are unsubscribed",
            done="You will get no more emails of this kind. You can close this page.",
            invalid_title="This link does not work",
            invalid="The link is incomplete or too old. Please open it from the email once more.",
            failed_title="That did not work",
            failed="We could not save your request. Please try again in a moment.",
        ),
        "es": Texts(
            ask_title="¿Quiere darse de baja?",
            ask="No recibirá más correos de este tipo. Los necesarios para su cuenta seguirán llegando.",
            button="Darse de baja",
            done_title="Se ha dado de baja",
            done="No recibirá más correos de este tipo. Puede cerrar esta página.",
            invalid_title="Este enlace no funciona",
            invalid="El enlace está incompleto o es demasiado antiguo. Ábralo otra vez desde el correo.",
            failed_title="No ha funcionado",
            failed="No hemos podido guardar su solicitud. Inténtelo de nuevo en un momento.",
        ),
        "fr": Texts(
            ask_title="Voulez-vous vous désabonner ?",
            ask="Vous ne recevrez plus d’e-mails de ce type. Ceux dont votre compte a besoin arriveront toujours.",
            button="Se désabonner",
            done_title="Vous êtes désabonné",
            done="Vous ne recevrez plus d’e-mails de ce type. Vous pouvez fermer cette page.",
            invalid_title="Ce lien ne fonctionne pas",
            invalid="Le lien est incomplet ou trop ancien. Ouvrez-le de nouveau depuis l’e-mail.",
            failed_title="Cela n’a pas fonctionné",
            failed="Votre demande n’a pas pu être enregistrée. Réessayez dans un instant.",
        ),
        "it": Texts(
            ask_title="Vuole annullare l’iscrizione?",
            ask="Non riceverà più e-mail di questo tipo. Quelle necessarie al suo account continueranno ad arrivare.",
            button="Annulla l’iscrizione",
            done_title="Iscrizione annullata",
            done="Non riceverà più e-mail di questo tipo. Può chiudere questa pagina.",
            invalid_title="Questo link non funziona",
            invalid="Il link è incompleto o troppo vecchio. Lo apra di nuovo dall’e-mail.",
            failed_title="Non ha funzionato",
            failed="La richiesta non è stata salvata. Riprovi tra un momento.",
        ),
        "nl": Texts(
            ask_title="Wilt u zich afmelden?",
            ask="U krijgt dan geen e-mails van deze soort meer. Wat nodig is voor uw account blijft komen.",
            button="Afmelden",
            done_title="U bent afgemeld",
            done="U krijgt geen e-mails van deze soort meer. U kunt deze pagina sluiten.",
            invalid_title="Deze link werkt niet",
            invalid="De link is onvolledig of te oud. Open hem nog een keer vanuit de e-mail.",
            failed_title="Dat is niet gelukt",
            failed="Uw verzoek kon niet worden opgeslagen. Probeer het zo nog eens.",
        ),
        "pt": Texts(
            ask_title="Quer cancelar a subscrição?",
            ask="Deixará de receber e-mails deste tipo. Os necessários para a sua conta continuarão a chegar.",
            button="Cancelar a subscrição",
            done_title="Subscrição cancelada",
            done="Não receberá mais e-mails deste tipo. Pode fechar esta página.",
            invalid_title="Esta ligação não funciona",
            invalid="A ligação está incompleta ou é demasiado antiga. Abra-a de novo a partir do e-mail.",
            failed_title="Não foi possível",
            failed="O seu pedido não foi guardado. Tente de novo dentro de momentos.",
        ),
    }
)
"""The languages, by their primary subtag (RFC 5646 §2.2.1)."""


def language_of(accept_language: str, *, default: str) -> str:
    """Return the language of ours that the reader likes best, else ``default`` (RFC 9110 §12.5.4)."""
    liked: list[tuple[float, str]] = []
    for one in accept_language[:ACCEPT_LANGUAGE_CHARS_MAX].split(","):
        found = _RANGE.fullmatch(one)
        if found is not None and (language := found[1].lower()) in LANGUAGES:
            liked.append((float(found[2] or 1), language))
    best = max(liked, key=lambda pair: pair[0], default=(0.0, default))
    return best[1] if best[0] > 0 else default
