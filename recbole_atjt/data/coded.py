"""A RecBole dataset whose tokens are codes until they are numbered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from recbole.data.dataset import Dataset
from recbole.utils import FeatureSource, FeatureType

from recbole_atjt.data.column_cache import cache_of
from recbole_atjt.data.columns_at_once import digest_of, read_table, to_frame
from recbole_atjt.data.files import check_rows, refuse_empty
from recbole_atjt.host.repairs.files import reading


class CodedDataset(Dataset):
    """Reads files at once where they are plain, and numbers names in place of rows.

    Which columns are read, what they mean, what is filtered and which number a name gets is
    RecBole's own doing.
    """

    def _load_feat(self, filepath: str, source: Any) -> pd.DataFrame | None:
        file = Path(filepath)
        separator, encoding = self.config["field_separator"], self.config["encoding"] or "utf-8"
        table, wanted = None, self._wanted(file, source, separator)
        if wanted is not None and encoding.lower() in ("utf-8", "utf8"):
            table = self._read_at_once(file, *wanted, separator)
        needed = source == FeatureSource.INTERACTION
        if table is None:
            check_rows(file, separator, encoding, whole=needed)
        elif not table.num_rows:
            refuse_empty(file, needed)
        with reading(to_frame(table) if table is not None and wanted and wanted[1] else None):
            feat: pd.DataFrame | None = super()._load_feat(filepath, source)
        return feat

    def _wanted(
        self, file: Path, source: Any, separator: str
    ) -> tuple[list[str], list[str]] | None:
        """Return a file's header, and what RecBole will read of it; None where it can't be read."""
        try:
            with file.open(encoding="utf-8") as lines:
                header = lines.readline().rstrip("\n").split(separator)
        except (OSError, UnicodeError):
            return None
        load, unload = self._get_load_and_unload_col(source)
        named = [(column, column.split(":")[0]) for column in header]
        return header, [
            column
            for column, name in named
            if (load is None or name in load) and name not in (unload or ())
        ]

    def _read_at_once(
        self, file: Path, header: list[str], wanted: list[str], separator: str
    ) -> pa.Table | None:
        """Return columns from the cache, or from the file and into the cache.

        None stands for a file that is not plain. Of one of which no column is wanted, rows are
        checked, too.
        """
        if not wanted:
            found = read_table(file, header, header[:1], separator)
            return None if found is None else found[0]
        cache = cache_of(self.config)
        if cache is not None:
            table = cache.read(cache.entry(file, digest_of(file), wanted, separator), wanted)
            if table is not None:
                self.logger.info(f"{file.name}: read from data_cache={self.config['data_cache']}")
                return table
        found = read_table(file, header, wanted, separator)
        if found is None:
            return None
        table, digest = found
        if cache is not None:
            cache.write(cache.entry(file, digest, wanted, separator), table)
        return table

    def _remap(self, remap_list: list[Any]) -> None:
        """Number each name once, in the order in which rows have them, and hand that to the rows.

        Args:
            remap_list: Frame, column and type of each part of one space of names.
        """
        parts: list[Any] = []
        codes: list[np.ndarray | None] = []
        for feat, field, kind in remap_list:
            if kind == FeatureType.TOKEN:
                code, names = _factorize(feat[field])
                parts.append((pd.DataFrame({field: names}), field, kind))
                codes.append(code)
            else:
                parts.append((feat, field, kind))
                codes.append(None)
        super()._remap(parts)
        for (feat, field, _), (named, _, _), code_of_row in zip(remap_list, parts, codes):
            if code_of_row is not None:
                numbers = np.append(named[field].to_numpy(), 0).astype(np.int32)
                feat[field] = numbers.take(code_of_row)  # the last one where it is -1


def _factorize(column: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Return a code for each row, -1 where the token is missing, and the names by first row."""
    if not isinstance(column.dtype, pd.CategoricalDtype):
        codes, names = pd.factorize(column.to_numpy(dtype=object))
        return codes, names
    own = column.cat.codes.to_numpy()
    codes, first = pd.factorize(own)
    if (own < 0).any():  # to pandas -1 is a number among others
        place = int(np.flatnonzero(first < 0)[0])
        codes = np.where(codes == place, -1, codes - (codes > place))
        first = np.delete(first, place)
    return codes, np.asarray(column.cat.categories, dtype=object)[first]
