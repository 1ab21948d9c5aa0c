"""The front desk of the Flask application, and its pages for providers and readers.

Call ``desk.init_app(app)`` and ``app.register_blueprint(pages)`` where the application is made; then
``desk.mail.deliver(…)``. Leave ``pages`` out of login and CSRF checks.
"""

from mailglass.contrib.flask import FlaskMailglass, mail_pages
from mailglass.web.page import Theme

desk = FlaskMailglass()
# POST /webhooks/<provider> for what providers report, and /unsubscribe/… for who leaves.
pages = mail_pages(theme=Theme(name="Shop"))
