"""A page of buttons for the hands of a simulated machine: what people do to the real one, beside its own screen.

`Hands` say what there is to see and to do; the page draws it from the design kit and marks it as a simulation. Serve it
on 127.0.0.1 only: who opens it has the machine.
"""

from simulators.panel.app import create_panel, running_panel
from simulators.panel.parts import Act, Both, Choice, Fact, Hands, Section, Tone

__all__ = ["Act", "Both", "Choice", "Fact", "Hands", "Section", "Tone", "create_panel", "running_panel"]
