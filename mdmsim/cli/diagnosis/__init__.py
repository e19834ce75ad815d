"""What this machine lacks, and what to do about it: what `mdmsim doctor` is made of."""
