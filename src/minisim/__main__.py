"""``python -m minisim``."""

from minisim.cli import main

main(prog_name="minisim")
