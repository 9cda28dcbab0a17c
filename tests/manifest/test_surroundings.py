"""Paths and variables."""

from __future__ import annotations

import pytest

from pitboss.manifest.surroundings import PathError, PathKind, Surroundings, expand

AROUND = Surroundings(
    environ={"X": "/x", "EMPTY": "", "TILDE": "~"},
    home="/home/ada",
    cwd="/work",
    cores=1,
    kind_of=lambda path: PathKind.MISSING,
)


@pytest.mark.parametrize(
    ("written", "path"),
    [
        (".", "/work"),
        ("a/./b/", "/work/a/b"),
        ("/a//b", "/a/b"),
        ("//a", "/a"),
        ("../a", "/work/../a"),
        ("~", "/home/ada"),
        ("~/a", "/home/ada/a"),
        ("a~", "/work/a~"),
        ("$X/a", "/x/a"),
        ("${X}a", "/xa"),
        ("${NOPE:-/d}/a", "/d/a"),
        ("${EMPTY:-/d}", "/d"),
        ("${X:-/d}", "/x"),
        ("${NOPE:-}/a", "/a"),
        ("a$EMPTY", "/work/a"),
        ("$$X", "/work/$X"),
        ("a$", "/work/a$"),
        ("$1", "/work/$1"),
        ("$TILDE", "/work/~"),
        ("ä ö", "/work/ä ö"),
    ],
)
def test_a_path_is_expanded_and_made_absolute(written: str, path: str) -> None:
    assert path == expand(written, AROUND)


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("$NOPE", "NOPE is not set"),
        ("${NOPE}", "NOPE is not set"),
        ("${X", "never closed"),
        ("${X:=y}", "not a variable"),
        ("${}", "not a variable"),
        ("~bob", "only your own home"),
        ("", "empty"),
        ("$EMPTY", "empty"),
        ("a" * 256, "no file system"),
        ("a/" * 2048, "no file system"),
    ],
)
def test_a_path_that_cannot_be_expanded_says_why(written: str, why: str) -> None:
    with pytest.raises(PathError, match=why):
        expand(written, AROUND)


def test_without_a_home_the_tilde_means_nothing() -> None:
    homeless = Surroundings(environ={}, home="", cwd="/work", cores=1, kind_of=lambda path: PathKind.MISSING)

    with pytest.raises(PathError, match="HOME is not set"):
        expand("~/a", homeless)
