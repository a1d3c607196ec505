"""Choices of the corpus stages: where text comes from, what is dropped, how much is kept."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tasks.shared.config import PLACE, StageConfig
from tasks.shared.sources import REPO_ID

FileFormat = Literal["txt", "md", "rst", "html", "py", "jsonl", "parquet"]
PackageFormat = Literal["man", "html", "mallard", "txt", "fortune"]
Refresh = Literal["never", "if_missing", "always"]


class SourceConfig(StageConfig):
    """What every source has."""

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    """Name in every table; unique in the corpus."""
    heldout_only: bool = False
    """Never train on it: all its documents go to the held-out suite ``suite``."""
    suite: str = Field(default="", pattern=r"^[a-z0-9_]*$")
    """Name of the suite of a ``heldout_only`` source, such as ``general``."""

    @model_validator(mode="after")
    def _suite_belongs_to_heldout(self) -> "SourceConfig":
        if self.heldout_only != bool(self.suite) or self.suite == "heldout":
            raise ValueError(
                f"source {self.name}: heldout_only is {self.heldout_only} and suite is "
                f"{self.suite!r}; give both or neither, and a suite not named 'heldout'."
            )
        return self


class FilesSource(SourceConfig):
    """Files on this machine or in a bucket."""

    kind: Literal["files"] = "files"
    paths: Annotated[tuple[str, ...], PLACE] = Field(min_length=1)
    """Files and globs (``**`` crosses folders), local or ``s3://``; each must match something."""
    format: FileFormat | None = None
    """Read every file as this; none: by its suffix, ``.gz`` on top allowed."""
    text_field: str = "text"
    """Field of a JSON line, or Parquet column, that holds a document's text."""


class PythonStandardLibrary(SourceConfig):
    """The ``.py`` files of the running interpreter's standard library."""

    kind: Literal["python_standard_library"] = "python_standard_library"
    include_tests: bool = False
    """Also its test packages, which some distributions leave out."""


class DebianPackages(SourceConfig):
    """Documentation in Debian packages, downloaded and unpacked without root or installation."""

    kind: Literal["debian_packages"] = "debian_packages"
    packages: tuple[str, ...] = ()
    """Names of packages."""
    language: str = Field(pattern=r"^[a-z]{2,3}(_[A-Z]{2})?$")
    """Code of the language, as in ``/usr/share/man/de``."""
    english_edition: tuple[str, ...] = ()
    """Packages whose English text is read only to drop lines that stand in both; a package may
    carry both editions."""
    translated_descriptions: bool = False
    """Also APT's translated descriptions of all packages in that language."""
    paths: tuple[str, ...] = ()
    """Globs over the paths inside the packages; none: man pages and help pages of the language."""
    format: PackageFormat | None = None
    """Read every file of ``paths`` as this; none: by its path and suffix."""
    exclude: tuple[str, ...] = ()
    """Globs over the paths inside the packages to leave out."""

    @model_validator(mode="after")
    def _names_something(self) -> "DebianPackages":
        if not self.packages and not self.translated_descriptions:
            raise ValueError(
                f"source {self.name}: neither packages nor translated_descriptions is set; "
                "name at least one package or set translated_descriptions: true."
            )
        return self


class HubDataset(SourceConfig):
    """A split of a dataset on the Hugging Face Hub, from its Parquet, JSON-lines or text files."""

    kind: Literal["hub_dataset"] = "hub_dataset"
    repo_id: str = Field(pattern=REPO_ID)
    """owner/name."""
    revision: str = "main"
    """Branch, tag or commit. The lock holds every file's sha256, whatever it moves to later."""
    subset: str | None = None
    """Also called configuration, such as ``deu_Latn``; none: the dataset's default."""
    split: str = "train"
    max_files: int | None = Field(default=None, ge=1)
    """Read the first files by name only: a split of web text has hundreds of a gigabyte. The
    corpus's budget_bytes is drawn from what is read."""
    format: FileFormat | None = None
    """Read every file as this; none: by its suffix, ``.gz`` on top allowed."""
    text_field: str = "text"
    """Parquet column, or field of a JSON line, that holds a document's text."""


Source = Annotated[
    FilesSource | PythonStandardLibrary | DebianPackages | HubDataset, Field(discriminator="kind")
]


class CorpusConfig(StageConfig):
    """The text a run trains and measures on."""

    sources: tuple[Source, ...] = Field(min_length=1)
    """Where text comes from."""
    budget_bytes: int | None = Field(default=None, gt=0)
    """Bytes of training text to keep, by whole documents; a promise: less is an error. None keeps
    everything."""
    heldout_fraction: float = Field(default=0.05, ge=0, lt=1)
    """Share of documents held out of training, drawn by the hash of their text."""
    seed: int = Field(default=0, ge=0)
    """Draws another held-out part and another order."""
    min_document_bytes: int = Field(default=200, ge=1)
    """Shorter documents are dropped, as they stand after the rules on lines."""
    max_document_bytes: int = Field(default=1_000_000, ge=1)
    """Longer documents are dropped whole."""
    duplicate_line_min_bytes: int | None = Field(default=40, ge=2)
    """Lines of at least so many bytes are kept once in the whole corpus; none keeps all, as
    program code needs."""
    refresh: Annotated[Refresh | None, PLACE] = None
    """When to look at the sources again; none: always for files, which costs little, and only if
    there is no lock yet for packages and datasets of the Hub."""

    @model_validator(mode="after")
    def _sources_are_distinct(self) -> "CorpusConfig":
        names = [source.name for source in self.sources]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"sources {repeated} stand twice; give each its own name.")
        if all(source.heldout_only for source in self.sources):
            raise ValueError("every source is heldout_only; at least one must give training text.")
        return self

    @property
    def looks_again(self) -> Refresh:
        """When the lock is made anew."""
        if self.refresh is not None:
            return self.refresh
        far = ("debian_packages", "hub_dataset")
        return "if_missing" if all(s.kind in far for s in self.sources) else "always"
