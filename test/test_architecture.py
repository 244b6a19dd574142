"""docs/architecture.md lists the modules that exist."""

from module_list import PAGE, page


def test_the_list_of_modules_is_current() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text, "run: python test/helpers/module_list.py"
