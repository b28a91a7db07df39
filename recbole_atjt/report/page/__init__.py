"""One self-contained HTML page of a result; Matplotlib, which draws it, is an extra."""

from recbole_atjt.report.page.drawing import require_matplotlib
from recbole_atjt.report.page.writing import PAGE, page, write_page

__all__ = ["PAGE", "page", "require_matplotlib", "write_page"]
