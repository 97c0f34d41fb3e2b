"""A phone for the tests: AOSP's own adbd with Android's shell and tools, in a folder (phones.py)."""
