"""Floor 0: what every stage stands on. Each module imports only earlier ones; `tests/test_floors.py` has the order."""
