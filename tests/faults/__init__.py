"""What was found when the engine was attacked, a test for each row, so that it cannot come back.

A test is called by its row: `test_A03_…`. `make faults` runs them, also against the commit that had the faults.
"""
