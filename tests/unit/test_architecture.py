"""The shape of the house: one-way flow, light imports, guarded names, one module that prints."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import seqtune

SOURCE = Path(seqtune.__file__).parent
MODULES = sorted(SOURCE.rglob("*.py"))
# A folder (or top-level module) imports only from those before it.
ORDER = [
    "errors",
    "console",
    "recipe",
    "data",
    "llm",
    "building",
    "training",
    "evaluation",
    "report",
    "experiment",
    "demo",
    "cli",
]
HEAVY = {
    "torch",
    "transformers",
    "datasets",
    "trl",
    "peft",
    "accelerate",
    "aiohttp",
    "numpy",
    "pyarrow",
    "pydantic",
    "rich",
}


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def part_of(path):
    name = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    return name if name in ORDER else None


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_folder_imports_only_from_those_before_it(path):
    part = part_of(path)
    for module in imports_of(path):
        names = module.split(".")
        if part and names[0] == "seqtune" and len(names) > 1 and names[1] in ORDER:
            assert ORDER.index(names[1]) <= ORDER.index(part), f"{path} imports {module}"


def test_only_the_console_prints():
    for path in MODULES:
        calls = [n for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Call)]
        printing = [n for n in calls if isinstance(n.func, ast.Name) and n.func.id == "print"]
        assert not printing or path.name == "console.py", path


def test_every_public_name_can_be_had_and_none_is_a_module():
    modules = {path.stem for path in MODULES} | {path.name for path in SOURCE.iterdir() if path.is_dir()}
    for name in seqtune.__all__:
        assert getattr(seqtune, name)
        assert name not in modules, f"{name} is a module's name too"
    assert sorted(seqtune.__all__) == list(seqtune.__all__) == sorted(seqtune._HOME)
    with pytest.raises(AttributeError, match="no attribute 'biuld'"):
        _ = seqtune.biuld


def loaded_after(statement):
    code = f"{statement}; import sys; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_importing_seqtune_loads_nothing_heavy():
    assert not loaded_after("import seqtune") & HEAVY


def test_building_and_reading_load_no_heavy_library():
    statement = "import seqtune; seqtune.build, seqtune.read, seqtune.write, seqtune.chains()"
    assert not loaded_after(statement) & (HEAVY - {"pydantic"})


def test_public_functions_and_modules_say_what_they_do():
    for path in MODULES:
        tree = ast.parse(path.read_text("utf-8"))
        assert ast.get_docstring(tree) or not tree.body, f"{path} has no docstring"
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node) or _is_overload(node), f"{path}: {node.name} has no docstring"


def _is_overload(node):
    return any(isinstance(d, ast.Name) and d.id == "overload" for d in node.decorator_list)
