from __future__ import annotations

import pytest

from danlu.dialogue.tree import Node, Tree
from danlu.tokenizer.chat import ChatError, Message


def user(content: str) -> Message:
    return {"role": "user", "content": content}


def assistant(content: str) -> Message:
    return {"role": "assistant", "content": content}


def texts(tree: Tree) -> list[str]:
    return [message["content"] for message in tree.messages]


def talk() -> Tree:
    tree = Tree()
    for message in (user("a"), assistant("b"), user("c"), assistant("d")):
        tree.add(message)
    return tree


def test_a_second_answer_stands_beside_the_first():
    tree = talk()
    assert tree.regenerate() == [user("a"), assistant("b"), user("c")]
    tree.add(assistant("D"))
    assert texts(tree) == ["a", "b", "c", "D"]
    assert [node.message["content"] for node in tree.alternatives(tree.here)] == ["d", "D"]


def test_an_edited_question_begins_a_branch_and_the_old_one_stays():
    tree = talk()
    tree.edit("1", user("A"))
    tree.add(assistant("B"))
    assert texts(tree) == ["A", "B"]
    tree.go_to("1")
    assert texts(tree) == ["a", "b", "c", "d"]
    tree.go_to("5")
    assert texts(tree) == ["A", "B"]


def test_going_to_a_turn_stands_at_the_newest_end_of_its_branch():
    tree = talk()
    tree.regenerate("2")
    tree.add(assistant("b2"))
    tree.go_to("1")
    assert texts(tree) == ["a", "b2"]


def test_an_answer_with_calls_is_answered_again_from_its_question():
    tree = Tree()
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    tree.add(user("a"))
    tree.add({"role": "assistant", "content": "", "tool_calls": [call]})  # type: ignore[list-item]
    tree.add({"role": "tool", "content": "1"})
    tree.add(assistant("b"))
    assert tree.regenerate() == [user("a")]
    assert len(tree.nodes) == 4


def test_nodes_of_a_store_make_a_tree():
    nodes = [Node("x", "", user("a")), Node("y", "x", assistant("b")), Node("z", "x", assistant("c"))]
    tree = Tree.of(nodes)
    assert texts(tree) == ["a", "c"]
    assert [node.id for node in tree.children("x")] == ["y", "z"]


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([Node("x", "w", user("a"))], "there is no turn 'w'; there are 0"),
        ([Node("x", "", user("a")), Node("x", "", user("b"))], "the turn 'x' stands in the tree twice"),
    ],
)
def test_what_is_no_tree_is_refused(nodes: list[Node], message: str):
    with pytest.raises(ChatError, match=message):
        Tree.of(nodes)


def test_nothing_can_be_answered_again_before_a_question():
    with pytest.raises(ChatError, match="there is no question to answer again"):
        Tree().regenerate()
