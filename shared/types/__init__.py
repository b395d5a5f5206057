"""Values as people write them: durations, shares, times, URLs."""
