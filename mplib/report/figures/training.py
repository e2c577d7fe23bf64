"""TODO."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure


def training_curves(history: pd.DataFrame) -> Figure:
    """Loss and development accuracy by optimiser step."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    panels = (("loss", "training loss"), ("dev_accuracy", "development accuracy"))
    for axis, (column, label) in zip(axes, panels, strict=True):
        sns.lineplot(history, x="step", y=column, marker="o", ax=axis)
        axis.set(ylabel=label, xlabel="optimiser step")
    axes[1].set_ylim(-0.02, 1.02)
    sns.despine(figure)
    return figure
