"""MechanisticProbe: does a language model reason step by step, or does it recall?"""

__version__ = "0.1.0"
