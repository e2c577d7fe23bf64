"""Trees of kinds ("Every cat is a feline"), told in a true, an invented and a false world.

``Ontology`` (in ``task``) is what a study asks; ``lexicon`` holds the words, ``generator`` draws
trees and words them, ``prontoqa`` reads PrOntoQA's files. Only in the true world does knowledge
give the answer: a model that reasons does as well in all three, one that recalls does not.
"""

from mplib.tasks.ontology.task import Ontology
