"""A conversation as a tree: an edited question and a second answer are branches, and nothing is lost.

The children of a node are each other's alternatives, as in the feedback store, whose nodes fit in here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from danlu.tokenizer.chat import ChatError, Message

ROOT = ""  # the parent of first turns


@dataclass(frozen=True, slots=True)
class Node:
    """A turn, and the turn that it follows."""

    id: str
    parent: str
    message: Message


@dataclass(slots=True)
class Tree:
    """Turns by id, and where the conversation stands: `here` is its last turn."""

    nodes: dict[str, Node] = field(default_factory=dict[str, Node])
    here: str = ROOT

    @classmethod
    def of(cls, nodes: Iterable[Node]) -> Tree:
        """A tree of given nodes, each after its parent; it stands at the last."""
        tree = cls()
        for node in nodes:
            tree._put(node)
        return tree

    @property
    def messages(self) -> list[Message]:
        """The conversation from its first turn to where it stands."""
        return [node.message for node in self.path(self.here)]

    def path(self, node_id: str) -> list[Node]:
        """The nodes from the first turn down to one."""
        path: list[Node] = []
        while node_id != ROOT:
            path.append(self._node(node_id))
            node_id = path[-1].parent
        return path[::-1]

    def children(self, node_id: str) -> list[Node]:
        """What follows a node, the oldest first."""
        return [node for node in self.nodes.values() if node.parent == node_id]

    def alternatives(self, node_id: str) -> list[Node]:
        """The node and its siblings, the oldest first."""
        return self.children(self._node(node_id).parent)

    def add(self, message: Message) -> str:
        """Go on from here; the new turn's id."""
        node = Node(str(len(self.nodes) + 1), self.here, message)
        self._put(node)
        return node.id

    def edit(self, node_id: str, message: Message) -> str:
        """Say something else in a turn's place; what followed stays with the old one."""
        self.here = self._node(node_id).parent
        return self.add(message)

    def regenerate(self, node_id: str | None = None) -> list[Message]:
        """Go back to where an answer began, by default the last one; the messages that are to be answered."""
        path = self.path(self.here if node_id is None else node_id)
        while path and path[-1].message["role"] != "user":
            path.pop()
        if not path:
            raise ChatError("there is no question to answer again")
        self.here = path[-1].id
        return self.messages

    def go_to(self, node_id: str) -> None:
        """Stand at the newest end of the branch that a node is on."""
        self._node(node_id)
        while following := self.children(node_id):
            node_id = following[-1].id
        self.here = node_id

    def _put(self, node: Node) -> None:
        if node.id in self.nodes or node.id == ROOT:
            raise ChatError(f"the turn {node.id!r} stands in the tree twice")
        if node.parent != ROOT:
            self._node(node.parent)
        self.nodes[node.id] = node
        self.here = node.id

    def _node(self, node_id: str) -> Node:
        if node_id not in self.nodes:
            raise ChatError(f"there is no turn {node_id[:60]!r}; there are {len(self.nodes)}")
        return self.nodes[node_id]
