"""Publishing: what must hold before a deploy, checked together, and the goldens that a person reviews.

``examine`` looks and changes nothing; ``accept`` writes the goldens, and nothing else does.
"""

from __future__ import annotations

from mailglass.publishing.checks import Candidate, Findings, examine
from mailglass.publishing.goldens import Difference, Kind, accept, compare, read_goldens
from mailglass.publishing.pictures import Camera

__all__ = [
    "Camera",
    "Candidate",
    "Difference",
    "Findings",
    "Kind",
    "accept",
    "compare",
    "examine",
    "read_goldens",
]
