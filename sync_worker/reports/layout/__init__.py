"""How text and tables fit a page: measured, arranged and broken."""
