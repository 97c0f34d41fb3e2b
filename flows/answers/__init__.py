"""Answers of variants to prompts: made where they are not there, asked one after the other on a device."""
