"""``python -m roomcast``.

Layer: cli.
"""

from roomcast.cli import main

main()
