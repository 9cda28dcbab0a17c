"""What a bad manifest is told: everything, at once, with lines."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pitboss.errors import ManifestError
from pitboss.manifest.load import Loaded, PathKind

Problems = Callable[..., list[str]]

TASK = '[[task]]\nid = "a"\ndirectory = "/repo"\nprompt = "Go."\n'  # four lines
LEAD = '[lead]\nid = "l"\ndirectory = "/repo"\nprompt = "Go."\n'


def test_a_mistake_is_one_message_with_its_line(problems: Problems, text: str, problem: str) -> None:
    assert [problem] == problems(text)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b'[run]\nname = "\xff"', "2: byte 14 (0xff) is not UTF-8; save the file as UTF-8"),
        ("[run]\n".encode("utf-16"), "1: the manifest is UTF-16 text; save it as UTF-8"),
        (b'[run]\nname = "\0"', "2: a NUL character; remove it"),
        (b"#" * (8 * 2**20 + 1), "None: larger than 8 MiB; put long texts into files that the agents read"),
        (b"run = " + b"[" * 9000, "1: arrays or tables are nested more than 32 deep; no key of a manifest is"),
        (b"run." + b"a." * 900 + b"b = 1", "1: arrays or tables are nested more than 32 deep; no key of a manifest is"),
        (b"a = " + b"1" * 5000, "1: not valid TOML: an integer has too many digits"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_a_file_that_is_no_text_or_too_much_of_it_is_refused(problems: Problems, data: bytes, complaint: str) -> None:
    assert [complaint] == problems(data)


def test_a_number_of_any_size_can_be_complained_about(problems: Problems) -> None:
    huge = "0x" + "f" * 5000

    assert [
        "6: [run].max_starts must be at most 4294967295; it is a huge integer",
        "7: [run].stall_secs must be a number that a float can hold; it is too large",
    ] == problems(f"{TASK}[run]\nmax_starts = {huge}\nstall_secs = {huge}")


def test_all_mistakes_are_told_at_once_in_the_order_of_the_text(problems: Problems) -> None:
    text = """\
[run]
max_parallel = 2
stall_secs = "long"

[[task]]
id = "one"
directory = "$NOPE"
promt = "Go."

[[task]]
id = "one"
directory = "/gone"
template = "nope"
timeout_secs = 0

[[mcp_server]]
id = "pitboss"

[[notification]]
kind = "slack"
url = "https://10.0.0.1/token"
"""

    found = problems(text, kind_of=lambda path: PathKind.MISSING)

    assert ["2", "3", "7", "8", "11", "12", "13", "14", "16", "17", "21"] == [line.partition(":")[0] for line in found]


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        (PathKind.MISSING, "does not exist: /repo; create it or correct the path"),
        (PathKind.FILE, "is not a directory: /repo; name the folder"),
        (
            PathKind.DIRECTORY,
            "is not a git work-tree: /repo; run git init there, or set use_worktree = false",
        ),
    ],
)
def test_a_directory_that_will_not_do_is_named(problems: Problems, kind: PathKind, complaint: str) -> None:
    def kind_of(path: str) -> PathKind:
        return kind if path == "/repo" else PathKind.DIRECTORY

    assert [f"3: [[task]] 'a' directory {complaint}"] == problems(TASK, kind_of=kind_of)
    assert [f"3: lead directory {complaint}"] == problems(LEAD, kind_of=kind_of)


def test_a_plain_directory_will_do_without_a_worktree(problems: Problems) -> None:
    assert [] == problems(f"{TASK}use_worktree = false", kind_of=lambda path: PathKind.DIRECTORY)


def test_a_file_cannot_be_the_base_of_runs(problems: Problems) -> None:
    kinds = {"/repo": PathKind.REPOSITORY, "/file": PathKind.FILE}

    assert ["6: [run].run_dir /file is a file; name a directory"] == problems(
        f'{TASK}[run]\nrun_dir = "/file"', kind_of=kinds.__getitem__
    )


def test_no_concurrency_from_the_environment_names_its_source(problems: Problems) -> None:
    assert [
        "None: ANTHROPIC_MAX_CONCURRENT=0 in the environment: max_parallel_tasks must be > 0; unset it"
    ] == problems(TASK, environ={"ANTHROPIC_MAX_CONCURRENT": "0"})


def test_the_error_renders_as_lines_that_editors_link_to(read: Callable[..., Loaded]) -> None:
    with pytest.raises(ManifestError, match=r"^m\.toml:2: error: .*\nm\.toml:4: error: .*$") as caught:
        read('[run]\nfoo = 1\n[lead]\nid = 2\ndirectory = "/x"\nprompt = "x"\n')

    assert 2 == caught.value.exit_code
    assert (4, 1) == (caught.value.problems[1].line, caught.value.problems[1].column)


def test_the_secret_part_of_a_url_is_never_shown(problems: Problems) -> None:
    places = ('kind = "https://x.example/s3cret"', 'kind = "slack"\nurl = "http://x.example/s3cret?k=s3cret"')

    for place in places:
        assert "s3cret" not in "\n".join(problems(f"{TASK}[[notification]]\n{place}"))


def test_windows_line_ends_do_not_move_the_lines(problems: Problems) -> None:
    assert ["2: unknown key 'foo' in [run]; known are"] == [
        line.partition(" name,")[0] for line in problems(f"[run]\r\nfoo = 1\r\n{TASK}")
    ]
