"""Where the project is published, as git knows it, and what is linked there."""

import re
import subprocess

from mplib.files import ROOT

BRANCH = "main"
"""What links lead to."""


def address() -> str:
    """The page of the repository that this clone comes from; empty where it has none."""
    line = ["git", "-C", str(ROOT), "remote", "get-url", "origin"]
    try:
        told = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
    return page_of(told.strip())


def page_of(remote: str) -> str:
    """The page of a repository on GitHub or GitLab; empty for any other remote.

    >>> page_of("git@github.com:owner/name.git")
    'https://github.com/owner/name'
    >>> page_of("/a/folder")
    ''
    """
    form = (
        r"(?:https://(?:[^@/]*@)?|ssh://git@|git@)(github|gitlab)\.com[/:]([^/]+/[^/]+?)(\.git)?/?"
    )
    found = re.fullmatch(form, remote)
    return f"https://{found[1]}.com/{found[2]}" if found else ""


def notebook_links(name: str, repository: str) -> str:
    """Where a notebook can be read, edited and, of a repository on GitHub, run; Markdown."""
    if not repository:
        return ""
    source = f"notebooks/{name}.py"
    links = {
        "source": f"{repository}/blob/{BRANCH}/{source}",
        "edit": f"{repository}/edit/{BRANCH}/{source}",
    }
    host, _, project = repository.removeprefix("https://").partition("/")
    if host == "github.com":
        opened = f"notebooks/{name}.ipynb"
        links |= {
            "Binder": f"https://mybinder.org/v2/gh/{project}/{BRANCH}?urlpath=lab/tree/{opened}",
            "Colab": f"https://colab.research.google.com/github/{project}/blob/{BRANCH}/{opened}",
        }
    return "This notebook: " + ", ".join(f"[{text}]({link})" for text, link in links.items()) + "."
