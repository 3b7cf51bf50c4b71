"""Types the blocks of a page, as a reader does:  python tests/type_along.py PAGE [HOW MANY]

Each Python block is a program of its own, and must print what its comments say and
nothing on standard error; each sh block is run by a shell. They get this environment
and PATH as they are.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SAID = re.compile(r"^ *print\(.*\) +# (.+?)(?:: .*)?$", re.MULTILINE)


def main() -> None:
    page, *most = sys.argv[1:]
    found = BLOCK.findall(Path(page).read_text())[: int(most[0]) if most else None]
    with tempfile.TemporaryDirectory() as folder:
        for language, code in found:
            command = [sys.executable, "-X", "dev", "-W", "error", "-c"]
            if language == "sh":
                command = ["sh", "-euc"]
            done = subprocess.run(
                [*command, code], cwd=folder, capture_output=True, text=True, timeout=60
            )
            said = SAID.findall(code) if language == "python" else done.stdout.splitlines()
            if (done.returncode, done.stdout.splitlines(), done.stderr) != (0, said, ""):
                sys.exit(f"{page}:\n{code}\nprinted:\n{done.stdout}{done.stderr}")
    print(f"{page}: {len(found)} blocks did what they say")


if __name__ == "__main__":
    main()
