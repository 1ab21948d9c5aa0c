"""What a newcomer writes in the first hour: a small application of each framework, and its mails."""

# ruff: noqa: INP001 - scripts are no package
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_ASKED: Final = """import sys
from uuid import UUID

from mailglass import EventType, Mailglass
from mailglass.testing import signed_webhook, webhook_endpoint

hook = signed_webhook(
    "postmark", EventType.DELIVERED, recipient="zoe@mail.example", delivery_id=UUID(sys.argv[1])
)
headers = {name: hook.headers.first(name) for name in ("Authorization", "Content-Type")}


def open_mail():
    return Mailglass.from_env(endpoints=[webhook_endpoint("postmark")])


"""
"""How each application begins to ask: with a signed report on the delivery that is named."""

_WELCOME: Final = 'Welcome(address="zoe@mail.example", name="Zoe")'

_SEND: Final = f"""from mails import Welcome
from mails.desk import desk

print(desk().deliver({_WELCOME}).id)
"""

_DJANGO: Final = """import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
django.setup()
"""

_SEND_DJANGO: Final = f"""{_DJANGO}
from mailglass.contrib.django import get_mailglass
from mails import Welcome

print(get_mailglass().deliver({_WELCOME}).id)
"""

_HOOK_DJANGO: Final = f"""{_DJANGO}
{_ASKED}from django.test import Client

from mailglass.contrib.django import using_mailglass

with open_mail() as mail, using_mailglass(mail):
    kind = headers.pop("Content-Type")
    answer = Client(SERVER_NAME="localhost").post(
        "/webhooks/postmark", data=hook.body, content_type=kind, headers=headers
    )
    print(answer.status_code)
"""

_FLASK: Final = f"""from flask import Flask

from mails import Welcome
from mails.desk import desk, pages

app = Flask("shop")
desk.init_app(app)
app.register_blueprint(pages)


@app.post("/join")
def join():
    return str(desk.mail.deliver({_WELCOME}).id)
"""

_SEND_FLASK: Final = """from app import app

print(app.test_client().post("/join").text)
"""

_HOOK_FLASK: Final = f"""{_ASKED}from app import app
from mailglass.contrib.flask import holder_of

with open_mail() as mail, holder_of(app).using(mail):
    answer = app.test_client().post("/webhooks/postmark", data=hook.body, headers=headers)
    print(answer.status_code)
"""

_FASTAPI: Final = f"""from fastapi import FastAPI

from mails import Welcome
from mails.desk import Mail, lifespan, router

app = FastAPI(lifespan=lifespan)
app.include_router(router)


@app.post("/join")
async def join(mail: Mail) -> str:
    return str((await mail.adeliver({_WELCOME})).id)
"""

_STARLETTE: Final = f"""from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from mails import Welcome
from mails.desk import lifespan, mailglass_of, routes


async def join(request):
    delivery = await mailglass_of(request).adeliver({_WELCOME})
    return JSONResponse(str(delivery.id))


app = Starlette(routes=[*routes, Route("/join", join, methods=["POST"])], lifespan=lifespan)
"""

_SEND_ASGI: Final = """from app import app
from starlette.testclient import TestClient

with TestClient(app) as client:
    print(client.post("/join").json())
"""

_HOOK_ASGI: Final = f"""{_ASKED}from app import app
from starlette.testclient import TestClient

with TestClient(app) as client, open_mail() as mail:
    mine, app.state.mailglass = app.state.mailglass, mail
    print(client.post("/webhooks/postmark", content=hook.body, headers=headers).status_code)
    app.state.mailglass = mine
"""

_HOOK_PLAIN: Final = f"""{_ASKED}with open_mail() as mail:
    print(mail.ingest("postmark", hook).status)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """What a framework needs: extras, the files that are written by hand, and a command before them."""

    extras: str
    files: Mapping[str, str]
    begin: tuple[str, ...] = ()


APPLICATIONS: Final[Mapping[str, Application]] = {
    "django": Application(
        extras="cli,embedded,testing,django",
        begin=("django-admin", "startproject", "shop", "."),
        files={"send.py": _SEND_DJANGO, "hook.py": _HOOK_DJANGO},
    ),
    "flask": Application(
        extras="cli,embedded,testing,flask",
        files={"app.py": _FLASK, "send.py": _SEND_FLASK, "hook.py": _HOOK_FLASK},
    ),
    "fastapi": Application(
        extras="cli,embedded,testing,fastapi",
        files={"app.py": _FASTAPI, "send.py": _SEND_ASGI, "hook.py": _HOOK_ASGI},
    ),
    "starlette": Application(
        extras="cli,embedded,testing,web",
        files={"app.py": _STARLETTE, "send.py": _SEND_ASGI, "hook.py": _HOOK_ASGI},
    ),
    "plain": Application(
        extras="cli,embedded,testing",
        files={"send.py": _SEND, "hook.py": _HOOK_PLAIN},
    ),
}
