"""Results in the forms that other tools read and write. Pure: text in, figures out; rows in, text out.

What is imported is what another tool said of a device: it never becomes a measurement of ours.
"""
