"""One self-contained HTML page of a result; Matplotlib, which draws it, is an extra."""

from recbole_atjt.report.page.writing import page, write_page

__all__ = ["page", "write_page"]
