"""A shop in Django: an order and its receipt are one transaction.

Make the tables, serve it, and run a worker beside it::

    python manage.py migrate
    python manage.py runserver
    python manage.py mailglass worker
    curl --json '{"number": 7, "total": "11.50", "customer": "zoe@mail.example"}' localhost:8000/orders
"""
