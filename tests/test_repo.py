"""What the documentation says exists: links, commands, code, and the same in both languages."""

import re
import tomllib
from pathlib import Path
from pkgutil import resolve_name

import lathe
from lathe.cli import VERBS

ROOT = Path(__file__).parents[1]
READMES = [ROOT / "README.md", ROOT / "README.zh-CN.md"]
PAGES = [*READMES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_every_relative_link_leads_to_a_file():
    broken = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
            if not re.match(r"[a-z]+:|#", target) and not (page.parent / target.partition("#")[0]).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


def test_every_command_in_the_readmes_is_a_verb_of_the_command_line():
    shown = {verb for page in READMES for verb in re.findall(r"\blathe ([a-z]+)", "\n".join(code(page)))}
    assert shown - set(VERBS) == set()
    assert shown


def test_every_make_target_in_the_readmes_exists():
    targets = set(re.findall(r"^([a-z]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    shown = {target for page in READMES for target in re.findall(r"\bmake ([a-z]+)", "\n".join(code(page)))}
    assert shown - targets == set()
    assert shown


def test_both_readmes_show_the_same_commands():
    english, chinese = map(commands, READMES)
    assert english == chinese
    assert english


def test_every_name_in_the_theory_page_is_in_the_source():
    for name in re.findall(r"`(lathe\.[\w.]+)`", text_of(ROOT / "docs" / "theory.md")):
        resolve_name(name)


def test_the_version_is_said_once():
    project = tomllib.loads(text_of(ROOT / "pyproject.toml"))["project"]
    assert project["version"] == lathe.__version__


def commands(page: Path) -> list[str]:
    """The lines of the shell blocks, without their comments."""
    blocks = re.findall(r"^```(?:bash|sh|shell)\n(.*?)^```", text_of(page), re.MULTILINE | re.DOTALL)
    lines = (re.sub(r"(^|\s+)#.*", "", line).strip() for block in blocks for line in block.splitlines())
    return [line for line in lines if line]


def code(page: Path) -> list[str]:
    """What stands in backticks, on its own lines or inside one."""
    return re.findall(r"^```.*?^```|`[^`\n]+`", text_of(page), re.MULTILINE | re.DOTALL)


def text_of(page: Path) -> str:
    return page.read_text("utf-8")
