"""Settings of the documentation: ``make docs``."""

project = "DSX Hub"
author = "The DSX Hub authors"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "DSX Hub"
myst_heading_anchors = 3
exclude_patterns = ["_build"]
nitpicky = True
