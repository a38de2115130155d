"""``lathe check``, ``lathe adopt``, ``lathe show``: looking at data, folders and bundles."""
