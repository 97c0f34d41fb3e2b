"""Which version made a figure worse: a search between a good and a bad one, each measured in turns with the good one.

The figures of a version, against the good one's, are told good or bad by the middle between good and bad (in
logarithms), with the uncertainty of both; versions that cannot be built or told are stepped over, as `git bisect skip`
does. Pure: what was measured goes in (ratios), what to measure next (search) or the answer comes out.
"""
