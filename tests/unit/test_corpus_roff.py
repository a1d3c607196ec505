"""Manual pages become the text a reader sees."""

from tasks.corpus.roff import page_text

MAN_PAGE = r"""'\" t
.\" a comment
.TH LS 1 "September 2022"
.ie \n(.g .ds Aq \(aq
.el       .ds Aq '
.if n \{\
.  nh
.  ds UX UNIX
.\}
.if t \{\
Only on paper.
.\}
.de Weg
Not read.
..
.SH BEZEICHNUNG
ls \- Verzeichnisinhalte auflisten
.SH BESCHREIBUNG
Auflistung von Informationen über die \fIDATEI\fPen, z.\ B.
unter \*(UX mit \*(Aqls\*(Aq\ \(bu fertig.\" hidden
.PP
Siehe
.BR ls (1),
.UR https://example.org
die Seite
.UE .
.TP
\fB\-a\fP, \fB\-\-all\fP
Einträge nicht
ignorieren
.IP \(bu 2
Ein Punkt
.nf
int main(void)
    return 0;
.fi
.TS
tab(:);
l l.
Funktion:Wert
T{
.sp
Eine Zelle, deren Text so lang ist, dass sie ein Absatz für sich sein muss
T}:1
.TE
"""


def test_man_page_by_hand():
    assert page_text(MAN_PAGE).splitlines() == [
        "BEZEICHNUNG",
        "ls - Verzeichnisinhalte auflisten",
        "BESCHREIBUNG",
        "Auflistung von Informationen über die DATEIen, z. B. unter UNIX mit 'ls' • fertig.",
        "Siehe ls(1), die Seite <https://example.org>.",
        "-a, --all",
        "Einträge nicht ignorieren",
        "• Ein Punkt",
        "int main(void)",
        "    return 0;",
        "Funktion  Wert",
        "Eine Zelle, deren Text so lang ist, dass sie ein Absatz für sich sein muss",
        "1",
    ]


MDOC_PAGE = r""".Dd $Mdocdate$
.Dt SCP 1
.Os
.Sh BEZEICHNUNG
.Nm scp
.Nd Sicheres Kopieren
.Sh ÜBERSICHT
.Nm
.Op Fl 46v
.Op Fl c Ar Chiffre
.Ar Quelle
.Sh BESCHREIBUNG
.Nm
nutzt eine
.Xr ssh 1
Verbindung (siehe
.Dq Optionen ) .
.Bl -tag -width Ds
.It Fl c Ar Chiffre
Wählt die Chiffre.
.El
.Bl -bullet
.It
Ein Punkt
.El
.Bd -literal
a  =  b
.Ed
"""


def test_mdoc_page_by_hand():
    assert page_text(MDOC_PAGE).splitlines() == [
        "BEZEICHNUNG",
        "scp – Sicheres Kopieren",  # noqa: RUF001
        "ÜBERSICHT",
        "scp [-46v] [-c Chiffre] Quelle",
        "BESCHREIBUNG",
        "scp nutzt eine ssh(1) Verbindung (siehe “Optionen”).",
        "-c Chiffre",
        "Wählt die Chiffre.",
        "• Ein Punkt",
        "a  =  b",
    ]


def test_an_alias_page_is_empty():
    assert page_text(".so man1/ls.1\n") == ""


def test_escapes_that_only_steer_the_printer_leave_nothing():
    line = r"\h'-04'\s-2A\s0\m[blue]B\m[]\v'1'\zC\u\d\&\:\%\/\,D\f(CWE\fR\F[C]"
    assert page_text(line) == "ABCDE\n"


def test_special_characters_in_all_spellings():
    line = r"\(:a \[:o] \[u00FC] \N'223' \[char176] \e \(rs \(aq \[ha] \~x\0y"
    assert page_text(line) == "ä ö ü ß ° \\ \\ ' ^ x y\n"


def test_a_backslash_at_the_end_joins_lines():
    assert page_text("eins\\\nzwei\n") == "einszwei\n"
