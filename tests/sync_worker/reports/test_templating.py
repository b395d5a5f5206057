"""Templates: sandboxed, strict, escaped; the operator's folder goes first."""

import signal
from pathlib import Path
from typing import Any

import pytest

from tandem.shared.config.settings import Settings
from tandem.shared.errors import FinalError
from tandem.sync_worker.reports import bounds, templating
from tandem.sync_worker.reports.money import MINUS


class Folder:
    """The operator's own templates."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings = Settings(_env_file=None, templates=path)

    def write(self, name: str, text: str) -> None:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def render(self, text: str, **data: Any) -> str:
        self.write("report/mine.html", text)
        return templating.render(self.settings, kind="report", name="mine", context={**data, "data": data})

    def fail(self, text: str, **data: Any) -> FinalError:
        with pytest.raises(FinalError) as caught:
            self.render(text, **data)
        return caught.value


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.mark.parametrize(
    "escape",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ ''['__class__'] }}",
        "{{ ''|attr('__class__') }}",
        "{{ '{0.__class__.__init__}'.format(1) }}",
        "{{ ('%c' | format(95)).__class__ }}",
        "{{ self.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ lipsum.__globals__['os'] }}",
        "{{ data.rows.append(1) }}",
        "{{ data.rows.pop() }}",
        "{{ range(10000000) | list }}",
        "{% include '/etc/hostname' %}",
        "{% include '../../../../../../etc/hostname' %}",
        "{% import 'os' as os %}",
    ],
)
def test_a_template_can_not_leave_the_sandbox(folder: Folder, escape: str) -> None:
    error = folder.fail(escape, rows=[1])
    assert error.type == "template_error"
    assert not error.retryable


# What is raised while Python finalizes an object is dropped, and raised again.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "endless",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% for a in [[0]] recursive %}{{ loop([[1]] * 9) if loop.depth < 60 }}{% endfor %}",
        (
            "{% set n = 99999 %}{% macro m() %}{% for _ in range(n) %}{% endfor %}{% endmacro %}"
            "{% for _ in range(n) %}{{ m() }}{% endfor %}"
        ),
    ],
)
def test_a_template_that_loops_for_ever_ends(folder: Folder, endless: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_SECONDS", 0.2)
    error = folder.fail(endless)
    assert error.type == "template_error"
    assert error.message == "report template 'mine': it did not come to an end within 0.2 s of computing"


def test_what_is_interrupted_once_more_as_it_ends_ends_as_well(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a busy machine, where the time of computing is counted late and much at once."""
    set_timer = signal.setitimer

    def interrupt_at_the_end(which: int, seconds: float, *again: float) -> object:
        if seconds == 0:
            monkeypatch.setattr(signal, "setitimer", set_timer)
            signal.raise_signal(signal.SIGVTALRM)
        return set_timer(which, seconds, *again)

    monkeypatch.setattr(signal, "setitimer", interrupt_at_the_end)
    monkeypatch.setattr(bounds, "MAX_SECONDS", 0.05)
    error = folder.fail("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}")
    assert error.message == "report template 'mine': it did not come to an end within 0.05 s of computing"


def test_a_template_that_writes_without_end_ends(folder: Folder) -> None:
    error = folder.fail("{% for a in range(99999) %}{{ word }}{% endfor %}", word="x" * 1000)
    assert error.message == "report template 'mine': it writes more than 10,000,000 characters"


def test_a_missing_variable_is_named_with_its_line(folder: Folder) -> None:
    error = folder.fail("<p>\n{{ missing }}")
    assert error.type == "template_error"
    assert error.message == "report template 'mine' (mine.html, line 2): 'missing' is undefined"


def test_a_missing_field_is_named_with_what_was_given(folder: Folder) -> None:
    error = folder.fail("{{ data.buyer.nme.first }}", buyer={"name": "Ada", "city": "London"})
    assert "field 'nme' is missing (given here: name, city)" in error.message


@pytest.mark.parametrize(("text", "hint"), [("{% for %}", "line 1: Expected an expression"), ("{{ 1 + 'a' }}", "int")])
def test_a_wrong_template_is_named(folder: Folder, text: str, hint: str) -> None:
    error = folder.fail(text)
    assert error.type == "template_error"
    assert "mine" in error.message
    assert hint in error.message


def test_html_is_escaped_and_text_is_not(folder: Folder) -> None:
    for suffix in ("html", "txt"):
        folder.write(f"mail/hi.{suffix}", "Hello {{ name }}")
    context = {"name": "<b>&"}
    html = templating.render(folder.settings, kind="mail", name="hi", context=context)
    text = templating.render(folder.settings, kind="mail", name="hi", context=context, format="txt")
    assert html == "Hello &lt;b&gt;&amp;"
    assert text == "Hello <b>&"


@pytest.mark.parametrize(
    "name", ["nope", "../mail/welcome", "/etc/passwd", "report/../mine", "mine.html", "", "base", ".", "mine\0"]
)
def test_an_unknown_template_lists_those_there_are(folder: Folder, name: str) -> None:
    folder.write("report/mine.html", "hi")
    with pytest.raises(FinalError, match="there are: article, invoice, mine, table") as caught:
        templating.render(folder.settings, kind="report", name=name, context={})
    assert caught.value.type == "unknown_template"


def test_names_and_formats(folder: Folder) -> None:
    folder.write("mail/only_text.txt", "hi")
    assert "only_text" in templating.names(folder.settings, kind="mail")
    assert templating.exists(folder.settings, kind="mail", name="only_text", format="txt")
    assert not templating.exists(folder.settings, kind="mail", name="only_text")


def test_the_operators_template_goes_before_ours_and_may_extend_it(folder: Folder) -> None:
    folder.write("report/article.html", '{% extends "base.html" %}{% block body %}Mine, {{ who }}{% endblock %}')
    html = templating.render(folder.settings, kind="report", name="article", context={"who": "Ada", "title": "T"})
    assert "Mine, Ada" in html
    assert "@page" in html


def test_a_changed_template_counts_at_once(folder: Folder) -> None:
    assert folder.render("one") == "one"
    assert folder.render("and two") == "and two"


def test_filters_for_own_templates(folder: Folder) -> None:
    text = '{{ x | money("EUR") }} {{ y | money("JPY") }} {{ z | money("CHF") }} {{ n | number(1) }} {{ m | markdown }}'
    assert folder.render(text, x=-1234.005, y=99.5, z=0.1, n=1234.5, m="**<b>**") == (
        f"{MINUS}€1,234.01 ¥100 CHF\N{NO-BREAK SPACE}0.10 1,234.5 <p><strong>&lt;b&gt;</strong></p>\n"
    )


def test_preload_survives_a_broken_template(folder: Folder) -> None:
    folder.write("report/broken.html", "{% for %}")
    folder.write("report/whole.html", "{{ data }}")
    templating.preload(folder.settings)
    cache = templating._environment(folder.settings.templates, "report").cache
    assert cache is not None
    loaded = {name for _, name in cache}
    assert loaded >= {"whole.html", "base.html"}
    assert "broken.html" not in loaded
