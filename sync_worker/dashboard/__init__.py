"""rq-dashboard in a process of its own, behind a guard.

What it changes about rq-dashboard 0.9: `guard.py` decides who may ask for what and requeues by the job book;
the pages get a client that can't write (`readonly.py`), jobs as the job book knows them (`shown.py`), and
templates without inline code that escape all they show (`templates.py`); `pages.py` puts them together.
"""
