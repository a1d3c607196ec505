"""Help pages and package descriptions become their running text."""

import pytest

from tasks.corpus.apt_descriptions import package_descriptions
from tasks.corpus.package_files import documentation_format, is_wanted
from tasks.corpus.web_pages import html_text, mallard_text


def test_page_furniture_is_dropped_and_blocks_are_lines():
    page = """<html><head><title>T</title><style>x{}</style></head><body>
      <nav>Menü</nav><div class="navheader">Zurück</div><header>Kopf</header>
      <h1>Über&shy;schrift</h1><p>Ein
      <b>fetter</b>   Absatz<br>in zwei Zeilen.</p>
      <ul><li><p>Punkt</p></li></ul><script>alert()</script>
      <pre>for x:\n    pass</pre>
      <table><tr><td> </td><th>Art</th><td>Wert</td></tr></table>
      <div class="toc">Inhalt</div></body></html>"""
    assert html_text(page).splitlines() == [
        "Überschrift",
        "Ein fetter Absatz",
        "in zwei Zeilen.",
        "Punkt",
        "for x:",
        "    pass",
        "Art  Wert",
    ]


def test_one_of_several_hidden_alternatives_is_kept():
    page = """<p>Drücken Sie <span class="switchinline"><span hidden="true" id="MACx">Befehl</span>
      <span hidden="true" id="defaultx">Strg</span></span>+S oder <span class="switchinline"><span
      hidden="true" id="WRITERx">F8</span><span hidden="true" id="CALCx">F8</span></span>.</p>"""
    assert html_text(page) == "Drücken Sie Strg+S oder F8.\n"


def test_deeply_nested_page_is_read():
    assert html_text("<div>" * 3000 + "tief" + "</div>" * 3000) == "tief\n"


def test_mallard_page_keeps_titles_and_drops_credits():
    page = """<?xml version="1.0"?><page><info><credit><name>N</name></credit></info>
      <title>Der <gui>Titel</gui></title><p>Text mit <cmd>ls</cmd>.</p>
      <list><item><p>Punkt</p></item></list></page>"""
    assert mallard_text(page).splitlines() == ["Der Titel", "Text mit ls.", "Punkt"]


TRANSLATION = """Package: a
Description-md5: 1
Description-de: Kurze Beschreibung
 Ein Absatz über
 zwei Zeilen.
 .
 Funktionen:
  * erste Funktion
    geht weiter
  * zweite
 .
   code  bleibt

Package: b
Description-en: not this language
 text
"""


def test_descriptions_are_one_document_a_package():
    (document,) = package_descriptions(TRANSLATION, "de")
    assert document.splitlines() == [
        "Kurze Beschreibung",
        "Ein Absatz über zwei Zeilen.",
        "Funktionen:",
        "* erste Funktion geht weiter",
        "* zweite",
        "code bleibt",
    ]


@pytest.mark.parametrize(
    ("path", "package", "german", "english"),
    [
        ("usr/share/man/de/man1/ls.1.gz", "manpages-de", "man", None),
        ("usr/share/man/man1/ls.1.gz", "manpages", None, "man"),
        ("usr/share/doc/handbook/html/de-DE/a.html", "handbook", "html", None),
        ("usr/share/doc/handbook/html/en-US/a.html", "handbook", None, "html"),
        ("usr/share/doc/handbook/html/fr-FR/a.html", "handbook", None, None),
        ("usr/share/debian-reference/ch01.de.html", "debian-reference-de", "html", None),
        ("usr/share/maint/index.html", "maint-guide-de", "html", None),
        ("usr/share/maint/index.html", "maint-guide", None, "html"),
        ("usr/share/help/C/gnome-help/a.page", "gnome-user-docs", None, "mallard"),
        ("usr/share/help/de/gnome-help/a.page", "gnome-user-docs", "mallard", None),
        ("usr/share/doc/manpages-de/copyright", "manpages-de", None, None),
        ("usr/share/doc/x-de/README.html", "x-de", None, None),
        ("usr/share/doc/x-de/picture.png", "x-de", None, None),
    ],
)
def test_which_files_belong_to_a_language(
    path: str, package: str, german: str | None, english: str | None
):
    assert documentation_format(path, "de", package) == german
    assert documentation_format(path, "en", package) == english


def test_globs_choose_and_exclude():
    assert is_wanted("usr/share/a/b.html", (), ())
    assert is_wanted("usr/share/a/b.html", ("usr/share/a/*",), ())
    assert not is_wanted("usr/share/a/b.html", ("usr/share/c/*",), ())
    assert not is_wanted("usr/share/a/b.html", (), ("*/b.html",))
