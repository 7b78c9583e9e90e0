"""Sizes, words and habits that a reader may rely on. What is too big is split, not excused."""

import ast
import re

from tests.architecture.sources import PRODUCT, ROOT, name, python_files, tracked, tree

FUNCTION_LINES_MAX = 50
FILE_LINES_MAX = 400
LINE_LENGTH_MAX = 120
FORBIDDEN_NAMES = {
    "utils",
    "util",
    "helpers",
    "helper",
    "common",
    "core",
    "manager",
    "misc",
    "secrets",
    "types",
    "queue",
}
WRONG_WORDS = {
    "exchange_order_id": "venue_order_id",
    "filled_qty": "cum_qty",
    "remaining_qty": "leaves_qty",
    "average_price": "avg_px",
    "cancelled": "canceled",
    "fee_currency": "commission_asset",
    "replace_order": "amend",
}
CLOCKS = re.compile(
    r"(?<!\bworkflow)\.(now|utcnow|today)\(|\btime\.(time|monotonic|perf_counter)(_ns)?\("
    r"|^\s*(import|from) (random|secrets)\b|\buuid[14]\(",
    re.MULTILINE,
)
SECRETS = re.compile(rb"AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY|\bhvs\.[A-Za-z0-9_-]{20,}")
BROAD_EXCEPT_IN = {
    "worker.py": "the last frame of the process: whatever ended it is logged",
    "cli/": "the last frame of a command: one line instead of a traceback",
    "embedded/": "whatever stops one part must stop the others",
    "storage/archive_location.py": "each kind of place has errors of its own; what failed is tried again",
    "exchanges/": "whatever a parser raises after bytes left is UNKNOWN",
    "observability/metrics.py": "counts what passes, and passes it on",
    "starter/upkeep.py": "the last frame of an endless task, which no order waits for: told, and gone on with",
    "api/": "the last frame of a request: a problem instead of a traceback",
}


def test_functions_are_short() -> None:
    long = [
        f"{name(path)}:{node.lineno} {node.name}() has {node.end_lineno - node.lineno + 1} lines"
        for path in python_files()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert not long, "split these:\n" + "\n".join(long)


def test_files_are_short() -> None:
    long = [
        f"{name(path)} has {lines} lines"
        for path in python_files()
        if (lines := len(path.read_text("utf-8").splitlines())) > FILE_LINES_MAX
    ]
    assert not long, "split these:\n" + "\n".join(long)


def test_lines_are_short() -> None:
    long = [
        f"{name(path)}:{number}"
        for path in python_files(*PRODUCT, "tests", "bench")
        if "versions" not in path.parts
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if len(line) > LINE_LENGTH_MAX
    ]
    assert not long, "\n".join(long)


def test_rooms_have_plain_names() -> None:
    wrong = [name(path) for path in python_files() if {path.stem, *path.relative_to(ROOT).parts[:-1]} & FORBIDDEN_NAMES]
    assert not wrong, f"a name that says nothing: {wrong}"


def test_the_domain_and_the_workflows_use_the_fields_own_words() -> None:
    wrong = [
        f"{name(path)}: {word!r} should be {right!r}"
        for path in python_files("domain", "workflows")
        for word, right in WRONG_WORDS.items()
        if re.search(rf"\b{word}\b", path.read_text("utf-8"))
    ]
    assert not wrong, "\n".join(wrong)


def test_money_is_never_a_float_in_the_domain() -> None:
    wrong = [
        f"{name(path)}:{node.lineno}"
        for path in python_files("domain", "storage")
        for node in ast.walk(tree(path))
        if (isinstance(node, ast.Constant) and isinstance(node.value, float) and path.parent.name == "domain")
        or (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float")
    ]
    assert not wrong, f"floats: {wrong}"


def test_time_and_chance_enter_the_domain_and_the_workflows_as_values() -> None:
    wrong = [name(path) for path in python_files("domain", "workflows") if CLOCKS.search(path.read_text("utf-8"))]
    assert not wrong, f"these ask the clock or the dice: {wrong}"


def _is_broad(handler: ast.ExceptHandler) -> bool:
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(
        one is None or (isinstance(one, ast.Name) and one.id in ("Exception", "BaseException")) for one in caught
    )


def test_broad_excepts_stand_only_where_they_have_a_reason() -> None:
    wrong = [
        f"{name(path)}:{node.lineno}"
        for path in python_files(
            *PRODUCT,
            "worker.py",
            "worker_accounts.py",
            "worker_alerts.py",
            "worker_sight.py",
            "settings.py",
            "settings_sections.py",
            "settings_vault.py",
        )
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ExceptHandler) and _is_broad(node) and not name(path).startswith(tuple(BROAD_EXCEPT_IN))
    ]
    assert not wrong, f"catch what you mean: {wrong}"


def test_documents_have_one_title() -> None:
    wrong = []
    for path in tracked():
        if path.suffix != ".md":
            continue
        prose = re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.DOTALL)
        if len(re.findall(r"^# ", prose, re.MULTILINE)) != 1:
            wrong.append(name(path))
    assert not wrong, f"one `# ` title for each document: {wrong}"


def test_no_file_names_a_package_registry() -> None:
    hosts = re.compile(rb"://[^/\s\"']*(" + b"|".join((b"py" + b"pi", b"python" + b"hosted", b"npm" + b"js")) + rb")\.")
    wrong = [name(path) for path in tracked() if path.stat().st_size < 5_000_000 and hosts.search(path.read_bytes())]
    assert not wrong, f"names a registry's host: {wrong}"


def test_no_file_holds_a_key() -> None:
    wrong = [name(path) for path in tracked() if SECRETS.search(path.read_bytes())]
    assert not wrong, f"looks like a key of somebody: {wrong}"
