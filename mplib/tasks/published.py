"""Examples as the paper's source has them: its statements, their order and its labels.

For comparison with the paper's figures only. Of each reasoning the source keeps the first edge: the
first premise is a leaf, and all else that is useful has the root's class, other premises too.
"""

from dataclasses import dataclass, fields, replace

from mplib.tasks.examples import Example, ExampleSet


@dataclass(frozen=True)
class Published(Example):
    """An example as the paper's source has it; the heights of its tree are the source's classes.

    Attributes:
        context: what a demonstration tells in the place of the statements.
    """

    context: str = ""


def theory(example: Example) -> Published:
    """A question about a theory as the source has it.

    Args:
        example: its statements in the order of the release, facts before rules.

    >>> from mplib.tasks.trees import ReasoningTree
    >>> tree = ReasoningTree.from_edges([(0, 2), (1, 2)], n_statements=4)
    >>> told = ("Bob is red.", "Bob is big.", "Red, big people are nice.", "Al is big.")
    >>> theory(Example(told, "Bob is nice.", "True", tree)).tree.labels().tolist()
    [0, 1, 1, -1]
    """
    tree = example.tree
    leaf = tree.edges[0][0] if tree.edges else tree.root
    classes = {i: int(i != leaf) for i in tree.heights}
    own = replace(tree, heights=classes, edges=tree.edges[:1])
    parts = {part.name: getattr(example, part.name) for part in fields(Example)}
    return Published(**parts | {"tree": own}, context=" ".join(example.statements))


def theories(one: ExampleSet) -> ExampleSet:
    """A set of theories, told in the order of the release, as the source has them."""
    examples, train = (list(map(theory, of)) for of in (one.examples, one.train))
    return replace(one, examples=examples, train=train)
