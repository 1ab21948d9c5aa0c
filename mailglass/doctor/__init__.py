"""The doctor: checks of a whole set-up, each with what was seen, how to mend it and where to read on.

``examine`` runs the registered checks on a ``Patient``; a check never crashes the others.
"""

from __future__ import annotations

from mailglass.doctor.check import Check, Fault, Need, Result, Status, UnverifiableError
from mailglass.doctor.examination import CHECKS, examine, exit_code
from mailglass.doctor.patient import Patient, patient_from

__all__ = [
    "CHECKS",
    "Check",
    "Fault",
    "Need",
    "Patient",
    "Result",
    "Status",
    "UnverifiableError",
    "examine",
    "exit_code",
    "patient_from",
]
