"""``python -m drillbook``."""

from drillbook.cli.main import main

main(prog_name="drillbook")
