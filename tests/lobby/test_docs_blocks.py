import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "run_blocks.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_blocks", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["run_blocks"] = module
    spec.loader.exec_module(module)
    return module


run_blocks = load()

PAGE = """\
# A page

```text
not run at all
```

```python
x = 1
```

1. In a list:

   ```bash
   echo one
     echo two
   ```

<!-- not run: needs a
     microscope -->

```console
$ scan --now
```

<!-- not run: this comment belongs to the text below -->

Words between.

~~~python
y = "```"
~~~
"""


def test_blocks_are_found_with_line_language_and_reason() -> None:
    found = run_blocks.blocks(PAGE)
    assert [(b.line, b.language) for b in found] == [
        (7, "python"),
        (13, "bash"),
        (21, "console"),
        (29, "python"),
    ]
    assert [b.text for b in found] == [
        "x = 1\n",
        "echo one\n  echo two\n",
        "$ scan --now\n",
        'y = "```"\n',
    ]
    assert [b.not_run for b in found] == [None, None, "needs a\n     microscope", None]


@given(st.lists(st.sampled_from(["python", "bash", "console", "text", ""]), max_size=6))
def test_every_fence_of_a_known_language_is_found(languages: list[str]) -> None:
    page = "".join(f"words\n\n```{language}\nbody\n```\n\n" for language in languages)
    found = [b.language for b in run_blocks.blocks(page)]
    assert found == [name for name in languages if name in run_blocks.LANGUAGES]


def test_an_open_fence_is_an_error_that_names_its_line() -> None:
    with pytest.raises(ValueError, match="line 3: the fence ``` is not closed"):
        run_blocks.blocks("a\n\n```python\nx = 1\n")


def test_console_output_is_no_command() -> None:
    (block,) = run_blocks.blocks("```console\n$ echo a \\\n> b\na b\n$ true\n```\n")
    assert run_blocks.commands(block) == "echo a \\\nb\ntrue\n"


def test_lines_that_call_make_are_left_out() -> None:
    script, made = run_blocks.without_make("make demo  # all\necho makes\nmake\ncmake .\n")
    assert script == "echo makes\ncmake .\n"
    assert made == ["make demo  # all", "make"]


def results(page: str) -> list[tuple[str, str]]:
    return [(r.outcome.name, r.detail) for r in run_blocks.run_page(page, "page.md")]


def test_python_blocks_share_names_and_all_blocks_a_folder() -> None:
    page = (
        "```python\nfrom pathlib import Path\n"
        "value = 'from python'\nlength = Path('a.txt').write_text(value)\n```\n"
        "```bash\ngrep -q 'from python' a.txt\nprintf two > b.txt\n```\n"
        "```python\nassert Path('b.txt').read_text() == 'two' and value\n```\n"
    )
    before = Path.cwd()
    assert results(page) == [("PASSED", "")] * 3
    assert Path.cwd() == before
    assert not Path("a.txt").exists()


def test_a_failing_block_says_why_and_the_next_ones_still_run() -> None:
    page = (
        "```python\nprint('so far')\n1 / 0\n```\n```bash\necho words; false\necho never\n```\n"
        "```bash\nfalse | true\n```\n```bash\necho $UNSET_NAME_OF_ECHOLITH\n```\n"
        "```python\nimport sys; sys.exit(3)\n```\n```python\nsys.exit()\n```\n```bash\ntrue\n```\n"
    )
    outcome = results(page)
    assert [name for name, _ in outcome] == ["FAILED"] * 5 + ["PASSED"] * 2
    assert "so far" in outcome[0][1]
    assert "page.md:1" in outcome[0][1]
    assert "ZeroDivisionError" in outcome[0][1]
    assert "words" in outcome[1][1]
    assert "never" not in outcome[1][1]


def test_what_is_not_run_says_why() -> None:
    page = (
        "```bash\nmake demo\n# only words\n```\n```bash\nmake demo\ntrue\n```\n"
        "<!-- not run: takes a day -->\n```python\n1 / 0\n```\n"
    )
    assert results(page) == [
        ("SKIPPED", run_blocks.MAKE),
        ("PASSED", f"left out: make demo; {run_blocks.MAKE}"),
        ("SKIPPED", "takes a day"),
    ]


def test_commands_find_this_interpreter_first() -> None:
    own = Path(sys.executable).parent
    page = f'```bash\ntest "$(dirname "$(command -v python)")" = "{own}"\n```\n'
    assert results(page) == [("PASSED", "")]


@pytest.mark.parametrize(
    ("page", "code", "last"),
    [
        ("```python\nx = 1\n```\n```bash\ntrue\n```\n", 0, "2 passed, 0 failed"),
        ("```python\nx = 1\n```\n```bash\nfalse\n```\n", 1, "1 passed, 1 failed"),
        ("```bash\nmake\n```\n", 0, "0 passed, 0 failed"),
        ("```bash\n", 1, "0 passed, 1 failed"),
        ("```python\nimport os; os._exit(3)\n```\n", 1, "0 passed, 1 failed"),
    ],
)
def test_the_last_line_counts_and_the_exit_code_follows(
    tmp_path: Path, page: str, code: int, last: str
) -> None:
    path = tmp_path / "page.md"
    path.write_text(page, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(path)], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout.splitlines()[-1] == last
    assert done.returncode == code


def test_cells_of_code_of_a_notebook_run_and_share_names() -> None:
    def cell(kind: str, *lines: str) -> dict[str, object]:
        return {"cell_type": kind, "source": list(lines)}

    listed = [
        cell("markdown", "x = undefined"),
        cell("code", "x = 1\n", "y = 2"),
        cell("code", "assert (x, y) == (1, 2)\n", "x"),
        cell("code", "assert y == 3"),
    ]
    results = run_blocks.run_page(json.dumps({"cells": listed}), "small.ipynb")
    assert [(r.line, r.outcome.value) for r in results] == [
        (2, "passed"),
        (3, "passed"),
        (4, "FAILED"),
    ]
