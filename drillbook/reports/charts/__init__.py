"""Charts as inline SVG: no script, no library, readable in a browser, in a mail, on paper and by a screen reader.

``story`` stacks the panels over one time axis; ``waterfall`` draws the legs of the recovery. Colours and fonts come
from the style sheet by class, so one drawing serves light, dark and print.
"""

from __future__ import annotations
