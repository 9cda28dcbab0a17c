"""Paths and patterns of the shared store: one spelling a key, and no spelling around the rights."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pitboss.core import paths
from pitboss.core.paths import Caller
from pitboss.model.answers import Refused

LEAD = Caller("lead", "lead")
ANN = Caller("ann", "lead")
NOBODY = Caller("", "lead")
OVERSEER = Caller("root", "lead", overseer=True)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("/shared/a", "/shared/a"),
        ("//shared///a", "/shared/a"),
        ("/./shared/./a/.", "/shared/a"),
        ("/shared/a/", "/shared/a"),
        ("/", "/"),
        ("///.//", "/"),
        ("/peer/self", "/peer/ann"),
        ("/peer/self/a", "/peer/ann/a"),
        ("//peer/./self//a/", "/peer/ann/a"),
        ("/peer/selfish/a", "/peer/selfish/a"),
        ("/Peer/self/a", "/Peer/self/a"),
        ("/shared/peer/self/a", "/shared/peer/self/a"),
        ("/shared/...", "/shared/..."),
        ("/shared/.hidden", "/shared/.hidden"),
        ("/shared/with space/ü", "/shared/with space/ü"),
    ],
)
def test_a_path_has_one_spelling(written: str, meant: str) -> None:
    assert meant == paths.normalise(written, ANN)


@pytest.mark.parametrize(
    ("path", "fragment"),
    [
        ("", "path must be absolute"),
        ("shared/a", "path must be absolute"),
        ("~/a", "path must be absolute"),
        ("/shared/../ref/a", "must not contain"),
        ("/..", "must not contain"),
        ("/peer/self/../bob/a", "must not contain"),
        ("/shared/a\0b", "control characters"),
        ("/shared/a\nb", "control characters"),
        ("/shared/\ud800", "control characters"),
        ("/shared/" + "a" * 1017, "at most 1024 bytes"),
        ("/shared/" + "ü" * 509, "at most 1024 bytes"),
    ],
)
def test_a_hostile_path_is_refused_with_a_clear_sentence(path: str, fragment: str) -> None:
    refusal = paths.normalise(path, ANN)

    assert isinstance(refusal, Refused)
    assert "invalid_arg" == refusal.code
    assert fragment in refusal.message
    assert len(refusal.message) < 300
    assert refusal.message.isprintable()


def test_the_longest_path_is_counted_after_its_alias_is_resolved() -> None:
    caller = Caller("a" * 100, "lead")
    path = "/peer/self/" + "k" * 1000

    assert isinstance(paths.normalise(path, caller), Refused)
    assert isinstance(paths.normalise(path, ANN), str)


def test_the_alias_needs_an_identity_and_only_the_alias_does() -> None:
    refusal = paths.normalise("/peer/self/a", NOBODY)

    assert isinstance(refusal, Refused)
    assert "requires caller identity" in refusal.message
    assert "/peer/selfish/a" == paths.normalise("/peer/selfish/a", NOBODY)


@given(st.text(alphabet="/.*ab", max_size=12).map(lambda text: "/" + text))
def test_normalising_twice_changes_nothing(path: str) -> None:
    once = paths.normalise(path, ANN)
    if isinstance(once, str):
        assert once == paths.normalise(once, ANN)


@pytest.mark.parametrize(
    ("glob", "path", "expected"),
    [
        ("/shared/*", "/shared/a", True),
        ("/shared/*", "/shared/a/b", False),
        ("/shared/*", "/shared", False),
        ("/shared/*", "/shared/.hidden", True),
        ("/shared/**", "/shared/a/b", True),
        ("/shared/**", "/shared", False),
        ("/shared/**/b", "/shared/b", True),
        ("/shared/**/b", "/shared/x/y/b", True),
        ("/shared/**/b", "/shared/x/y/bb", False),
        ("/**", "/ref/a", True),
        ("/**/a/**/b", "/shared/a/x/a/b", True),
        ("/**/**", "/a", True),
        ("/s*d/a?c", "/shared/abc", True),
        ("/s*d/a?c", "/shared/a/c", False),
        ("/shared/[a-c]1", "/shared/b1", True),
        ("/shared/[!a-c]1", "/shared/b1", False),
        ("/shared/[!a-c]1", "/shared/d1", True),
        ("/shared/[]]", "/shared/]", True),
        ("/shared/[!]]", "/shared/]", False),
        ("/shared/[a-]", "/shared/-", True),
        ("/shared/[^a]", "/shared/^", True),
        ("/shared/[^a]", "/shared/b", False),
        ("/shared/[*]", "/shared/*", True),
        ("/shared/[*]", "/shared/a", False),
        ("/shared/[z-a]", "/shared/m", False),
        ("/shared/[!z-a]", "/shared/m", True),
        ("/shared[.-0]a", "/shared/a", False),
        ("/shared[!x]a", "/shared/a", False),
        ("/shared/A", "/shared/a", False),
        ("/shared/{a,b}", "/shared/a", False),
        ("/shared/a.c", "/shared/abc", False),
        ("/shared/*.md", "/shared/a.b.md", True),
        ("/shared/*.md", "/shared/a.md.txt", False),
        ("/shared/a[1]", "/shared/a[1]", True),
    ],
)
def test_a_pattern_fits_what_it_says(glob: str, path: str, expected: bool) -> None:
    assert expected == paths.fits(glob, path)


@pytest.mark.parametrize("glob", ["/a**", "/**a/b", "/***", "/shared/[ab", "/[a/b]", "/shared/[]", "/shared/[!]"])
def test_a_pattern_without_meaning_is_refused(glob: str) -> None:
    refusal = paths.normalise_glob(glob, ANN)

    assert isinstance(refusal, Refused)
    assert ("invalid_arg", True) == (refusal.code, "bad glob" in refusal.message)


def test_a_pattern_is_normalised_as_a_path_is() -> None:
    assert "/peer/ann/**" == paths.normalise_glob("//peer/self/./**/", ANN)
    assert "/**/x" == paths.normalise_glob("**/x", ANN)
    assert isinstance(paths.normalise_glob("shared/*", ANN), Refused)


def naive(glob: list[str], path: list[str]) -> bool:
    """What patterns mean, without any thought of time."""
    if not glob:
        return not path
    head, *rest = glob
    if head != "**":
        return bool(path) and naive_part(head, path[0]) and naive(rest, path[1:])
    if not rest:
        return bool(path)
    return any(naive(rest, path[skipped:]) for skipped in range(len(path) + 1))


def naive_part(part: str, name: str) -> bool:
    if not part:
        return not name
    if part[0] == "*":
        return any(naive_part(part[1:], name[skipped:]) for skipped in range(len(name) + 1))
    if part[0] == "[":
        body, _, rest = part[1:].partition("]")
        letters, negated = body.removeprefix("!"), body.startswith("!")
        return bool(name) and (name[0] in letters) != negated and naive_part(rest, name[1:])
    return bool(name) and part[0] in {"?", name[0]} and naive_part(part[1:], name[1:])


NAMES = st.lists(st.text(alphabet="ab", min_size=1, max_size=5), min_size=1, max_size=5)
PART = st.lists(st.sampled_from(["a", "b", "?", "*", "[ab]", "[!a]"]), min_size=1, max_size=6).map("".join)
GLOBS = st.lists(st.just("**") | PART.filter(lambda part: "**" not in part), min_size=1, max_size=6)


@given(glob=GLOBS, path=NAMES)
@example(glob=["**", "*a", "**", "b"], path=["a", "ba", "a", "b", "b"])
@example(glob=["*a*b"], path=["aabab"])
def test_matching_agrees_with_the_naive_meaning(glob: list[str], path: list[str]) -> None:
    assert naive(glob, path) == paths.fits("/" + "/".join(glob), "/" + "/".join(path))


@pytest.mark.parametrize(
    ("glob", "path"),
    [
        ("/" + "*a" * 500 + "b", "/" + "a" * 1000),
        ("/" + "*aab" * 250, "/" + "a" * 1000),
        ("/**/a" * 200 + "/b", "/a" * 500),
        ("/**/*a*b" * 120, "/aaaa" * 200),
        ("/" + "*?" * 500, "/" + "a" * 300),
    ],
)
def test_no_pattern_makes_the_loop_wait(glob: str, path: str) -> None:
    paths.fits(glob, "/warm-up")
    began = time.process_time()

    assert not paths.fits(glob, path)

    assert time.process_time() - began < 10, "trying every way to fit would take longer than the world stands"


A, F = "allow", "forbidden"

RIGHTS = [
    # path, override: lead, ann (worker), nobody, overseer - to write
    ("/ref/k", False, A, F, F, F),
    ("/ref", False, A, F, F, F),
    ("/ref/k", True, A, F, F, F),
    ("/shared/k", False, A, A, F, F),
    ("/shared", False, A, A, F, F),
    ("/peer/lead/k", False, A, F, F, F),
    ("/peer/ann/k", False, F, A, F, F),
    ("/peer/ann/k", True, A, A, F, F),
    ("/peer/ann", False, F, A, F, F),
    ("/peer/bob/k", False, F, F, F, F),
    ("/peer/bob/k", True, A, F, F, F),
    ("/peer", False, F, F, F, F),
    ("/peer", True, F, F, F, F),
    ("/leases/k", False, F, F, F, F),
    ("/leases/k", True, F, F, F, F),
    ("/resume/subleads", False, F, F, F, F),
    ("/resume/subleads", True, F, F, F, F),
    ("/other/k", True, F, F, F, F),
    ("/refs/k", False, F, F, F, F),
    ("/", True, F, F, F, F),
]


@pytest.mark.parametrize(("path", "override", "lead", "ann", "nobody", "overseer"), RIGHTS)
def test_who_may_write(path: str, override: bool, lead: str, ann: str, nobody: str, overseer: str) -> None:
    for caller, expected in zip((LEAD, ANN, NOBODY, OVERSEER), (lead, ann, nobody, overseer), strict=True):
        refusal = paths.unwritable(caller, path, override=override)

        assert expected == (refusal.code if refusal else A), (caller, path)


READING = [
    # path or pattern as it is written: lead, ann (worker), nobody, overseer
    ("/ref/k", A, A, A, A),
    ("/shared/k", A, A, A, A),
    ("/leases/k", A, A, A, A),
    ("/resume/subleads", A, A, A, A),
    ("/other", A, A, A, A),
    ("/", A, A, A, A),
    ("/peer", A, A, A, A),
    ("/peer/ann/k", A, A, F, A),
    ("/peer/ann", A, A, F, A),
    ("/peer/bob/k", A, F, F, A),
    ("/peer/bob", A, F, F, A),
    ("/peer/lead/k", A, F, F, A),
    ("/peer/**", A, F, F, A),
    ("/peer/*/k", A, F, F, A),
    ("/peer/an?/k", A, F, F, A),
    ("/p*/**", A, A, A, A),
    ("/**", A, A, A, A),
]


@pytest.mark.parametrize(("path", "lead", "ann", "nobody", "overseer"), READING)
def test_who_may_read(path: str, lead: str, ann: str, nobody: str, overseer: str) -> None:
    for caller, expected in zip((LEAD, ANN, NOBODY, OVERSEER), (lead, ann, nobody, overseer), strict=True):
        refusal = paths.unreadable(caller, path)

        assert expected == (refusal.code if refusal else A), (caller, path)
        assert (refusal is None) == paths.may_read(caller, path)


@pytest.mark.parametrize(
    ("caller", "path", "fragments"),
    [
        (ANN, "/ref/k", ["lead-write-only", "/peer/self"]),
        (LEAD, "/peer/bob/k", ["only with override=true", "bob", "lead"]),
        (ANN, "/peer/bob/k", ["worker tried to write /peer/", "bob", "ann", "/peer/self"]),
        (ANN, "/leases/k", ["use lease_acquire"]),
        (LEAD, "/nowhere", ["unknown namespace"]),
    ],
)
def test_a_refused_write_says_what_to_do(caller: Caller, path: str, fragments: list[str]) -> None:
    refusal = paths.unwritable(caller, path, override=False)

    assert refusal is not None
    assert all(fragment in refusal.message for fragment in fragments), refusal.message


def test_a_refused_read_names_the_rule() -> None:
    for caller in (ANN, NOBODY):
        refusal = paths.unreadable(caller, "/peer/bob/k")
        assert refusal is not None
        assert "strict peer visibility" in refusal.message


def test_an_actor_without_a_name_is_no_lead() -> None:
    assert not Caller("", "").is_lead
    assert not OVERSEER.is_lead
    assert not Caller("lead", "lead", overseer=True).is_lead
