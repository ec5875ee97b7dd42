"""`make bench`: speed against anchors, measured in alternation in the same run."""
