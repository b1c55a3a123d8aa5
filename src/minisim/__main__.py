"""``python -m minisim``."""

from minisim_start import main

main()
