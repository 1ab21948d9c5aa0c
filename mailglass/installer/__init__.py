"""The installer: writes a mailing package into an application, and never over what somebody edited.

``plan`` is pure: it takes what a project holds and returns the steps. ``apply`` takes them.
"""

from __future__ import annotations

from mailglass.installer.apply import apply
from mailglass.installer.first_steps import first_steps
from mailglass.installer.manifest import MANIFEST, Manifest
from mailglass.installer.plan import Action, Plan, Step, plan, plan_removal
from mailglass.installer.project import Framework, Project, read_project

__all__ = [
    "MANIFEST",
    "Action",
    "Framework",
    "Manifest",
    "Plan",
    "Project",
    "Step",
    "apply",
    "first_steps",
    "plan",
    "plan_removal",
    "read_project",
]
