"""Rows of a Parquet file: the only file that imports pyarrow."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lathe.core.errors import DataError


def parquet_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number (from 1) and values of each row, a batch in memory at a time."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise DataError(f"{path}: Parquet needs pyarrow: pip install 'lathe[parquet]'") from None
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable Parquet file ({error}); write it again") from None
