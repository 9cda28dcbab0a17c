"""What the rules of a run say to requests and to deeds."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pitboss.core.policy import Deed, Request, Verdict, actor_path, judge_deed, judge_request, rule_text
from pitboss.model.run import ActorId, ApprovalAction, Policy, Role, Rule

DEPTHS: dict[Role, int] = {"task": 1, "lead": 1, "sublead": 2, "worker": 3}


def a_request(path: str = "boss", role: Role = "lead", **claims: object) -> Request:
    """A request of the actor at ``path``, names with ``/`` between."""
    names = tuple(map(ActorId, path.split("/")))
    return Request(path=names, role=role, **{"category": "tool_use", **claims})  # type: ignore[arg-type]


def a_deed(tool: str = "Bash", path: str = "boss", role: Role = "lead", **arguments: object) -> Deed:
    """A tool call of the actor at ``path``."""
    return Deed(path=tuple(map(ActorId, path.split("/"))), role=role, tool=tool, input=arguments)


def rules(*rules: Rule, default: ApprovalAction = "block") -> Policy:
    return Policy(rules=rules, default_action=default)


# --- requests -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "verdict"),
    [
        ("block", Verdict(answer="ask", decided_by="default")),
        ("auto_approve", Verdict(answer="allow", decided_by="default")),
        (
            "auto_reject",
            Verdict(answer="deny", decided_by="default", comment="auto-rejected by default_approval_policy"),
        ),
    ],
)
def test_a_request_without_a_rule_gets_the_default(action: ApprovalAction, verdict: Verdict) -> None:
    assert verdict == judge_request(rules(default=action), a_request())


@pytest.mark.parametrize(
    ("action", "answer", "comment", "reason"),
    [
        ("auto_approve", "allow", "auto-approved by policy", ""),
        ("auto_reject", "deny", "auto-rejected by policy", "Not today."),
        ("block", "ask", "", "Not today."),
    ],
)
def test_a_rule_answers_a_request_and_is_named(action: ApprovalAction, answer: str, comment: str, reason: str) -> None:
    policy = rules(Rule(action="block", category="plan"), Rule(action=action, reason="Not today."))
    verdict = judge_request(policy, a_request())

    assert (answer, "rule", 1, f"[[approval_policy]] #2: {action}", comment, reason) == (
        verdict.answer,
        verdict.decided_by,
        verdict.rule,
        verdict.rule_text,
        verdict.comment,
        verdict.reason,
    )


@pytest.mark.parametrize("default", ["auto_approve", "auto_reject"])
def test_block_asks_the_operator_whatever_the_default(default: ApprovalAction) -> None:
    policy = rules(Rule(action="block", tool_name="Bash"), default=default)

    assert "ask" == judge_request(policy, a_request(tool_name="Bash")).answer
    assert "ask" != judge_request(policy, a_request(tool_name="Read")).answer


@pytest.mark.parametrize(
    ("rule", "request_", "fits"),
    [
        ({}, a_request(), True),
        ({"category": "plan"}, a_request(category="plan"), True),
        ({"category": "plan"}, a_request(), False),
        ({"tool_name": "Bash"}, a_request(tool_name="Bash"), True),
        ({"tool_name": "Ba*"}, a_request(tool_name="Bash"), False),
        ({"tool_name": "bash"}, a_request(tool_name="Bash"), False),
        ({"tool_name": "Bash"}, a_request(), False),
        ({"cost_over": 2.0}, a_request(cost_usd=2.01), True),
        ({"cost_over": 2.0}, a_request(cost_usd=2.0), False),
        ({"cost_over": 0.0}, a_request(), False),
        ({"cost_over": 2.0, "category": "cost"}, a_request(cost_usd=3.0), False),
        ({"role": "worker"}, a_request("boss/w", "worker"), True),
        ({"role": "worker"}, a_request("boss/s", "sublead"), False),
    ],
)
def test_all_that_a_rule_says_of_a_request_must_hold(rule: dict[str, object], request_: Request, fits: bool) -> None:
    policy = rules(Rule(action="auto_reject", **rule), default="auto_approve")  # type: ignore[arg-type]

    assert fits == (judge_request(policy, request_).answer == "deny")


# --- who ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("actor", "path", "role", "fits"),
    [
        ("boss", "boss", "lead", True),
        ("root", "boss", "lead", True),
        ("boss", "boss/w", "worker", False),
        ("root→w", "boss/w", "worker", True),
        ("boss→w", "boss/w", "worker", True),
        ("root→s→w", "boss/s/w", "worker", True),
        ("root→*", "boss/w", "worker", True),
        ("root→*", "boss", "lead", False),
        ("root→*", "boss/s/w", "worker", False),
        ("root→**", "boss", "lead", False),
        ("root→**", "boss/s", "sublead", True),
        ("root→**", "boss/s/w", "worker", True),
        ("**", "boss", "lead", True),
        ("**", "boss/s/w", "worker", True),
        ("*→worker-*", "boss/worker-1", "worker", True),
        ("*→worker-*", "boss/s/worker-1", "worker", False),
        ("**→worker-*", "boss/worker-1", "worker", True),
        ("**→worker-*", "boss/s/worker-1", "worker", True),
        ("**→worker-*", "worker-1", "task", True),
        ("root→**→worker-?", "boss/worker-1", "worker", True),
        ("root→**→worker-?", "boss/s/worker-12", "worker", False),
        ("root→*1", "boss/s1/w1", "worker", False),
        ("*", "boss", "lead", True),
        ("b*", "boss", "lead", True),
        ("B*", "boss", "lead", False),
        ("r*t", "boss", "lead", False),
        ("root", "build", "task", False),
        ("root", "root", "task", True),
        ("build", "build", "task", True),
        ("boss→root", "boss/root", "worker", True),
        ("boss→root", "boss/w", "worker", False),
    ],
)
def test_an_actor_is_matched_name_by_name(actor: str, path: str, role: Role, fits: bool) -> None:
    about_requests = rules(Rule(action="auto_reject", actor=actor), default="auto_approve")
    about_deeds = rules(Rule(action="auto_reject", actor=actor, tool="*"))

    assert fits == (judge_request(about_requests, a_request(path, role)).answer == "deny")
    assert fits == (judge_deed(about_deeds, a_deed("Read", path, role)).answer == "deny")


def test_a_path_is_written_with_arrows() -> None:
    assert "boss→s→w" == actor_path((ActorId("boss"), ActorId("s"), ActorId("w")))


# --- deeds ----------------------------------------------------------------------------------------------------------


def test_a_deed_that_no_rule_is_about_runs_whatever_the_default() -> None:
    nothing = Verdict(answer="none", decided_by="nobody")

    assert nothing == judge_deed(rules(default="auto_reject"), a_deed())
    assert nothing == judge_deed(rules(Rule(action="auto_reject", tool="Write")), a_deed())


@pytest.mark.parametrize("rule", [{}, {"actor": "root"}, {"role": "lead"}, {"tool_name": "Bash"}])
def test_a_rule_about_requests_leaves_deeds_alone(rule: dict[str, str]) -> None:
    policy = rules(Rule(action="auto_reject", **rule))  # type: ignore[arg-type]

    assert "none" == judge_deed(policy, a_deed()).answer
    assert "deny" == judge_request(policy, a_request(tool_name="Bash")).answer


@pytest.mark.parametrize("rule", [Rule(action="auto_reject", tool="*"), Rule(action="auto_reject", args={"x": "*"})])
def test_a_rule_about_deeds_leaves_requests_alone(rule: Rule) -> None:
    assert "ask" == judge_request(rules(rule), a_request(tool_name="Bash")).answer


def test_a_spoofed_tool_name_decides_nothing_about_the_tool_itself() -> None:
    """An agent may call its request what it likes; the call it then makes is looked at again."""
    policy = rules(Rule(action="auto_approve", tool_name="Read"), Rule(action="auto_reject", tool="Bash"))

    assert "allow" == judge_request(policy, a_request(tool_name="Read")).answer
    assert "deny" == judge_deed(policy, a_deed("Bash", command="curl evil")).answer


@pytest.mark.parametrize(
    ("action", "answer", "reason"),
    [("auto_approve", "allow", ""), ("auto_reject", "deny", "No."), ("block", "ask", "No.")],
)
def test_a_rule_answers_a_deed_and_is_named(action: ApprovalAction, answer: str, reason: str) -> None:
    verdict = judge_deed(
        rules(Rule(action=action, tool="Bash", args={"command": "git *"}, reason="No.")), a_deed(command="git x")
    )

    assert (answer, reason) == (verdict.answer, verdict.reason)
    assert f'[[approval_policy]] #1: {action} if tool = "Bash", args.command = "git *"' == verdict.rule_text


def test_a_refusal_without_words_of_its_own_tells_the_agent_to_say_so() -> None:
    verdict = judge_deed(rules(Rule(action="auto_reject", tool="Bash")), a_deed())

    assert "did not run" in verdict.reason
    assert "say so" in verdict.reason


@pytest.mark.parametrize(
    ("tool", "called", "fits"),
    [
        ("Bash", "Bash", True),
        ("Bash", "BashOutput", False),
        ("bash", "Bash", False),
        ("*", "anything", True),
        ("mcp__*", "mcp__docs__search", True),
        ("mcp__pitboss__*", "mcp__docs__search", False),
        ("mcp__*__search", "mcp__docs__search", True),
        ("Web?etch", "WebFetch", True),
        ("Web?etch", "Webetch", False),
        ("[BR]*", "Bash", False),
        ("Bash.", "BashX", False),
    ],
)
def test_a_tool_is_a_glob_over_the_whole_name(tool: str, called: str, fits: bool) -> None:
    assert fits == (judge_deed(rules(Rule(action="block", tool=tool)), a_deed(called)).answer == "ask")


@pytest.mark.parametrize(
    ("args", "arguments", "fits"),
    [
        ({"command": "git push*"}, {"command": "git push origin"}, True),
        ({"command": "git push*"}, {"command": "cd x && git push"}, False),
        ({"command": "*git push*"}, {"command": "cd x &&\ngit push\n"}, True),
        ({"command": "git push"}, {"command": "git push\n"}, False),
        ({"command": "*"}, {"command": ""}, True),
        ({"command": "*"}, {}, False),
        ({"command": "*"}, {"command": None}, False),
        ({"command": "*"}, {"command": {}}, False),
        ({"command": "*"}, {"command": []}, False),
        ({"command": "*", "cwd": "/x"}, {"command": "ls"}, False),
        ({"command": "*", "cwd": "/x"}, {"command": "ls", "cwd": "/x"}, True),
        ({"timeout": "5"}, {"timeout": 5}, True),
        ({"timeout": "1.5"}, {"timeout": 1.5}, True),
        ({"timeout": "0x*"}, {"timeout": 10**5000}, True),
        ({"force": "true"}, {"force": True}, True),
        ({"edit.path": "/etc/*"}, {"edit": {"path": "/etc/passwd"}}, True),
        ({"edit.path": "/etc/*"}, {"edit.path": "/etc/passwd"}, True),
        ({"edit.path": "/etc/*"}, {"edit": "/etc/passwd"}, False),
        ({"a.b.c": "x"}, {"a.b": {"c": "x"}}, True),
        ({"a.b.c": "x"}, {"a": {"b.c": "x"}}, True),
        ({"paths": "/etc/*"}, {"paths": ["/etc/a", "/etc/b"]}, True),
        ({"edits.path": "/etc/*"}, {"edits": [{"path": "/etc/a"}, {"path": "/etc/b"}]}, True),
    ],
)
@pytest.mark.parametrize("action", ["auto_approve", "auto_reject", "block"])
def test_arguments_are_globs_by_name(
    action: ApprovalAction, args: dict[str, str], arguments: dict[str, object], fits: bool
) -> None:
    deed = Deed(path=(ActorId("boss"),), role="lead", tool="Any", input=arguments)

    assert fits == (judge_deed(rules(Rule(action=action, args=args)), deed).answer != "none")


@pytest.mark.parametrize(
    "arguments",
    [
        {"paths": ["/repo/a", "/etc/passwd"]},
        {"paths": ["/repo/a", None]},
        {"paths": ["/repo/a", {"x": 1}]},
        {"paths": [["/repo/a"], ["/etc/passwd"]]},
    ],
)
def test_of_a_list_one_item_is_enough_to_refuse_and_all_are_needed_to_approve(arguments: dict[str, object]) -> None:
    deed = Deed(path=(ActorId("boss"),), role="lead", tool="Any", input=arguments)
    args = {"paths": "/repo/*"}

    assert "none" == judge_deed(rules(Rule(action="auto_approve", args=args)), deed).answer
    assert "deny" == judge_deed(rules(Rule(action="auto_reject", args=args)), deed).answer
    assert "ask" == judge_deed(rules(Rule(action="block", args=args)), deed).answer


@pytest.mark.parametrize("odd", [{}, "/repo/b", 1, {"path": "/etc/x"}])
def test_an_item_without_the_argument_is_not_approved_with_the_others(odd: object) -> None:
    deed = a_deed(edits=[{"path": "/repo/a"}, odd])

    assert "none" == judge_deed(rules(Rule(action="auto_approve", args={"edits.path": "/repo/*"})), deed).answer
    assert "deny" == judge_deed(rules(Rule(action="auto_reject", args={"edits.path": "/repo/*"})), deed).answer


def test_a_key_with_a_dot_cannot_stand_in_for_the_nested_argument() -> None:
    arguments = {"edit.path": "/repo/x", "edit": {"path": "/etc/passwd"}}
    deed = Deed(path=(ActorId("boss"),), role="lead", tool="Edit", input=arguments)

    assert "none" == judge_deed(rules(Rule(action="auto_approve", args={"edit.path": "/repo/*"})), deed).answer
    assert "deny" == judge_deed(rules(Rule(action="auto_reject", args={"edit.path": "/etc/*"})), deed).answer


def test_an_agent_cannot_stop_the_clock_with_an_argument() -> None:
    long = "a" * 200_000
    policy = rules(Rule(action="block", args={"command": "*a*aa*aaa*aaaa*a?a*b"}))

    assert "none" == judge_deed(policy, a_deed(command=long)).answer
    assert "ask" == judge_deed(policy, a_deed(command=long + "b")).answer


def test_arguments_may_be_nested_as_deep_as_an_agent_likes() -> None:
    deep: object = "x"
    for _ in range(100_000):
        deep = [deep]

    assert "ask" == judge_deed(rules(Rule(action="block", args={"a": "x"})), a_deed(a=deep)).answer


def test_exceptions_come_before_the_rule() -> None:
    policy = rules(
        Rule(action="auto_approve", tool="Bash", args={"command": "git *"}),
        Rule(action="block", tool="Bash", role="worker"),
        Rule(action="auto_reject", tool="Bash"),
    )

    assert "allow" == judge_deed(policy, a_deed(command="git status")).answer
    assert "ask" == judge_deed(policy, a_deed("Bash", "boss/w", "worker", command="make")).answer
    assert "deny" == judge_deed(policy, a_deed(command="make")).answer
    assert "none" == judge_deed(policy, a_deed("Read")).answer


def test_a_rule_is_told_with_all_it_says() -> None:
    rule = Rule(action="block", actor="root→*", role="worker", category="cost", tool_name="x", cost_over=2.5)

    assert (
        '[[approval_policy]] #3: block if actor = "root→*", role = "worker", category = "cost", '
        'tool_name = "x", cost_over = 2.5' == rule_text(2, rule)
    )


# --- any rules, anything asked --------------------------------------------------------------------------------------

NAMES = st.sampled_from(["boss", "root", "s1", "w1", "w2"])
ROLES: st.SearchStrategy[Role] = st.sampled_from(["task", "lead", "sublead", "worker"])
ACTIONS: st.SearchStrategy[ApprovalAction] = st.sampled_from(["block", "auto_approve", "auto_reject"])
GLOBS = st.text("ab*?→[]\n", max_size=6)
ACTORS = st.lists(st.sampled_from(["boss", "root", "*", "**", "w?", "s1"]), min_size=1, max_size=4).map("→".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("ab→[]\n", max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "a.b"]), inner, max_size=3),
    max_leaves=8,
)
INPUTS = st.dictionaries(st.sampled_from(["a", "b", "a.b"]), JSON, max_size=3)
RULES = st.builds(
    Rule,
    action=ACTIONS,
    actor=st.none() | ACTORS,
    role=st.none() | ROLES,
    category=st.none() | st.sampled_from(["tool_use", "plan"]),
    tool_name=st.none() | st.just("a"),
    cost_over=st.none() | st.floats(0, 5),
) | st.builds(
    Rule,
    action=ACTIONS,
    actor=st.none() | ACTORS,
    tool=GLOBS,
    args=st.dictionaries(st.sampled_from(["a", "b", "a.b", "a.a.b"]), GLOBS, max_size=2),
)
POLICIES = st.builds(Policy, rules=st.lists(RULES, max_size=5).map(tuple), default_action=ACTIONS)


@st.composite
def actors(draw: st.DrawFn) -> tuple[tuple[ActorId, ...], Role]:
    role = draw(ROLES)
    return tuple(ActorId(draw(NAMES)) for _ in range(DEPTHS[role])), role


REQUESTS = st.builds(
    lambda who, category, tool, cost: Request(
        path=who[0], role=who[1], category=category, tool_name=tool, cost_usd=cost
    ),
    actors(),
    st.sampled_from(["tool_use", "plan", "cost", "other"]),
    st.none() | st.sampled_from(["a", "b"]),
    st.none() | st.floats(),
)
DEEDS = st.builds(
    lambda who, tool, arguments: Deed(path=who[0], role=who[1], tool=tool, input=arguments),
    actors(),
    st.text("ab→[]\n", max_size=5),
    INPUTS,
)


def judge(policy: Policy, asked: Request | Deed) -> Verdict:
    return judge_request(policy, asked) if isinstance(asked, Request) else judge_deed(policy, asked)


@given(POLICIES, REQUESTS | DEEDS)
def test_the_first_rule_that_matches_decides(policy: Policy, asked: Request | Deed) -> None:
    """Alone, none of the rules before it says anything, and it says the same."""
    verdict = judge(policy, asked)
    alone = [judge(rules(rule, default=policy.default_action), asked).decided_by == "rule" for rule in policy.rules]

    assert (alone.index(True) if any(alone) else None) == verdict.rule
    if verdict.rule is not None:
        answers = {"auto_approve": "allow", "auto_reject": "deny", "block": "ask"}
        assert answers[policy.rules[verdict.rule].action] == verdict.answer


@given(POLICIES, st.lists(RULES, max_size=3), REQUESTS | DEEDS)
def test_a_rule_after_the_deciding_one_changes_nothing(
    policy: Policy, later: list[Rule], asked: Request | Deed
) -> None:
    verdict = judge(policy, asked)
    longer = rules(*policy.rules, *later, default=policy.default_action)

    if verdict.decided_by == "rule":
        assert verdict == judge(longer, asked)


@given(POLICIES, REQUESTS, DEEDS)
def test_rules_of_one_kind_never_decide_the_other(policy: Policy, request_: Request, deed: Deed) -> None:
    about_deeds = rules(*(rule for rule in policy.rules if rule.sees_deeds), default=policy.default_action)
    about_requests = rules(*(rule for rule in policy.rules if not rule.sees_deeds))

    assert "default" == judge_request(about_deeds, request_).decided_by
    assert "nobody" == judge_deed(about_requests, deed).decided_by
    assert "none" != judge_request(policy, request_).answer


@given(st.text("ab*?[]\n.", max_size=8), st.text("ab[]\n.", max_size=8))
def test_a_glob_is_the_shells_without_brackets(pattern: str, text: str) -> None:
    deed = a_deed(text)
    expected = fnmatch.fnmatchcase(text, pattern.replace("[", "[[]"))

    assert expected == (judge_deed(rules(Rule(action="block", tool=pattern)), deed).answer == "ask")


@given(actors(), st.lists(st.sampled_from(["*", "?*", "boss", "root", "w?", "s1", "w1"]), min_size=1, max_size=4))
def test_a_star_never_reaches_over_an_arrow(who: tuple[tuple[ActorId, ...], Role], names: list[str]) -> None:
    path, role = who
    verdict = judge_deed(
        rules(Rule(action="block", tool="*", actor="→".join(names))), Deed(path=path, role=role, tool="x", input={})
    )

    if len(names) != len(path):
        assert "none" == verdict.answer
