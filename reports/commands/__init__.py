"""The commands of run_bench.py and the options, output and progress that they share."""
