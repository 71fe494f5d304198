"""Memory of a serving process, in a process of its own: the collector is one for all."""

from __future__ import annotations

import subprocess
import sys

_SCRIPT = """
import gc
from issuance.serving import settle_memory
class Node: pass
def ring():
    node = Node(); node.self = node
settle_memory()
kept, young = gc.get_freeze_count(), len(gc.get_objects())
for _ in range(30_000): ring()
left = sum(type(found) is Node for found in gc.get_objects())
print(kept > 1000, young < kept / 10, left < 25_000)
"""


def test_what_was_there_stays_and_new_garbage_is_found() -> None:
    run = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["True", "True", "True"]
