"""The front desk of the Flask application.

Call ``desk.init_app(app)`` where the application is made; then ``desk.mail.deliver(…)``.
"""

from mailglass.contrib.flask import FlaskMailglass

desk = FlaskMailglass()
